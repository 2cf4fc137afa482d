"""Alarms to another system: signed, tried again while it may help, every attempt in the log."""

import asyncio
import hmac
import re
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from domain.errors import ConfigError
from service.webhook import EVENT, PAUSES_S, SIGNATURE, Attempt, Webhook, signature

DOCUMENT = Path(__file__).parents[2] / "docs" / "dashboard.md"
BODY = b'{"event":"incident"}'


class Receiver:
    """Another system: answers with the given statuses, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                status = receiver.statuses.pop(0) if len(receiver.statuses) > 1 else receiver.statuses[0]
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/secret-path"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver(request):
    found = Receiver(*request.param)
    yield found
    found.close()


class Pauses(list):
    """Waits without waiting."""

    async def sleep(self, seconds: float) -> None:
        self.append(seconds)


def delivered(url, tmp_path, secret="shared", **changes):
    pauses = Pauses()
    hook = Webhook(url, secret, tmp_path / "logs" / "webhooks.jsonl", sleep=pauses.sleep, clock_s=lambda: 1_790_000_000.5, **changes)
    is_done = asyncio.run(hook.deliver("weir@1:feature_drift-7:1", BODY))
    lines = (tmp_path / "logs" / "webhooks.jsonl").read_bytes().splitlines()
    return is_done, pauses, [msgspec.json.decode(line, type=Attempt) for line in lines]


@pytest.mark.parametrize("receiver", [(204,)], indirect=True)
def test_a_message_is_signed_so_that_the_receiver_can_check_it(receiver, tmp_path):
    is_done, pauses, log = delivered(receiver.url, tmp_path)

    [(path, headers, body)] = receiver.requests
    stamp, _, version = headers[SIGNATURE.lower()].partition(",")
    assert (path, body, stamp) == ("/secret-path", BODY, "t=1790000000")
    assert version == "v1=" + hmac.new(b"shared", b"1790000000." + BODY, sha256).hexdigest()
    assert headers[EVENT.lower()] == "weir@1:feature_drift-7:1"
    assert (is_done, pauses) == (True, [])
    assert [(line.attempt, line.status, line.error) for line in log] == [(1, 204, None)]


@pytest.mark.parametrize("receiver", [(503, 429, 200)], indirect=True)
def test_what_may_pass_is_tried_again_with_growing_pauses_and_every_attempt_is_logged(receiver, tmp_path):
    is_done, pauses, log = delivered(receiver.url, tmp_path)

    assert is_done
    assert pauses == list(PAUSES_S[:2])
    assert [(line.attempt, line.status) for line in log] == [(1, 503), (2, 429), (3, 200)]
    assert len({headers[EVENT.lower()] for _, headers, _ in receiver.requests}) == 1


@pytest.mark.parametrize("receiver", [(404,)], indirect=True)
def test_a_refusal_for_good_is_not_tried_again(receiver, tmp_path):
    is_done, pauses, log = delivered(receiver.url, tmp_path)

    assert (is_done, pauses, len(log)) == (True, [], 1)


@pytest.mark.parametrize("receiver", [(302,)], indirect=True)
def test_a_signed_message_is_not_carried_elsewhere(receiver, tmp_path):
    is_done, _, log = delivered(receiver.url, tmp_path)

    assert not is_done
    assert {path for path, _, _ in receiver.requests} == {"/secret-path"}
    assert {line.status for line in log} == {302}


def test_nobody_there_is_told_later_and_the_log_keeps_the_address_secret(tmp_path):
    nobody = Receiver(200)
    nobody.close()

    is_done, pauses, log = delivered(nobody.url, tmp_path)

    assert not is_done
    assert len(log) == len(pauses) + 1 == len(PAUSES_S) + 1
    assert log[0].error == "ConnectError"
    assert b"secret-path" not in (tmp_path / "logs" / "webhooks.jsonl").read_bytes()


@pytest.mark.parametrize("receiver", [(200,)], indirect=True)
def test_without_a_secret_nothing_is_signed(receiver, tmp_path):
    delivered(receiver.url, tmp_path, secret="")

    assert SIGNATURE.lower() not in receiver.requests[0][1]


@pytest.mark.parametrize("receiver", [(200,)], indirect=True)
def test_the_log_begins_anew_when_it_is_large_and_the_last_one_stays(receiver, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "webhooks.jsonl").write_bytes(b"{}\n" * 2_000_000)

    _, _, log = delivered(receiver.url, tmp_path)

    assert len(log) == 1
    assert (tmp_path / "logs" / "webhooks.1.jsonl").stat().st_size == 6_000_000


@pytest.mark.parametrize("url", ["ftp://host/x", "host/x", "http://", "https:///path"])
def test_an_address_that_is_none_is_refused_without_showing_it(url, tmp_path):
    with pytest.raises(ConfigError, match=r"monitoring\.webhook_url must begin with http") as caught:
        Webhook(url, "", tmp_path / "log")

    assert url not in str(caught.value).replace("http://", "", 1)


def test_the_documented_check_accepts_our_signature_and_nothing_else():
    found = {}
    exec(re.search(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)[1], found)
    header = signature(b"shared", BODY, at_s=1_790_000_000)

    assert found["is_genuine"](b"shared", header, BODY, 1_790_000_200.0)
    assert not found["is_genuine"](b"other", header, BODY, 1_790_000_200.0)
    assert not found["is_genuine"](b"shared", header, BODY + b" ", 1_790_000_200.0)
    assert not found["is_genuine"](b"shared", header, BODY, 1_790_000_900.0)

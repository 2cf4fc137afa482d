import io
import json
import logging

import pytest
import structlog

from service.logs import configure, redacted


@pytest.fixture
def stream():
    before = logging.getLogger().handlers[:], logging.getLogger().level
    stream = io.StringIO()
    configure(stream)
    yield stream
    logging.getLogger().handlers, level = before[0], before[1]
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()


def _lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_off_a_terminal_each_line_is_one_json_object(stream):
    structlog.get_logger("weir").warning("commit_refused", partition=3)
    logging.getLogger("faust").warning("lost %s", "kafka-1")

    assert [(line["event"], line["level"]) for line in _lines(stream)] == [("commit_refused", "warning"), ("lost kafka-1", "warning")]
    assert _lines(stream)[0]["partition"] == 3


def test_secrets_and_card_data_are_never_logged(stream):
    structlog.get_logger("weir").error(
        "failed", sasl_password="hunter2", signing_key="hunter2", card_id="c1", value=b"c1",
        url="redis://u:hunter2@h", note="4111111111111111",
    )  # fmt: skip

    assert "hunter2" not in stream.getvalue()
    assert "c1" not in stream.getvalue()
    assert "4111" not in stream.getvalue()


def test_an_exception_is_logged_with_its_trace(stream):
    try:
        int("redis://u:hunter2@h")
    except ValueError:
        structlog.get_logger("weir").exception("broken")

    assert "ValueError" in _lines(stream)[0]["exception"]
    assert "hunter2" not in stream.getvalue()


def test_numbers_that_are_no_card_numbers_stay():
    assert redacted("offset 1767225601000 of 4111111111111112") == "offset 1767225601000 of 4111111111111112"

"""Alarms to another system: a signed POST, tried again while it may help, with a log of every attempt.

The receiver checks `Weir-Signature: t=<seconds>,v1=<hex>`: v1 is HMAC-SHA256 of `<seconds>.<body>` under the shared secret,
and a `t` older than a few minutes is a replay. `Weir-Event` is the same for every attempt of one message, so that a message
that arrives twice is known.
"""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import msgspec

from domain.errors import ConfigError

SIGNATURE: Final = "Weir-Signature"
EVENT: Final = "Weir-Event"
PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Between the attempts of one delivery."""
_TIMEOUT_S: Final = 10.0
_LARGEST_LOG_BYTES: Final = 5 << 20
#: Refusals that another attempt may change; every other 4xx is final.
_PASSING: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the log."""

    at_ms: int
    event: str
    attempt: int
    host: str
    """Never the whole address: its path is often a secret."""
    took_ms: int
    status: int | None = None
    error: str | None = None


class Webhook:
    """Posts messages to one address."""

    def __init__(
        self, url: str, secret: str, log: Path, *,
        pauses_s: tuple[float, ...] = PAUSES_S, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock_s: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """Prepare; nothing is connected.

        Args:
            url: http or https.
            secret: Of the signature; empty: messages are not signed.
            log: File of attempts, JSON lines; begun anew beyond 5 MB, the last one kept beside it.
            pauses_s: Between attempts.
            sleep: Waits.
            clock_s: Wall clock, for the signature.

        Raises:
            ConfigError: The address is not one.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(
                "monitoring.webhook_url must begin with http:// or https:// and name a host (the value is a secret, not shown)"
            )
        self._url = url
        self._host = parts.hostname
        self._secret = secret.encode()
        self._log = log
        self._pauses_s = pauses_s
        self._sleep = sleep
        self._clock_s = clock_s

    async def deliver(self, event: str, body: bytes) -> bool:
        """Post a message (JSON) until it is taken or refused for good; tell whether another delivery later may help.

        Returns:
            True: it is done, taken or refused for good. False: the other side does not answer now.
        """
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as client:
            for attempt, pause_s in enumerate((*self._pauses_s, None), 1):
                status = await self._post(client, event, body, attempt)
                if status is not None and (status < 300 or (400 <= status < 500 and status not in _PASSING)):
                    return True
                if pause_s is not None:
                    await self._sleep(pause_s)
        return False

    async def _post(self, client: httpx.AsyncClient, event: str, body: bytes, attempt: int) -> int | None:
        began_s, status, problem = time.monotonic(), None, None
        headers = {"content-type": "application/json", "user-agent": "weir", EVENT: event}
        if self._secret:
            headers[SIGNATURE] = signature(self._secret, body, at_s=int(self._clock_s()))
        try:
            async with client.stream("POST", self._url, content=body, headers=headers) as answer:
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            problem = type(error).__name__
        took_ms = round(1000 * (time.monotonic() - began_s))
        line = Attempt(round(self._clock_s() * 1000), event, attempt, self._host, took_ms, status, problem)
        await asyncio.to_thread(self._write, msgspec.json.encode(line) + b"\n")
        return status

    def _write(self, line: bytes) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if self._log.exists() and self._log.stat().st_size > _LARGEST_LOG_BYTES:
            self._log.replace(self._log.with_suffix(".1.jsonl"))
        with self._log.open("ab") as file:
            file.write(line)


def signature(secret: bytes, body: bytes, *, at_s: int) -> str:
    """Return the header's value.

    >>> signature(b"secret", b"{}", at_s=1767225600)[:16]
    't=1767225600,v1='
    """
    digest = hmac.new(secret, b"%d.%b" % (at_s, body), sha256).hexdigest()
    return f"t={at_s},v1={digest}"

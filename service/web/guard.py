"""What stands in front of every request: only reading, only by the machine's own names, and headers that lock pages in.

The dashboard has no users yet, so it listens on loopback only. A page of another site that a browser on this machine shows
must not read it either: there is no CORS, and a name that was rebound to 127.0.0.1 is refused by the Host header.
"""

from collections.abc import Collection
from ipaddress import ip_address
from typing import Final

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from domain.errors import ConfigError
from service.web.answers import Problem

HEADERS: Final = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
"""Sent with every answer."""
_ENCODED: Final = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
_READING: Final = ("GET", "HEAD")


def require_loopback(bind: str) -> None:
    """Return if `bind` can be reached from this machine only.

    Raises:
        ConfigError: It cannot.
    """
    try:
        is_loopback = bind == "localhost" or ip_address(bind).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ConfigError(
            f"web.bind is {bind!r}: the dashboard shows transactions and has no users and passwords yet, so it listens on loopback "
            "only; set web.bind to 127.0.0.1 and reach it from elsewhere through an SSH tunnel (ssh -L 8700:127.0.0.1:8700 HOST)"
        )


class Guard:
    """An ASGI application in front of another."""

    def __init__(self, app: ASGIApp, *, names: Collection[str] = ()) -> None:
        """Prepare.

        Args:
            app: What answers.
            names: Further host names under which it may be asked, beside the machine's own.
        """
        self._app = app
        self._names = frozenset({*_LOCAL_NAMES, *names})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)  # there is no other kind: it refuses
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_ENCODED]
            await send(message)

        method = str(scope["method"])
        if method not in _READING:
            await _refuse(sending, 405, f"{method} is not possible: the dashboard only shows; use GET")
        elif not self._is_ours(scope):
            await _refuse(sending, 421, "this name is not the dashboard's; open it as http://127.0.0.1 or http://localhost with its port")
        else:
            await self._app(scope, receive, sending)

    def _is_ours(self, scope: Scope) -> bool:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return False
        host = hosts[0].decode("latin-1").lower()
        name, colon, port = host.rpartition(":")
        return (name if colon and port.isdecimal() else host) in self._names


async def _refuse(send: Send, status_code: int, sentence: str) -> None:
    body = msgspec.json.encode(Problem(status_code=status_code, sentence=sentence))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status_code == 405:
        headers.append((b"allow", b"GET, HEAD"))
    await send({"type": "http.response.start", "status": status_code, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})

"""The web server: a loopback address, the application, and an end within two seconds."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final

import uvicorn

from domain.errors import ConfigError
from service.settings import Settings
from service.web.app import build_app
from service.web.dashboard import Dashboard
from service.web.guard import require_loopback
from service.web.pages import Pages

_DRAIN_S: Final = 1
_PATIENCE_S: Final = 1.8
_BACKLOG: Final = 256


class _Server(uvicorn.Server):
    """Leaves signals to the command."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def serve(settings: Settings, stop: asyncio.Event, *, config: Path | None, on_ready: Callable[[str], None]) -> None:
    """Serve the dashboard until `stop` is set.

    Args:
        settings: In force.
        stop: Ends it.
        config: The settings' file, for child processes.
        on_ready: Told the address once it answers.

    Raises:
        ConfigError: The address is not a loopback one or cannot be used, or a folder cannot be used.
    """
    listening = listen(settings.web.bind, settings.web.port)
    try:
        dashboard = Dashboard(settings, config=config)
        server = _Server(
            uvicorn.Config(
                build_app(dashboard, Pages()), loop="none", lifespan="off", ws="none", log_config=None, access_log=False,
                server_header=False, timeout_graceful_shutdown=_DRAIN_S, timeout_keep_alive=30,
            )
        )  # fmt: skip
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(dashboard.run(stop))
            serving = tasks.create_task(server.serve(sockets=[listening]))
            while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            on_ready(address(listening))
            await stop.wait()
            dashboard.events.close()
            server.should_exit = True
    finally:
        listening.close()


def listen(bind: str, port: int) -> socket.socket:
    """Return a socket that listens on a loopback address; port 0: a free one.

    Raises:
        ConfigError: The address is not a loopback one, or is in use.
    """
    require_loopback(bind)
    family = socket.AF_INET6 if bind != "localhost" and isinstance(ip_address(bind), IPv6Address) else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(("127.0.0.1" if bind == "localhost" else bind, port))
        found.listen(_BACKLOG)
    except OSError as error:
        found.close()
        raise ConfigError(f"cannot listen on {bind}:{port} ({error.strerror}); set web.port, or 0 for a free one") from error
    return found


def address(listening: socket.socket) -> str:
    """Return what to open in a browser."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


async def leave_in_time(stop: asyncio.Event) -> None:
    """End this process, at once and with exit code 0, if it still runs two seconds after `stop` was set.

    A thread may still evaluate or read the archive, and cannot be interrupted; all that is kept survives a kill.
    """
    await stop.wait()
    timer = threading.Timer(_PATIENCE_S, os._exit, (0,))
    timer.daemon = True
    timer.start()

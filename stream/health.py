"""`/healthz`, `/readyz` and `/metrics` of a process, on a port of its own."""

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aiohttp import web

from domain.errors import ConfigError


class State(NamedTuple):
    """What a process says of itself."""

    problem: str | None
    """The watchdog's; None: it works."""
    is_assigned: bool
    facts: Mapping[str, object]
    """Further conditions of readiness, such as the model; an empty one is not met."""

    @property
    def is_alive(self) -> bool:
        """Whether the watchdog finds nothing wrong."""
        return self.problem is None

    @property
    def is_ready(self) -> bool:
        """Whether records are being answered."""
        return self.is_alive and self.is_assigned and all(bool(fact) for fact in self.facts.values())


class HealthServer:
    """Answers while the event loop turns: `/healthz` 200 or 503 (liveness), `/readyz` the same for readiness, `/metrics`."""

    def __init__(
        self, state: Callable[[], State], refresh: Callable[[], None], exposition: Callable[[], bytes], *, setting: str = "monitoring.port"
    ) -> None:
        """Prepare; nothing listens yet.

        Args:
            state: Called in the event loop.
            refresh: Called in the event loop before each exposition, to set what is not counted as it happens.
            exposition: Called in a thread; returns the metrics in Prometheus' text format.
            setting: Name of the setting that gives the port, for the message where it is taken.
        """
        self._state = state
        self._refresh = refresh
        self._exposition = exposition
        self._setting = setting
        self._runner: web.AppRunner | None = None

    async def start(self, *, bind: str, port: int) -> int:
        """Listen, and return the port; 0 asks for a free one.

        Raises:
            ConfigError: The address cannot be used.
        """
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, bind, port, shutdown_timeout=0.5).start()
        except OSError as error:
            await self.stop()
            raise ConfigError(
                f"cannot listen on {bind}:{port} ({error.strerror}); set monitoring.bind and {self._setting}, or port 0 for a free one"
            ) from error
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Listen no longer."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        state = self._state()
        return web.json_response(_body(state), status=200 if state.is_alive else 503)

    async def _readyz(self, _: web.Request) -> web.Response:
        state = self._state()
        return web.json_response(_body(state), status=200 if state.is_ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        self._refresh()
        # In a thread: rendering takes milliseconds, and transactions must not wait for it.
        body = await asyncio.to_thread(self._exposition)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _body(state: State) -> dict[str, object]:
    return {
        "alive": state.is_alive,
        "ready": state.is_ready,
        "problem": state.problem,
        "assigned": state.is_assigned,
        **state.facts,
    }

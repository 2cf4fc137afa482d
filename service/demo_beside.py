"""What runs beside the demo's worker: the archive, and the dashboard that a browser is opened for."""

import asyncio
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

import msgspec

from service.settings import Settings
from service.supervised_worker import SupervisedWorker

_READY_S: Final = 60.0
_TICK_S: Final = 0.25
_WEB: Final = ("web",)
#: Days of event time pass in a minute: quality is to be seen before the hour is over.
_ARCHIVE: Final = ("archive", "--file-seconds", "20")


class _Drift(msgspec.Struct):
    """What is read of the dashboard's answer."""

    incidents: list[msgspec.Raw]


class Beside:
    """Archive and dashboard; the demo goes on without them if they cannot run."""

    def __init__(self, settings: Settings, directory: Path, config: Path, say: Callable[[str], None]) -> None:
        """Prepare.

        Args:
            settings: Of the demo; `web.port` is free.
            directory: For logs.
            config: Settings file of the children.
            say: Shows a line.
        """
        self._address = f"{settings.web.bind}:{settings.web.port}"
        self._say = say
        self._children = [
            SupervisedWorker(config=config, log=directory / f"{command[0]}.log", command=command) for command in (_WEB, _ARCHIVE)
        ]

    @property
    def url(self) -> str:
        """Address of the dashboard."""
        return f"http://{self._address}/"

    async def run(self, ended: asyncio.Event, *, opens_browser: bool) -> None:
        """Run both until `ended` is set; say where the dashboard is as soon as it answers."""
        for child in self._children:
            await asyncio.to_thread(child.start)
        watching = [asyncio.create_task(self._watch(child, ended)) for child in self._children]
        try:
            if await self._is_ready(ended):
                self._say(f"the dashboard: {self.url}")
                if opens_browser:
                    await asyncio.to_thread(open_browser, self.url)
        finally:
            await asyncio.gather(*watching)

    async def n_alarms(self) -> int | None:
        """Return the number of incidents so far; None: the dashboard does not answer."""
        try:
            return await asyncio.to_thread(self._count)
        except (URLError, OSError, msgspec.DecodeError):
            return None

    def stop(self) -> None:
        """End both; what the archive read is written first."""
        for child in self._children:
            child.stop()

    async def _watch(self, child: SupervisedWorker, ended: asyncio.Event) -> None:
        try:
            await child.watch(ended)
        except RuntimeError as error:
            self._say(f"{error}; the demo goes on without it")

    async def _is_ready(self, ended: asyncio.Event) -> bool:
        """Wait until the dashboard answers, at most a minute."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + _READY_S
        while not ended.is_set() and loop.time() < deadline_s:
            if await asyncio.to_thread(self._answers):
                return True
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _TICK_S)
        return False

    def _answers(self) -> bool:
        try:
            with urlopen(f"http://{self._address}/healthz", timeout=2.0):
                return True
        except (URLError, OSError):
            return False

    def _count(self) -> int:
        with urlopen(f"http://{self._address}/api/v1/drift", timeout=5.0) as answer:
            return len(msgspec.json.decode(answer.read(), type=_Drift).incidents)


def open_browser(url: str) -> bool:
    """Open a browser with a window of its own; tell whether there is one. A browser inside the terminal would cover the demo."""
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return False
    if type(found) is webbrowser.GenericBrowser:
        return False
    return found.open(url)

"""`python -m benchmarks.rollout_trial`: trials of a better, a worse and an equal candidate, played to the end on simulated weeks.

Everything is real: broker, Redis, worker, archive and `weir web`, whose steward decides alone; event time runs as fast as the
machine. Null comparisons are simulated from counts. Prints the tables of docs/rollout.md.
"""

import asyncio
import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

import click
import msgspec
import numpy as np
from rich.console import Console

from benchmarks.__main__ import commit, machine
from benchmarks.sibling import sibling_of
from benchmarks.stage import Stage, stage, worker_of
from domain.errors import Unavailable
from monitoring.rollout import COMPARED_DAYS
from monitoring.sequential import chance_of_stopping, simulated_stops
from service import logs
from service.demo import free_port, settings_toml
from service.fleet_status import workers
from service.history_records import HistoryRecords
from service.model_training import options_of, train_and_register
from service.rollout_record import TrialRecord, read_trials
from service.rollout_words import trial_lines
from service.sending import Sender
from service.settings import Settings
from service.supervised_worker import SupervisedWorker
from service.wiring import registry_of
from stream.topics import LABELS, TRANSACTIONS

_DAY_MS: Final = 86_400_000
_PIECE: Final = 500
_MOST_BEHIND: Final = 3_000
_READY_S: Final = 120.0
_TICK_S: Final = 0.1
#: Of an event day, at least: the archive's files are two seconds old when they are closed.
_DAY_S: Final = 4.0
_WEAKER: Final = {"without-history": ("state",), "logistic": ()}
"""Name -> what a logistic regression may not see: everything that came before the transaction, or nothing."""
_ARCHIVE: Final = ("archive", "--file-seconds", "2")


class Playing:
    """Plays the world's transactions and labels in the order of event time, no faster than the worker answers."""

    def __init__(self, place: Stage) -> None:
        self._place = place
        self._records = HistoryRecords(place.world.history, from_ms=place.world.start_ms)
        self._sent = self._labelled = self._n_answered = 0
        self.day = 0

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to play."""
        return self._sent == len(self._records.event_times_ms)

    async def play_day(self, sender: Sender) -> None:
        """Play one day."""
        began_s = time.monotonic()
        self.day += 1
        until_ms = self._place.world.start_ms + self.day * _DAY_MS
        end = int(np.searchsorted(self._records.event_times_ms, until_ms))
        while self._sent < end:
            first, self._sent = self._sent, min(self._sent + _PIECE, end)
            await sender.send(self._place.connection.topic(TRANSACTIONS), *self._records.transactions(first, self._sent))
            await self._label(sender, int(self._records.event_times_ms[self._sent - 1]))
            while self._sent - await asyncio.to_thread(self._answered) > _MOST_BEHIND:  # noqa: ASYNC110 - another process answers
                await asyncio.sleep(_TICK_S)
        await sender.flush()
        await asyncio.sleep(max(0.0, began_s + _DAY_S - time.monotonic()))

    async def _label(self, sender: Sender, to_ms: int) -> None:
        end = int(np.searchsorted(self._records.label_times_ms, to_ms))
        if end > self._labelled:
            await sender.send(self._place.connection.topic(LABELS), *self._records.labels(self._labelled, end))
            self._labelled = end

    def _answered(self) -> int:
        with suppress(Unavailable):  # Redis may be slow for a moment; the worker waits for it, too
            self._n_answered = workers(self._place.settings)[0].transactions
        return self._n_answered


async def _trial(place: Stage, playing: Playing, console: Console, model: str) -> TrialRecord:
    """Play days until the trial of `model`, which is in force, has ended; nobody but the steward ends it."""
    deadline_s = time.monotonic() + _READY_S
    while (await asyncio.to_thread(workers, place.settings))[0].challenger != model:
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"the worker did not take {model} up")
        await asyncio.sleep(_TICK_S)
    registry = registry_of(place.settings)
    async with Sender(place.connection) as sender:
        while not playing.is_over and registry.state().rollout is not None:
            await playing.play_day(sender)
            found = read_trials(registry.beside(model))
            console.print(f"  day {playing.day}: {found[0].sentence if found else 'nothing seen yet'}", style="dim")
        deadline_s = time.monotonic()
        while registry.state().rollout is not None and time.monotonic() < deadline_s + _READY_S:  # noqa: ASYNC110 - as above
            await asyncio.sleep(_TICK_S)
    record = await asyncio.to_thread(_settled, place, model)
    console.print("\n".join(["", *trial_lines(record), ""]))
    return record


def _settled(place: Stage, model: str) -> TrialRecord:
    """Return the newest trial of a model, as soon as the steward has written down how it ended."""
    deadline_s = time.monotonic() + _READY_S
    while True:
        record = read_trials(registry_of(place.settings).beside(model))[0]
        if record.outcome != "running" or time.monotonic() > deadline_s:
            return record
        time.sleep(_TICK_S)


async def _trials(place: Stage, console: Console, strong: str, weak: str) -> dict[str, TrialRecord]:
    registry, playing = registry_of(place.settings), Playing(place)
    found: dict[str, TrialRecord] = {}
    console.print("a better candidate in shadow")
    registry.shadow(strong, who="trial", why="the ensemble beside the model to beat")
    found["better, shadow"] = await _trial(place, playing, console, strong)
    if registry.state().champion != strong:
        registry.promote(strong, who="trial", why="so that the next trials have the better champion")
    console.print("a worse candidate in canary")
    registry.canary(weak, 20, who="trial", why="it decides for a fifth of the cards")
    found["worse, canary of 20 %"] = await _trial(place, playing, console, weak)
    console.print("an equal candidate in shadow")
    equal = sibling_of(place.settings, strong, slope=0.9)
    registry.shadow(equal, who="trial", why="the same ranking, other probabilities")
    found["equal, shadow"] = await _trial(place, playing, console, equal)
    return found


@contextmanager
def _beside(place: Stage) -> Iterator[int]:
    """Run archive and dashboard; give the dashboard's port."""
    config, port = place.directory / "weir.toml", place.settings.web.port
    children = [SupervisedWorker(config=config, log=place.directory / f"{c[0]}.log", command=c) for c in (("web",), _ARCHIVE)]
    for child in children:
        child.start()
    try:
        deadline_s = time.monotonic() + _READY_S
        while not _answers(port):
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"the dashboard did not start; {place.directory / 'web.log'} says why")
            time.sleep(_TICK_S)
        yield port
    finally:
        for child in children:
            child.stop()


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5.0):
            return True
    except (URLError, OSError):
        return False


def _installed(place: Stage) -> Stage:
    """Return the stage with an archive and a dashboard of its own, empty."""
    for name in ("archive", "monitoring"):
        shutil.rmtree(place.directory / name, ignore_errors=True)
    old = place.settings
    settings: Settings = msgspec.structs.replace(
        old,
        archive=msgspec.structs.replace(old.archive, directory=str(place.directory / "archive")),
        monitoring=msgspec.structs.replace(old.monitoring, directory=str(place.directory / "monitoring")),
        web=msgspec.structs.replace(old.web, port=free_port()),
    )
    (place.directory / "weir.toml").write_text(settings_toml(settings), "utf-8")
    return place._replace(settings=settings)


def _models(place: Stage, console: Console, weaker: str) -> tuple[str, str]:
    """Return the product's model and a weaker one, the latter champion and nothing on trial."""
    registry = registry_of(place.settings)
    if registry.state().rollout is not None:
        registry.end_rollout(who="trial", why="of an earlier run")
    known = {entry.manifest.name: entry.reference for entry in registry.entries()}
    if weaker not in known:
        console.print("training the weaker model")
        options = msgspec.structs.replace(options_of(place.settings), members=("logistic_regression",), without=_WEAKER[weaker])
        known[weaker] = train_and_register(
            place.world.history, place.settings, options=options, name=weaker, to_ms=place.world.start_ms
        ).reference
    strong = next(entry.reference for entry in registry.entries() if entry.manifest.name == "weir")
    registry.promote(known[weaker], who="trial", why="the model to beat")
    return strong, known[weaker]


def null_comparisons() -> list[dict[str, Any]]:
    """Return how many of 200 comparisons of equals stop, by the evidence that a day brings."""
    found = []
    for per_day in (1, 2, 3, 5, 10):
        stops = simulated_stops(n_comparisons=200, n_looks=COMPARED_DAYS, per_look=per_day, seed=per_day)
        exact = chance_of_stopping(n_looks=COMPARED_DAYS, per_look=per_day)
        found.append(
            {
                "cards_a_day": per_day, "comparisons": 200, "promoted": stops.count("first"), "rolled_back": stops.count("second"),
                "stopped": len(stops) - stops.count(None), "stopped_share": (len(stops) - stops.count(None)) / 200,
                "exact_chance": round(exact, 4),
            }
        )  # fmt: skip
    return found


def late_labels() -> list[dict[str, Any]]:
    """Return how 200 trials of equals end if labels follow the champion's alerts: of the frauds that it misses fewer are known in time."""
    found = []
    for share in (1.0, 0.8, 0.6, 0.4):
        stops = simulated_stops(n_comparisons=200, n_looks=COMPARED_DAYS, per_look=3.0, favour=share / (1 + share), seed=3)
        found.append({"known_in_time": share, "promoted": stops.count("first"), "rolled_back": stops.count("second")})
    return found


@click.command()
@click.option("--null-only", is_flag=True, help="Only the null comparisons.")
@click.option("--weaker", type=click.Choice(list(_WEAKER)), default="without-history", show_default=True, help="The model to beat.")
@click.option(
    "--directory", type=click.Path(file_okay=False, path_type=Path), default=Path("var/rollout"), show_default=True, help="Where it runs."
)
def main(*, null_only: bool, weaker: str, directory: Path) -> None:
    """Play the trials and print them as JSON; about twenty minutes on two cores, a few more the first time.

    Example: python -m benchmarks.rollout_trial
    """
    logs.configure(level=logging.ERROR)
    console = Console(stderr=True, highlight=False)
    result: dict[str, Any] = {
        "machine": machine(),
        "commit": commit(),
        "null_comparisons": null_comparisons(),
        "late_labels": late_labels(),
    }
    if not null_only:
        with stage(directory, console) as staged:
            place = _installed(staged)
            strong, weak = _models(place, console, weaker)
            with worker_of(place), _beside(place) as port:
                found = asyncio.run(_trials(place, console, strong, weak))
                with urlopen(f"http://127.0.0.1:{port}/api/v1/models", timeout=30.0) as answer:
                    page = json.load(answer)
        result["trials"] = {name: _figures(record) for name, record in found.items()}
        result["on_the_page"] = [(trial["model"], trial["outcome"], trial["sentence"]) for trial in page["trials"]]
    click.echo(json.dumps(result, indent=2))


def _figures(record: TrialRecord) -> dict[str, Any]:
    return {
        "champion": record.champion, "challenger": record.model, "mode": record.mode, "outcome": record.outcome,
        "sentence": record.sentence, **msgspec.to_builtins(record.evidence),
    }  # fmt: skip


if __name__ == "__main__":
    main()

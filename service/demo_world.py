"""The demo's world: a simulated history, a model trained on its past, and the days that are streamed."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from domain.errors import ConfigError
from features.history import read_history, write_history
from service.settings import Settings
from service.wiring import load_champion, registry_of
from simulate.generate import generate

DAY_MS: Final = 86_400_000
PAST_DAYS: Final = 66
"""Warm-up of the features (30), maturity (7), training (28) and one day over."""
N_CARDS: Final = 4_000
SEED: Final = 20
_FUTURE_DAYS: Final = 90


class World(NamedTuple):
    """What the demo plays."""

    path: Path
    history: pl.DataFrame
    """Past and streamed days."""
    start_ms: int
    """First streamed moment: the model knows what is before, the stream begins here."""

    @property
    def streamed(self) -> pl.DataFrame:
        """The transactions to stream."""
        return self.history.filter(pl.col("event_time_ms") >= self.start_ms)

    def frauds(self) -> frozenset[str]:
        """Return the ids of the streamed frauds, by the simulator's truth."""
        return frozenset(self.streamed.filter(pl.col("story").is_not_null())["transaction_id"].to_list())


def make_world(directory: Path, *, now_ms: int, progress: Callable[[float], None]) -> World:
    """Return the world kept in `directory`, simulating it first if there is none.

    It ends before `now_ms`, so that event time never overtakes the present, however fast it is played.
    """
    path = directory / f"history-{N_CARDS}-{SEED}.parquet"
    n_days = PAST_DAYS + _FUTURE_DAYS
    if not path.exists():
        first_ms = (now_ms // DAY_MS - n_days - 1) * DAY_MS
        write_history(generate(n_days=n_days, n_cards=N_CARDS, seed=SEED, start_ms=first_ms, progress=progress), path)
    history = read_history(path)
    first_ms = int(history["event_time_ms"][0]) // DAY_MS * DAY_MS
    return World(path, history, first_ms + PAST_DAYS * DAY_MS)


def train_champion(world: World, settings: Settings, progress: Callable[[str, float], None]) -> str:
    """Return the registry's champion, training one on the world's past if there is none that fits the settings."""
    try:
        scorer = load_champion(settings)
    except ConfigError:
        _train(world, settings, progress)
        scorer = load_champion(settings)
    return f"{scorer.name}@{scorer.version}"


def _train(world: World, settings: Settings, progress: Callable[[str, float], None]) -> None:
    from service.model_training import train_and_register

    found = train_and_register(
        world.history, settings, to_ms=world.start_ms,
        progress=lambda stage, share: progress(f"training: {stage}", share),
    )  # fmt: skip
    registry_of(settings).promote(found.reference, who="weir demo", why="it fits the world that is played")

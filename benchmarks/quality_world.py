"""Scored days for the quality trial: a simulated bank, the product's ensemble trained on its past, and the days after."""

import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from domain.decision import Tier
from features.history import normalised
from features.offline import replay
from features.spec import fingerprint
from models.bundle import load_bundle, write_bundle
from models.scorer import Scorer
from models.training import train
from monitoring.quality_facts import DAY_MS, Amounts, Answers, DayFacts, Verdicts, facts_of
from service.model_training import options_of
from service.settings import Settings
from service.wiring import rates_of
from simulate.drift import Drift
from simulate.generate import START_MS, generate

PAST_DAYS: Final = 66
"""Warm-up of the features, maturity and training, as in the demo."""
N_DAYS: Final = 105
"""Scored days."""
N_CARDS: Final = 5_000
STREAM_MS: Final = START_MS + PAST_DAYS * DAY_MS


class Scored(NamedTuple):
    """The scored days of one world, one row a transaction, by event time."""

    answers: Answers
    """Not by id but by event time; `days` cuts and sorts."""
    amount_minor: NDArray[np.int64]
    is_reported: NDArray[np.bool_]
    """Reported as fraud, sooner or later."""
    label_ms: NDArray[np.int64]
    """When; 0 = never."""


def history_of(seed: int, drifts: tuple[Drift, ...] = ()) -> pl.DataFrame:
    """Return a history of PAST_DAYS + N_DAYS days, normalised."""
    return normalised(generate(n_days=PAST_DAYS + N_DAYS, n_cards=N_CARDS, seed=seed, drifts=drifts), "simulated")


def trained(history: pl.DataFrame, progress: Callable[[str, float], None]) -> Scorer:
    """Return the ensemble that `weir train` makes of the past."""
    settings = Settings()
    features, key = settings.features.definition(), b"trial of quality"
    found = train(
        history, features=features, rates=rates_of(settings), options=options_of(settings), to_ms=STREAM_MS, progress=progress
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(Path(folder), found.manifest, found.files, key)
        return load_bundle(Path(folder), key, fingerprint(features))


def scored(history: pl.DataFrame, scorer: Scorer) -> Scored:
    """Return what a worker would have answered on the days after the training."""
    settings = Settings()
    is_later = (history["event_time_ms"] >= STREAM_MS).to_numpy()
    vectors = replay(history, settings.features.definition(), rates_of(settings), keep=is_later)
    p = np.concatenate([scorer.score(vectors[i : i + 4096]) for i in range(0, len(vectors), 4096)])
    later = history.filter(pl.Series(is_later))
    is_alert = np.array([outcome != "approve" for outcome in scorer.decide(p, Tier.FULL)])
    answers = Answers(np.arange(len(p), dtype=np.uint64), later["event_time_ms"].to_numpy(), p, is_alert, np.zeros(len(p)))
    label_ms = later["label_time_ms"].fill_null(0).to_numpy()
    return Scored(answers, later["amount_minor"].to_numpy(), later["is_fraud"].fill_null(value=False).to_numpy() & (label_ms > 0), label_ms)


def reviewed(world: Scored, random: np.random.Generator) -> Scored:
    """Return the same world where analysts look at every alert within days, and missed fraud comes back by charge-backs only."""
    analyst = np.clip(random.lognormal(np.log(1.5), 0.8, len(world.label_ms)), 1.0, 12.0)
    chargeback = np.clip(random.lognormal(np.log(14.0), 0.6, len(world.label_ms)), 3.0, 45.0)
    delay_ms = (np.where(world.answers.is_alert, analyst, chargeback) * DAY_MS).astype(np.int64)
    return world._replace(label_ms=np.where(world.is_reported, world.answers.event_ms + delay_ms, 0))


def days_of(world: Scored, *, from_day: int, to_day: int, known_before_ms: int) -> list[DayFacts]:
    """Return the facts of the scored days [from_day, to_day) from the labels that are known before a moment."""
    known = np.flatnonzero(world.is_reported & (world.label_ms < known_before_ms))
    verdicts = Verdicts(world.answers.ids[known], np.ones(len(known), np.bool_), world.label_ms[known])
    event_ms = world.answers.event_ms
    edges = np.searchsorted(event_ms, STREAM_MS + np.arange(from_day, to_day + 1) * DAY_MS)
    found = []
    for day, (first, end) in enumerate(pairwise(edges.tolist()), start=from_day):
        answers = Answers._make(column[first:end] for column in world.answers)
        found.append(facts_of(STREAM_MS + day * DAY_MS, answers, Amounts(answers.ids, world.amount_minor[first:end]), verdicts))
    return found

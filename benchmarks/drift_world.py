"""Simulated months through the product's own parts: history, features, a trained model, counters by hour."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from domain.decision import Outcome, Tier
from features.currency import Rates
from features.history import normalised
from features.offline import replay
from features.spec import COLUMN, FeatureSettings
from models import bundle
from models.calibration import Platt
from models.gain import gain_shares
from models.options import DAY_MS, Sizes, TrainingOptions
from models.session import run_in_blocks
from models.training import train
from monitoring.concept import Alerts
from monitoring.counters import Counters
from monitoring.packed import Counts
from monitoring.profile import Profile
from simulate.drift import Drift
from simulate.generate import START_MS, generate

#: Days: windows and label tiles fill; the model trains on 28 days that are 7 days old; 28 days set the limits; the trial.
WARM_UP_DAYS: Final = 45
TRAINING_DAYS: Final = 28
MATURITY_DAYS: Final = 7
BASELINE_DAYS: Final = 28
TRIAL_DAYS: Final = 30
SERVING_DAY: Final = WARM_UP_DAYS + TRAINING_DAYS + MATURITY_DAYS
TRIAL_DAY: Final = SERVING_DAY + BASELINE_DAYS
N_DAYS: Final = TRIAL_DAY + TRIAL_DAYS
#: Small members: the trial is about drift, not about how good the model is.
_OPTIONS: Final = TrainingOptions(
    warm_up_days=WARM_UP_DAYS, n_jobs=1, most_good_rows=10_000, tree_good_rows=3_000, sizes=Sizes(40, 5, 5, 20)
)


@dataclass(frozen=True)
class Served:
    """What was served from one day on."""

    hours: Mapping[int, Counts]
    """Hour since the epoch -> counts by the model's profile."""
    alerts: Alerts


class MeanShift:
    """From the first row of a day on, a feature is larger by so many of its standard deviations."""

    def __init__(self, feature: str, n_sd: float) -> None:
        self.feature, self.n_sd = feature, n_sd

    def apply(self, vectors: NDArray[np.float32]) -> None:
        """Shift the column of rows that all lie after the change."""
        column = vectors[:, COLUMN[self.feature]]
        column += np.float32(self.n_sd * np.nanstd(column.astype(np.float64)))


class World:
    """One seed: people, their history, and a model trained on its first days."""

    def __init__(self, seed: int, n_cards: int) -> None:
        self._seed, self._n_cards = seed, n_cards
        self._features, self._rates = FeatureSettings(maturity_days=MATURITY_DAYS), Rates("EUR")
        history = self._history(())
        trained = train(
            history, features=self._features, rates=self._rates, options=_OPTIONS, to_ms=START_MS + SERVING_DAY * DAY_MS,
            from_ms=START_MS + WARM_UP_DAYS * DAY_MS,
        )  # fmt: skip
        self.profile = Profile.decode(trained.files[bundle.PROFILE])
        self.importance = gain_shares(trained.files[bundle.BOOSTER])
        self._graph = trained.files[bundle.FULL]
        self._platt: Platt = trained.manifest.calibration[Tier.FULL]
        self._policy = trained.manifest.policy
        self.stationary = self._serve(history, SERVING_DAY, None)

    def changed(self, drift_day: int, change: Drift | MeanShift) -> Served:
        """Return what is served if the same world has one change from `drift_day` on."""
        if isinstance(change, MeanShift):
            after = self._serve(self._history(()), drift_day, change)
        else:
            after = self._serve(self._history((change,)), drift_day, None)
        before = self.stationary
        is_before = before.alerts.time_ms < START_MS + drift_day * DAY_MS
        alerts = Alerts(*(np.concatenate([old[is_before], new]) for old, new in zip(before.alerts, after.alerts, strict=True)))
        return Served({**before.hours, **after.hours}, alerts)

    def _history(self, drifts: Sequence[Drift]) -> pl.DataFrame:
        return normalised(generate(n_days=N_DAYS, n_cards=self._n_cards, seed=self._seed, drifts=drifts), "the simulator")

    def _serve(self, history: pl.DataFrame, from_day: int, shift: MeanShift | None) -> Served:
        keep = history["event_time_ms"].to_numpy() >= START_MS + from_day * DAY_MS
        vectors = replay(history, self._features, self._rates, keep=keep)
        if shift is not None:
            shift.apply(vectors)
        time_ms = history["event_time_ms"].to_numpy()[keep]
        scores = self._platt.probability(run_in_blocks(self._graph, "logit", vectors, 1)[:, 0])
        outcomes = self._policy.decide(scores, Tier.FULL)
        is_alert = np.array([outcome != "approve" for outcome in outcomes])
        is_fraud = history["is_fraud"].fill_null(value=False).to_numpy()[keep]
        label_ms = np.where(is_fraud, history["label_time_ms"].fill_null(-1).to_numpy()[keep], -1)
        return Served(_by_hour(self.profile, vectors, scores, outcomes, time_ms), Alerts(time_ms[is_alert], label_ms[is_alert]))


def _by_hour(
    profile: Profile, vectors: NDArray[np.float32], scores: NDArray[np.float64], outcomes: Sequence[Outcome], time_ms: NDArray[np.int64]
) -> dict[int, Counts]:
    """Count as a worker does, and take what changed once a day."""
    counters = Counters(profile, "trial")
    found: dict[int, Counts] = {}
    places = np.searchsorted(time_ms, np.arange(time_ms[0] // DAY_MS, time_ms[-1] // DAY_MS + 2) * DAY_MS).tolist()
    for first, end in pairwise(places):
        counters.count(vectors[first:end], scores[first:end], time_ms[first:end], outcomes[first:end])
        found.update(counters.take().hours)
    return found

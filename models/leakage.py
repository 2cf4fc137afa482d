"""Does a model know what it cannot know? Three checks that break what must not matter and look whether it did.

1. The future replaced by noise changes no bit of any feature.
2. With labels permuted within days nothing can be learnt: average precision stays near the prevalence.
3. A single feature that nearly separates frauds is a warning: such a column is often filled in after the fact.
"""

from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import rankdata

from features.currency import Rates
from features.history import SCHEMA, normalised
from features.offline import replay
from features.spec import FEATURES, FeatureSettings
from models.options import DAY_MS

LARGEST_LIFT: Final = 3.0
"""Average precision over the prevalence that permuted labels may reach."""
SUSPICIOUS_AUC: Final = 0.98
LARGEST_CLAIM_GAP: Final = 0.02
"""By how much a recomputed average precision may be below the claimed one."""
_SHIFT_MS: Final = 9 * DAY_MS
_MOST_ROWS: Final = 100_000


class LeakageReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks found."""

    n_vectors_compared: int
    n_changed_by_future: int
    """Feature values (of vectors x features) with another bit after the future was replaced; must be 0."""
    permuted_average_precision: float | None
    """Null: not run."""
    permuted_prevalence: float | None
    suspicious_features: list[tuple[str, float]] = []
    """(name, AUC or 1 - AUC) above SUSPICIOUS_AUC: a warning, no failure."""

    @property
    def failures(self) -> list[str]:
        """Return what failed, in words; empty = passed."""
        found = []
        if self.n_changed_by_future:
            found.append(f"{self.n_changed_by_future} feature values changed when the future was replaced by noise")
        ap, rate = self.permuted_average_precision, self.permuted_prevalence
        if ap is not None and rate is not None and ap > LARGEST_LIFT * rate:
            found.append(
                f"with labels permuted within days average precision is {ap:.4f}, above {LARGEST_LIFT:.0f} x the prevalence {rate:.4f}"
            )
        return found


def changed_by_future(
    history: pl.DataFrame, features: FeatureSettings, rates: Rates, *, cut_ms: int, seed: int,
    progress: Callable[[float], None] | None = None,
) -> tuple[int, int]:  # fmt: skip
    """Replace everything after `cut_ms` by noise, replay, and compare the vectors of the rows up to it, bit by bit.

    Args:
        history: Normalised.
        features: What the features depend on.
        rates: Of the base currency.
        cut_ms: Rows with an event time up to it stay, and labels known before it.
        seed: Of the noise.
        progress: Told the finished share.

    Returns:
        Vectors compared (the newest 100,000 up to the cut) and values that differ.
    """
    told = progress or (lambda _: None)
    plain = history.select(*SCHEMA)
    n_known = int((plain["event_time_ms"] <= cut_ms).sum())
    other = with_another_future(plain, n_known, cut_ms, seed)
    keep = np.zeros(len(plain), np.bool_)
    keep[max(0, n_known - _MOST_ROWS) : n_known] = True
    first = replay(plain, features, rates, keep=keep, progress=lambda share: told(share / 2))
    second = replay(other, features, rates, keep=keep, progress=lambda share: told((1 + share) / 2))
    return int(keep.sum()), int((first.view(np.int32) != second.view(np.int32)).sum())


def with_another_future(history: pl.DataFrame, n_known: int, now_ms: int, seed: int) -> pl.DataFrame:
    """Return the history as it might have gone on for somebody who knows its first `n_known` rows and the labels before `now_ms`.

    Later rows get other times, amounts, places, categories and entities; labels not yet known are drawn anew.
    """
    random, n = np.random.default_rng(seed), len(history)
    is_past = pl.int_range(pl.len()) < n_known
    is_told = is_past & (pl.col("label_time_ms") < now_ms).fill_null(value=False)
    event_ms = pl.when(is_past).then("event_time_ms").otherwise(
        pl.max_horizontal("event_time_ms", pl.lit(now_ms + 1)) + pl.Series(random.integers(0, _SHIFT_MS, n))
    )  # fmt: skip
    told_ms = pl.max_horizontal(pl.lit(now_ms), event_ms + 1) + pl.Series(random.integers(0, _SHIFT_MS, n))
    noise: dict[str, pl.Expr | pl.Series] = {
        "transaction_id": "~" + pl.col("transaction_id").str.slice(0, 63),
        "event_time_ms": event_ms,
        "amount_minor": pl.Series(random.integers(0, 1 << 32, n)),
        "lat": pl.Series(random.uniform(-90, 90, n)),
        "lon": pl.Series(random.uniform(-180, 180, n)),
        "mcc": pl.Series(random.integers(0, 10_000, n), dtype=pl.Int32),
        **{name: pl.col(name).gather(pl.Series(random.integers(0, n, n))) for name in ("card_id", "merchant_id", "device_id", "ip")},
    }
    other = history.with_columns(
        *(pl.when(is_past).then(name).otherwise(value).alias(name) for name, value in noise.items()),
        pl.when(is_told).then("is_fraud").otherwise(pl.Series(random.random(n) < 0.5)).alias("is_fraud"),
        pl.when(is_told).then("label_time_ms").otherwise(told_ms).alias("label_time_ms"),
    )
    return normalised(other, "another future")


def permuted_labels(history: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return the history with the labels of each UTC day given to other rows of that day; each keeps its delay.

    A column `story` goes: the permuted labels are the truth.
    """
    random = np.random.default_rng(seed)
    day = history["event_time_ms"].to_numpy() // DAY_MS
    # Sorted by day twice, once at random within the day: places of one order take the labels of the other.
    place, source = np.argsort(day, kind="stable"), np.lexsort((random.random(len(day)), day))
    taken = np.empty(len(day), np.int64)
    taken[place] = source
    delay = pl.col("label_time_ms") - pl.col("event_time_ms")
    return history.drop("story", strict=False).with_columns(
        pl.col("is_fraud").gather(pl.Series(taken)), label_time_ms=pl.col("event_time_ms") + delay.gather(pl.Series(taken))
    )


def suspicious_features(vectors: NDArray[np.float32], target: NDArray[np.bool_]) -> list[tuple[str, float]]:
    """Return the features that alone nearly separate frauds: (name, AUC or 1 - AUC), the largest first; missing counts as lowest."""
    n_frauds, n_good = int(target.sum()), int((~target).sum())
    if not n_frauds or not n_good:
        return []
    found = []
    for place, feature in enumerate(FEATURES):
        ranks = rankdata(np.nan_to_num(vectors[:, place].astype(np.float64), nan=-np.inf))
        area = (ranks[target].sum() - n_frauds * (n_frauds + 1) / 2) / (n_frauds * n_good)
        if max(area, 1 - area) > SUSPICIOUS_AUC:
            found.append((feature.name, float(max(area, 1 - area))))
    return sorted(found, key=lambda one: -one[1])

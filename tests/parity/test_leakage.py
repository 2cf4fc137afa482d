"""Features know no future: on a simulated history, other events to come and other labels not yet known change no value."""

import numpy as np
import polars as pl
import pytest

from features.columns import columns_of
from features.currency import Rates
from features.history import SCHEMA, normalised
from features.offline import default_events, replay
from features.spec import FeatureSettings
from simulate.generate import generate

SETTINGS = FeatureSettings()
RATES = Rates("EUR")
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    found = normalised(generate(n_days=45, n_cards=1_500, seed=11).select(*SCHEMA), "simulated")
    assert len(found) >= 50_000
    return found


@pytest.fixture(scope="module")
def vectors(history) -> np.ndarray:
    return replay(history, SETTINGS, RATES).view(np.int32)


def with_another_future(history: pl.DataFrame, cut: int, seed: int) -> pl.DataFrame:
    """Return the history as it might have been for somebody who knows the rows up to `cut`, that one included."""
    r = np.random.default_rng(seed)
    n, now_ms = len(history), int(history["event_time_ms"][cut])
    row = pl.int_range(pl.len())
    is_known = (row <= cut) & (pl.col("label_time_ms") < now_ms).fill_null(value=False)
    event_ms = pl.when(row <= cut).then("event_time_ms").otherwise(pl.col("event_time_ms") + pl.Series(r.integers(0, 9 * DAY_MS, n)))
    flip, told_ms = pl.Series(r.random(n) < 0.5), pl.max_horizontal(pl.lit(now_ms), event_ms + 1) + pl.Series(r.integers(0, 9 * DAY_MS, n))
    noise = {
        "transaction_id": "~" + pl.col("transaction_id"),
        "event_time_ms": event_ms,
        "amount_minor": pl.Series(r.integers(0, 1 << 32, n)),
        "lat": pl.Series(r.uniform(-90, 90, n)),
        "lon": pl.Series(r.uniform(-180, 180, n)),
        "mcc": pl.Series(r.integers(0, 10_000, n), dtype=pl.Int32),
        **{name: pl.col(name).gather(pl.Series(r.integers(0, n, n))) for name in ("card_id", "merchant_id", "device_id", "ip")},
    }
    other = history.with_columns(
        *(pl.when(row <= cut).then(name).otherwise(value).alias(name) for name, value in noise.items()),
        pl.when(is_known).then("is_fraud").otherwise(flip).alias("is_fraud"),
        pl.when(is_known).then("label_time_ms").otherwise(told_ms).alias("label_time_ms"),
    )
    return normalised(other, "another future")


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.999])
def test_another_future_and_other_labels_not_yet_known_change_no_value(history, vectors, share):
    cut = int(share * len(history))
    other = with_another_future(history, cut, seed=cut)

    found = replay(other, SETTINGS, RATES).view(np.int32)

    assert other["transaction_id"][: cut + 1].equals(history["transaction_id"][: cut + 1])
    n_other_labels = int((other["is_fraud"][: cut + 1] != history["is_fraud"][: cut + 1]).sum())
    assert n_other_labels > 100
    assert int((found[: cut + 1] != vectors[: cut + 1]).sum()) == 0
    assert (found[cut + 1 :] != vectors[cut + 1 :]).any()


def test_labels_told_to_the_past_do_change_values(history, vectors):
    """The check above can fail: the same frauds, known at once, are seen."""
    is_fraud = pl.col("is_fraud").fill_null(value=False)
    at_once = history.with_columns(label_time_ms=pl.when(is_fraud).then(pl.col("event_time_ms") + 1).otherwise("label_time_ms"))

    found = replay(at_once, SETTINGS, RATES).view(np.int32)

    assert (found != vectors).any()
    assert len(default_events(at_once).row) > len(columns_of(history, RATES).batch.time_ms)

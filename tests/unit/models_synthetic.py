"""Made-up vectors that look like real ones: heavy tails, counts, codes, missing blocks; and a small trained model of them."""

from functools import cache

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.spec import COLUMN, FEATURES, N_FEATURES, FeatureSettings
from models.calibration import Platt
from models.categories import CategoryTables
from models.dataset import Dataset, Window
from models.ensemble import Ensemble, Mixture, fit_members
from models.fitted import Fitted, Trained
from models.members import MEMBERS
from models.options import DAY_MS, Sizes, TrainingOptions
from models.sample import draw
from models.training import fit

SMALL = TrainingOptions(
    min_calibration_frauds=20,
    most_good_rows=4_000,
    tree_good_rows=1_000,
    alert_rate=0.02,
    n_jobs=1,
    sizes=Sizes(boosting_rounds=25, forest_trees=8, extra_trees=8, small_rounds=15, isolation_trees=20, mlp_epochs=4, svm_components=64),
)
N_DAYS = 12
WINDOW = Window(0, (N_DAYS + 7) * DAY_MS, 7 * DAY_MS)


def vectors_of(n: int, seed: int = 0) -> NDArray[np.float32]:
    """Vectors (n, N_FEATURES); devices and places are missing for half of the rows, anything else here and there."""
    r = np.random.default_rng(seed)
    x = np.exp(r.normal(2, 1.5, (n, N_FEATURES))).astype(np.float32)
    x[:, COLUMN["event_channel"]] = r.integers(0, 6, n)
    x[:, COLUMN["event_category"]] = r.choice([5411, 5812, 7995], n)
    x[:, COLUMN["event_country"]] = r.choice([3, 100, 675], n)
    for column, feature in enumerate(FEATURES):
        if feature.unit in ("transactions", "frauds", "0 or 1"):
            x[:, column] = np.floor(np.log1p(x[:, column]))
        if feature.entity in ("device", "ip"):
            x[: n // 2, column] = np.nan
        elif feature.entity:
            x[r.random(n) < 0.1, column] = np.nan
    return x[r.permutation(n)]


def frauds_of(x: NDArray[np.float32], seed: int = 0) -> NDArray[np.bool_]:
    """Two per cent frauds that the features tell, mostly."""
    signal = np.nan_to_num(np.log1p(x[:, COLUMN["card_amount_over_median"]])) + 2.0 * (x[:, COLUMN["event_category"]] == 7995)
    signal += np.random.default_rng(seed).normal(0, 0.5, len(x))
    found: NDArray[np.bool_] = signal > np.quantile(signal, 0.98)
    return found


def dataset_of(n: int = 6_000, seed: int = 0) -> Dataset:
    """N_DAYS days of rows."""
    x = vectors_of(n, seed)
    r = np.random.default_rng(seed)
    return Dataset(x, frauds_of(x, seed), np.ones(n), np.sort(r.integers(0, N_DAYS, n)))


@cache
def fitted() -> Fitted:
    """A small model; fitted once per process."""
    return fit(dataset_of(), vectors_of(3_000, 9), WINDOW, SMALL)


@cache
def all_members() -> Ensemble:
    """Every member that can be chosen, mixed equally; fitted once per process."""
    options = msgspec.structs.replace(SMALL, members=tuple(MEMBERS))
    dataset = dataset_of()
    members = fit_members(draw(dataset, options), options)
    mixture = Mixture(dict.fromkeys(members, Platt(1.0, 0.0)), dict.fromkeys(members, 1 / len(members)))
    return Ensemble(CategoryTables.fit(dataset.vectors, dataset.target), members, mixture)


@cache
def trained() -> Trained:
    """The same, ready to be written."""
    return fitted().finish(name="weir", features=FeatureSettings(), rates="0" * 16, warnings=())


def history_of(rows: list[dict[str, object]]) -> pl.DataFrame:
    """A history with only what eligibility and targets read."""
    schema = {"event_time_ms": pl.Int64, "card_id": pl.String, "is_fraud": pl.Boolean, "label_time_ms": pl.Int64}
    return pl.DataFrame([{"card_id": "c"} | row for row in rows], schema=schema)

"""The gate between training and serving: a compiled graph must say what the members' own libraries say."""

from collections.abc import Callable, Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.errors import ModelError
from features.spec import N_FEATURES
from models.calibration import Platt
from models.categories import CATEGORY_COLUMNS
from models.missing import without_state
from models.policy import Thresholds
from models.trees import Nodes

#: Largest difference of a probability, and the distance from a threshold within which an outcome may differ.
TOLERANCE = 1e-5
REFERENCE_ROWS = 10_000
_HARD_ROWS = 2_000
_EXTREMES = np.array([0.0, -1.0, 1.0, 1e-30, 1e9, -1e9, 1e18, 3e30], np.float32)

Logit = Callable[[NDArray[np.float32]], NDArray[np.float64]]


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the gate found."""

    n_rows: int
    largest_difference: float
    """Of a calibrated probability."""
    n_flips: int
    """Outcomes that differ although the probability is not within TOLERANCE of the threshold."""


def reference_rows(vectors: NDArray[np.float32], trees: Iterable[Nodes], seed: int) -> NDArray[np.float32]:
    """Return rows that try a graph hard: real ones, without state, full of holes, exactly on splits, extreme.

    At least REFERENCE_ROWS of them are real; fewer vectors are repeated with holes.
    """
    generator = np.random.default_rng(seed)
    real = vectors[generator.choice(len(vectors), REFERENCE_ROWS, replace=len(vectors) < REFERENCE_ROWS)]

    def some() -> NDArray[np.float32]:
        found: NDArray[np.float32] = real[generator.choice(len(real), _HARD_ROWS)].copy()
        return found

    holes, splits, extreme = some(), some(), some()
    holes[generator.random(holes.shape) < generator.random((_HARD_ROWS, 1))] = np.nan
    _put_on_splits(splits, trees, generator)
    replaced = generator.random(extreme.shape) < 0.3
    extreme[replaced] = generator.choice(_EXTREMES, int(replaced.sum()))
    for rows in (splits, extreme):
        codes = generator.choice(np.array([0, 5, 700, 9_999, np.nan], np.float32), (_HARD_ROWS, len(CATEGORY_COLUMNS)))
        rows[:, CATEGORY_COLUMNS] = codes
    return np.concatenate([real, without_state(some()), holes, splits, extreme])


def check_parity(
    rows: NDArray[np.float32], reference: Logit, compiled: Logit, tiers: Iterable[tuple[Platt, Thresholds]], name: str
) -> Parity:
    """Compare a compiled graph with its reference on `rows`, as probabilities and as outcomes.

    Args:
        rows: Raw vectors.
        reference: Logit by the members' libraries.
        compiled: Logit by the graph.
        tiers: Calibration and thresholds of every tier that the graph answers for.
        name: Of the graph, for the error.

    Raises:
        ModelError: They differ by more than TOLERANCE, or an outcome flips; no bundle is written.
    """
    expected_logit, found_logit = reference(rows), compiled(rows)
    largest, n_flips = 0.0, 0
    for calibration, thresholds in tiers:
        expected, found = calibration.probability(expected_logit), calibration.probability(found_logit)
        difference = np.abs(expected - found)
        largest = max(largest, float(np.max(np.nan_to_num(difference, nan=1.0))))
        for threshold in (thresholds.review, thresholds.decline):
            flips = ((expected >= threshold) != (found >= threshold)) & (np.abs(expected - threshold) >= TOLERANCE)
            n_flips += int(flips.sum())
    if largest > TOLERANCE or n_flips:
        raise ModelError(
            f"{name} differs from the fitted members by up to {largest:.2e} on {len(rows)} rows ({n_flips} outcomes flip); "
            f"{TOLERANCE:.0e} is allowed: the bundle is not written"
        )
    return Parity(len(rows), largest, n_flips)


def _put_on_splits(rows: NDArray[np.float32], trees: Iterable[Nodes], generator: np.random.Generator) -> None:
    for nodes in trees:
        for feature in range(N_FEATURES):
            thresholds = nodes.threshold[(nodes.feature == feature) & np.isfinite(nodes.threshold)]
            if not len(thresholds):
                continue
            values = generator.choice(thresholds, len(rows))
            above = generator.random(len(rows)) < 0.5
            values[above] = np.nextafter(values[above], np.float32(np.inf))
            chosen = generator.random(len(rows)) < 0.3
            rows[chosen, feature] = values[chosen]

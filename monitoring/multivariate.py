"""Several features at once: changes that no single feature shows. Shown beside the alarms, off the hot path.

Rows are taken as given: they should be spread over the days they stand for, for rows of one card resemble each other.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32] | NDArray[np.float64]
Floats = NDArray[np.float64]

_MOST_SD: Final = 5.0
"""Standardised values are cut off here, so that one freak does not turn the axes."""
_RIDGE: Final = 10.0
_MOST_STEPS: Final = 25
_N_FOLDS: Final = 5


@dataclass(frozen=True, slots=True)
class Scaling:
    """Makes features comparable: signed logarithm, then standard deviations from the mean; missing becomes the mean."""

    mean: Floats
    sd: Floats

    @classmethod
    def fit(cls, vectors: Matrix) -> Self:
        """Learn from rows, (n, n_features); a feature without a value or without spread becomes 0 everywhere."""
        logs = _signed_log(vectors)
        is_known = ~np.isnan(logs)
        n = np.maximum(is_known.sum(axis=0), 1)
        mean = np.where(is_known, logs, 0.0).sum(axis=0) / n
        variance = np.where(is_known, (logs - mean) ** 2, 0.0).sum(axis=0) / n
        return cls(mean, np.where(variance > 0, np.sqrt(variance), np.inf))

    def apply(self, vectors: Matrix) -> Floats:
        """Return float64 (n, n_features), every value in [-5, 5]."""
        scaled = (_signed_log(vectors) - self.mean) / self.sd
        return np.asarray(np.clip(np.where(np.isnan(scaled), 0.0, scaled), -_MOST_SD, _MOST_SD))


@dataclass(frozen=True, slots=True)
class Subspace:
    """The directions in which features vary together (principal components)."""

    scaling: Scaling
    centre: Floats
    axes: Floats
    """float64 (n_axes, n_features), orthonormal."""

    @classmethod
    def fit(cls, vectors: Matrix, *, explained: float = 0.9) -> Self:
        """Return the fewest axes that hold the share `explained` of the variance of the rows."""
        scaling = Scaling.fit(vectors)
        rows = scaling.apply(vectors)
        centre = rows.mean(axis=0)
        variance, axes = np.linalg.eigh(np.cov(rows - centre, rowvar=False, bias=True))
        share = np.cumsum(variance[::-1]) / max(float(variance.sum()), np.finfo(float).tiny)
        n_axes = min(len(variance), int(np.searchsorted(share, explained)) + 1)
        return cls(scaling, centre, np.ascontiguousarray(axes[:, ::-1].T[:n_axes]))

    def errors(self, vectors: Matrix) -> Floats:
        """Return the mean squared reconstruction error of each row, float64 (n,), in variances of a feature.

        It rises for rows whose features no longer go together as they did, even where each one looks as always.
        Bin it like a feature (`monitoring.profile.Profile`) to see whether it drifts.
        """
        rows = self.scaling.apply(vectors) - self.centre
        rest = rows - (rows @ self.axes.T) @ self.axes
        return np.asarray((rest**2).mean(axis=1))


class Telling(NamedTuple):
    """How well recent rows can be told from reference rows."""

    auc: float
    """Of a classifier on rows it was not fitted on: 0.5 = not at all, 1 = always."""
    low: float
    high: float
    """95 % interval, of independent rows (Hanley and McNeil, 1982)."""
    columns: tuple[int, ...]
    """Columns by which it tells, the strongest first."""


def telling(reference: Matrix, recent: Matrix, *, seed: int, n_columns: int = 5) -> Telling:
    """Return how well a logistic regression tells recent rows from reference rows, by cross-validation.

    Leave out features that follow the clock or grow for ever: by those, days can always be told apart.

    Args:
        reference: (n, n_features), at least 5 rows; NaN = missing.
        recent: (m, n_features), likewise.
        seed: Of the folds.
        n_columns: So many columns are named.
    """
    scaling = Scaling.fit(np.concatenate([reference, recent]))
    rows = np.concatenate([scaling.apply(reference), scaling.apply(recent)])
    rows = np.column_stack([rows, np.ones(len(rows))])
    is_recent = np.r_[np.zeros(len(reference), np.bool_), np.ones(len(recent), np.bool_)]
    fold = np.empty(len(rows), np.int64)
    for part in (is_recent, ~is_recent):  # each fold holds both kinds
        fold[part] = np.random.default_rng(seed).permutation(int(part.sum())) % _N_FOLDS
    aucs, weights = [], np.zeros(rows.shape[1])
    for k in range(_N_FOLDS):
        weight = _logistic(rows[fold != k], is_recent[fold != k])
        weights += weight / _N_FOLDS
        aucs.append(auc(rows[fold == k] @ weight, is_recent[fold == k]))
    found = float(np.mean(aucs))
    half = 1.96 * _auc_error(found, len(recent), len(reference))
    strongest = np.argsort(-np.abs(weights[:-1]), kind="stable")[:n_columns]
    return Telling(found, max(0.0, found - half), min(1.0, found + half), tuple(strongest.tolist()))


def auc(scores: Floats, is_positive: NDArray[np.bool_]) -> float:
    """Return the probability that a positive row scores higher than another one, ties counting half.

    >>> auc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
    0.875
    """
    values, place, n_equal = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(n_equal) - (n_equal - 1) / 2)[place]
    n, m = int(is_positive.sum()), int((~is_positive).sum())
    assert len(values)
    return float((rank[is_positive].sum() - n * (n + 1) / 2) / (n * m))


def _signed_log(vectors: Matrix) -> Floats:
    values = np.asarray(vectors, np.float64)
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


def _logistic(rows: Floats, target: NDArray[np.bool_]) -> Floats:
    """Return the weights of a ridge logistic regression, by Newton's method; the last column, the constant, is not held back."""
    ridge = np.full(rows.shape[1], _RIDGE)
    ridge[-1] = 1e-9
    weight = np.zeros(rows.shape[1])
    for _ in range(_MOST_STEPS):
        p = 1 / (1 + np.exp(-rows @ weight))
        gradient = rows.T @ (target - p) - ridge * weight
        curvature = (rows * (p * (1 - p))[:, None]).T @ rows + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        weight += step
        if np.abs(step).max() < 1e-6:
            break
    return weight


def _auc_error(found: float, n: int, m: int) -> float:
    one, two = found / (2 - found), 2 * found**2 / (1 + found)
    variance = (found * (1 - found) + (n - 1) * (one - found**2) + (m - 1) * (two - found**2)) / (n * m)
    return float(np.sqrt(max(variance, 0.0)))

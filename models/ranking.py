"""Average precision and ROC AUC of many resamples at once: scores are sorted once, resamples only change the counts."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

_Counts = NDArray[np.float64]


class Ranking:
    """Frauds and good rows of each cluster between the distinct scores of the frauds.

    With every cluster counted once the values are those of scikit-learn: no interpolation, ties share a threshold.

    Args:
        score: Higher is more suspicious, (n,).
        target: Fraud or not; at least one of each kind.
        cluster: Number of each row's cluster, from 0, below `n_clusters`.
        n_clusters: Rows of the `counts` that the methods take.
    """

    def __init__(self, score: NDArray[np.float64], target: NDArray[np.bool_], cluster: NDArray[np.int64], n_clusters: int) -> None:
        levels = np.unique(score[target])
        at_or_above = len(levels) - np.searchsorted(levels, score, side="left")
        is_level = np.isin(score, levels)
        # Even cells lie between two levels, odd ones on a level; the highest scores come first.
        cell = np.where(is_level, 2 * at_or_above - 1, 2 * at_or_above)
        self._frauds = _count(at_or_above[target] - 1, cluster[target], (len(levels), n_clusters))
        self._good = _count(cell[~target], cluster[~target], (2 * len(levels) + 1, n_clusters))
        self._n_clusters = n_clusters

    def average_precision(self, counts: _Counts) -> _Counts:
        """Return the average precision of each resample; `counts` (n_clusters, B) tells how often each cluster was drawn."""
        frauds, good = self._frauds @ counts, self._good @ counts
        caught, false = np.cumsum(frauds, axis=0), np.cumsum(good, axis=0)[1::2]
        found: _Counts = (frauds * caught / np.maximum(caught + false, 1e-12)).sum(axis=0) / _positive(frauds.sum(axis=0))
        return found

    def roc_auc(self, counts: _Counts) -> _Counts:
        """Return the area under the ROC curve of each resample."""
        frauds, good = self._frauds @ counts, self._good @ counts
        n_good = good.sum(axis=0)
        below = n_good - np.cumsum(good, axis=0)[:-1:2] - 0.5 * good[1::2]
        found: _Counts = (frauds * below).sum(axis=0) / _positive(frauds.sum(axis=0) * n_good)
        return found

    @cached_property
    def once(self) -> _Counts:
        """Return the counts of what was seen itself, (n_clusters, 1)."""
        return np.ones((self._n_clusters, 1))


def _count(cell: NDArray[np.int64], cluster: NDArray[np.int64], shape: tuple[int, int]) -> csr_matrix:
    return csr_matrix((np.ones(len(cell)), (cell, cluster)), shape=shape)


def _positive(values: _Counts) -> _Counts:
    return np.where(values > 0, values, np.nan)

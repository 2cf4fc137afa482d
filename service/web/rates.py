"""Rates and quantiles from cumulative counters: pure arithmetic over what workers say once a second."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

MINUTE_MS: Final = 60_000
_KEPT_MS: Final = 75_000


class Sample(NamedTuple):
    """One worker's cumulative counters at one moment of its own clock."""

    at_ms: int
    transactions: int
    counts: Mapping[str, int]
    """Name -> cumulative count since the start."""
    latency: tuple[int, ...]
    """Cumulative number of answers in each bucket of latency."""


class Increase(NamedTuple):
    """What was counted between two samples of one worker."""

    span_s: float
    transactions: int
    counts: Mapping[str, int]
    latency: tuple[int, ...]


class WorkerRates:
    """The last minute of one worker's counters.

    A process counts from zero at its start, so a start of less than a minute ago is itself a sample: what a new worker
    did before it was first seen is not lost. Differences are taken on the worker's clock, so a skewed clock does not bend them.
    """

    def __init__(self, started_ms: int, first: Sample) -> None:
        is_new = first.at_ms - MINUTE_MS <= started_ms < first.at_ms
        self._samples = deque([Sample(started_ms, 0, {}, ()), first] if is_new else [first])

    def add(self, sample: Sample) -> None:
        """Take the newest counters; a sample that is not newer than the last one is ignored."""
        if sample.at_ms <= self._samples[-1].at_ms:
            return
        self._samples.append(sample)
        while self._samples[1].at_ms <= sample.at_ms - _KEPT_MS:
            self._samples.popleft()

    def over(self, span_ms: int) -> Increase | None:
        """Return the increase over about the last `span_ms`; None while there is one sample only."""
        newest = self._samples[-1]
        since = next((s for s in reversed(self._samples) if s.at_ms <= newest.at_ms - span_ms), self._samples[0])
        if since is newest:
            return None
        counts = {name: n - since.counts.get(name, 0) for name, n in newest.counts.items()}
        latency = tuple(np.subtract(newest.latency, since.latency).tolist()) if since.latency else newest.latency
        return Increase((newest.at_ms - since.at_ms) / 1000, newest.transactions - since.transactions, counts, latency)


def per_minute(increases: Iterable[Increase]) -> dict[str, float]:
    """Return name -> events per minute, of all workers together."""
    total: dict[str, float] = {}
    for increase in increases:
        for name, n in increase.counts.items():
            total[name] = total.get(name, 0.0) + n * 60 / increase.span_s
    return {name: round(rate, 2) for name, rate in total.items() if rate > 0}


def quantiles(edges: Sequence[float], counts: Sequence[int], shares: Sequence[float]) -> list[float | None]:
    """Return quantiles of a histogram, linear within a bucket; None for all if it is empty.

    Args:
        edges: Upper edges of the buckets, ascending; the first one begins at 0.
        counts: One more than edges: the last bucket is open, and answers its lower edge.
        shares: Which quantiles, in (0, 1).

    >>> quantiles([1.0, 2.0], [0, 10, 0], [0.5, 0.99])
    [1.5, 1.99]
    """
    found = np.asarray(counts, np.float64)[: len(edges) + 1]
    total = float(found.sum())
    if total <= 0:
        return [None] * len(shares)
    cumulative = np.cumsum(found)
    bounds = [0.0, *edges, edges[-1]]
    answers: list[float | None] = []
    for share in shares:
        place = int(np.searchsorted(cumulative, share * total, side="left"))
        below = float(cumulative[place - 1]) if place else 0.0
        within = (share * total - below) / float(found[place])
        answers.append(round(bounds[place] + within * (bounds[place + 1] - bounds[place]), 6))
    return answers

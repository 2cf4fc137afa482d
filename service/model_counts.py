"""What a worker counts of each model that answers, and what of it the fleet has not been told yet."""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Final

import numpy as np

from monitoring.counters import Counters
from monitoring.packed import Counts, pack
from monitoring.profile import Profile
from service.redis_fleet import FleetStorage
from stream.scored import Scored

#: Counters packed in one turn of the event loop: transactions wait no longer than a millisecond for it.
_PACKED_AT_ONCE: Final = 10
#: Rows that are worth counting: small chunks wait for each other, at most until they are told.
_COUNTED_AT_ONCE: Final = 256
#: Minutes to be forgotten that are remembered through an outage; beyond it Redis forgets them by itself.
_MOST_GONE: Final = 10_000


class ModelCounts:
    """The counters of one model in one process.

    Args:
        worker: Under which they are told; nobody else may use it for this model.
        model: `name@version`.
        profile: Of this model.
    """

    def __init__(self, worker: str, model: str, profile: Profile) -> None:
        self._worker = worker
        self._model = model
        self._counters = Counters(profile, model)
        self._waiting: list[Scored] = []
        """Not counted yet."""
        self._n_waiting = 0
        self._minutes: dict[int, bytes] = {}
        """Not told yet."""
        self._hours: dict[int, bytes] = {}
        self._unpacked: deque[tuple[dict[int, bytes], int, Counts]] = deque()
        self._gone_minutes: deque[int] = deque(maxlen=_MOST_GONE)
        self._gone_hours: deque[int] = deque(maxlen=_MOST_GONE)

    def count(self, scored: Scored) -> None:
        """Count the answers of a chunk, small ones together with the next: a few rows take as long as many."""
        self._waiting.append(scored)
        self._n_waiting += len(scored.outcomes)
        if self._n_waiting >= _COUNTED_AT_ONCE:
            self.count_waiting()

    def count_waiting(self) -> None:
        """Count what waits for more."""
        waiting, self._waiting, self._n_waiting = self._waiting, [], 0
        if len(waiting) == 1:
            vectors, probabilities, time_ms, outcomes = waiting[0][:4]
            self._counters.count(vectors, probabilities, time_ms, outcomes)
        elif waiting:
            vectors, probabilities, time_ms = (np.concatenate(column) for column in zip(*(each[:3] for each in waiting), strict=True))
            self._counters.count(vectors, probabilities, time_ms, [outcome for each in waiting for outcome in each.outcomes])

    @property
    def n_uncounted(self) -> int:
        """Return the number of answers of hours that were closed already, of those counted so far; callable from any thread."""
        return self._counters.n_uncounted

    async def tell(self, storage: FleetStorage, at_ms: int) -> None:
        """Tell everything that changed.

        Raises:
            Unavailable: Redis does not answer; tell again, nothing is lost.
        """
        await self._take()
        gone_minutes, gone_hours = list(self._gone_minutes), list(self._gone_hours)
        if self._minutes or gone_minutes:
            await storage.put_minutes(self._worker, self._model, self._minutes, now_ms=at_ms, gone=gone_minutes)
            self._minutes.clear()
            self._gone_minutes.clear()
        if self._hours or gone_hours:
            await storage.put_hours(self._worker, self._model, self._hours, now_ms=at_ms, gone=gone_hours)
            self._hours.clear()
            self._gone_hours.clear()

    async def _take(self) -> None:
        self.count_waiting()
        changes = self._counters.take()
        for gone, waiting, place in (
            (changes.gone_minutes, self._minutes, self._gone_minutes), (changes.gone_hours, self._hours, self._gone_hours),
        ):  # fmt: skip
            place.extend(gone)
            for span in gone:
                waiting.pop(span, None)
        self._unpacked += _each(self._hours, changes.hours) + _each(self._minutes, changes.minutes)
        while self._unpacked:  # what is left when this is cancelled is packed by the last beat
            if len(self._unpacked) % _PACKED_AT_ONCE == 0:
                await asyncio.sleep(0)
            waiting, span, counts = self._unpacked.popleft()
            waiting[span] = pack(counts)


def _each(waiting: dict[int, bytes], counts: Mapping[int, Counts]) -> list[tuple[dict[int, bytes], int, Counts]]:
    return [(waiting, span, each) for span, each in counts.items()]

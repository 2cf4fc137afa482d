"""What a worker counts and says, told to the fleet once a second."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, NamedTuple
from uuid import uuid4

import structlog

from domain.decision import Tier
from domain.errors import Unavailable
from models.scorer import Scorer
from monitoring.counters import Counters
from monitoring.fleet import WorkerState
from monitoring.metrics import Metrics, count_of
from monitoring.packed import Counts, pack
from service.redis_fleet import FleetStorage
from service.times import now_ms
from stream.scored import Scored

_EVERY_S: Final = 1.0
#: Counters packed in one turn of the event loop: transactions wait no longer than a millisecond for it.
_PACKED_AT_ONCE: Final = 10
#: Minutes to be forgotten that are remembered through an outage; beyond it Redis forgets them by itself.
_MOST_GONE: Final = 10_000

log = structlog.get_logger("weir.heartbeat")


class Surroundings(NamedTuple):
    """What a worker knows of itself beside its counters."""

    partitions: list[int]
    """Of transactions, assigned now."""
    lag: int
    """Transactions that wait in them."""
    is_outage: bool
    """Whether answers are given without Redis."""
    problem: str
    """In one sentence; empty: none."""
    address: str
    """`http://host:port` of `/metrics`."""


class Heartbeat:
    """Counts first answers and tells the fleet about them. Belongs to one event loop.

    Guarantee: what was counted reaches Redis within about a second, or when Redis is back; contents are cumulative and
    belong to this process alone, so telling them again changes nothing. What a killed process had not told yet, at most
    its last second, is lost.

    Attributes:
        worker: Id of this process.
    """

    def __init__(self, storage: FleetStorage, scorer: Scorer, metrics: Metrics, look: Callable[[], Surroundings]) -> None:
        """Prepare.

        Args:
            storage: Of the fleet.
            scorer: What answers.
            metrics: Of this worker: labels, dead letters, flags and latencies are read from them.
            look: Looks at the surroundings.
        """
        self.worker = uuid4().hex[:8]
        self._storage = storage
        self._scorer = scorer
        self._metrics = metrics
        self._look = look
        self._counters = Counters(scorer.profile, f"{scorer.name}@{scorer.version}")
        self._started_ms = now_ms()
        self._event_ms = 0
        self._decisions: Counter[str] = Counter()
        self._minutes: dict[int, bytes] = {}
        """Not told yet."""
        self._hours: dict[int, bytes] = {}
        self._unpacked: deque[tuple[dict[int, bytes], int, Counts]] = deque()
        self._gone_minutes: deque[int] = deque(maxlen=_MOST_GONE)
        self._gone_hours: deque[int] = deque(maxlen=_MOST_GONE)

    def count(self, scored: Scored) -> None:
        """Count first answers; degraded ones only as decisions: their features are not what they seem."""
        tier = scored.tier
        self._decisions.update({f"{outcome}:{tier}": n for outcome, n in Counter(scored.outcomes).items()})
        self._event_ms = max(self._event_ms, int(scored.time_ms.max()))
        if tier is not Tier.DEGRADED:
            self._counters.count(scored.vectors, scored.probabilities, scored.time_ms, scored.outcomes)

    async def run(self) -> None:
        """Tell the fleet every second until cancelled; Redis being away only delays it."""
        is_known = False
        while True:
            began_s = time.monotonic()
            try:
                await self.beat()
                is_known = False
            except Unavailable as error:
                if not is_known:
                    log.warning("unavailable", what="the fleet's counters", reason=str(error))
                is_known = True
            await asyncio.sleep(max(0.0, began_s + _EVERY_S - time.monotonic()))

    async def beat(self) -> None:
        """Tell the fleet everything that changed.

        Raises:
            Unavailable: Redis does not answer; the next beat tells it.
        """
        await self._take()
        model, at_ms = self._counters.model, now_ms()
        gone_minutes, gone_hours = list(self._gone_minutes), list(self._gone_hours)
        if self._minutes or gone_minutes:
            await self._storage.put_minutes(self.worker, model, self._minutes, now_ms=at_ms, gone=gone_minutes)
            self._minutes.clear()
            self._gone_minutes.clear()
        if self._hours or gone_hours:
            await self._storage.put_hours(self.worker, model, self._hours, now_ms=at_ms, gone=gone_hours)
            self._hours.clear()
            self._gone_hours.clear()
        await self._storage.put_state(self._state(at_ms))

    async def close(self) -> None:
        """Tell the last of it, and that this worker is gone; if Redis does not answer, it is known as gone in a minute."""
        try:
            await self.beat()
            await self._storage.remove_state(self.worker)
        except Unavailable as error:
            log.warning("unavailable", what="the fleet's counters", reason=str(error))

    async def _take(self) -> None:
        changes = self._counters.take()
        for gone, waiting, place in (
            (changes.gone_minutes, self._minutes, self._gone_minutes), (changes.gone_hours, self._hours, self._gone_hours),
        ):  # fmt: skip
            place.extend(gone)
            for span in gone:
                waiting.pop(span, None)
        self._unpacked += [(self._hours, hour, counts) for hour, counts in changes.hours.items()]
        self._unpacked += [(self._minutes, minute, counts) for minute, counts in changes.minutes.items()]
        while self._unpacked:  # what is left when this is cancelled is packed by the last beat
            if len(self._unpacked) % _PACKED_AT_ONCE == 0:
                await asyncio.sleep(0)
            waiting, span, counts = self._unpacked.popleft()
            waiting[span] = pack(counts)

    def _state(self, at_ms: int) -> WorkerState:
        scorer, metrics, around = self._scorer, self._metrics, self._look()
        return WorkerState(
            worker=self.worker, at_ms=at_ms, started_ms=self._started_ms, model=self._counters.model, spec=scorer.spec,
            policy=scorer.policy_version, partitions=around.partitions, lag=around.lag, event_ms=self._event_ms,
            transactions=self._decisions.total(), labels=count_of(metrics.labels), decisions=self._decisions,
            flags={flag.value: n for flag, counter in metrics.flags.items() if (n := count_of(counter))},
            dead_letters=sum(map(count_of, metrics.dead_letters.values())), latency_edges_s=metrics.latency.edges,
            latency_counts=metrics.latency.counts(), redis="outage" if around.is_outage else "ok", problem=around.problem,
            metrics=around.address,
        )  # fmt: skip

"""What a worker counts and says, told to the fleet once a second."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple
from uuid import uuid4

import structlog

from domain.decision import Tier
from domain.errors import Unavailable
from monitoring.fleet import VariantCount, WorkerState
from monitoring.metrics import Metrics, count_of
from service.model_counts import ModelCounts
from service.redis_fleet import FleetStorage
from service.times import now_ms
from stream.lineup import Lineup, Scorer, model_of
from stream.scored import Scored

_EVERY_S: Final = 1.0
#: Models whose counters are kept; a rollback goes on counting where it was.
_MOST_MODELS: Final = 4

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

    def __init__(self, storage: FleetStorage, lineup: Lineup, metrics: Metrics, look: Callable[[], Surroundings]) -> None:
        """Prepare.

        Args:
            storage: Of the fleet.
            lineup: Who answers at first.
            metrics: Of this worker: labels, dead letters, flags and latencies are read from them.
            look: Looks at the surroundings.
        """
        self.worker = uuid4().hex[:8]
        self._storage = storage
        self._counts: OrderedDict[str, ModelCounts] = OrderedDict()
        """`name@version` -> its counters; the ones that answer last are at the end."""
        self._left: list[ModelCounts] = []
        """Their last is still to be told."""
        self._forgotten: set[str] = set()
        self._n_uncounted = 0
        """Of the forgotten."""
        self._variants: Counter[tuple[str, str, str]] = Counter()
        """(variant, model, what) -> rows."""
        self._lineup = lineup
        self._metrics = metrics
        self._look = look
        self._started_ms = now_ms()
        self._event_ms = 0
        self._decisions: Counter[str] = Counter()
        self.adopt(lineup)

    def adopt(self, lineup: Lineup) -> None:
        """Make ready to count what a lineup answers; call it before that does. May be called from a thread: it takes milliseconds."""
        for scorer in (lineup.champion, lineup.challenger):
            if scorer is not None:
                self._begin(model_of(scorer), scorer)
        while len(self._counts) > _MOST_MODELS:
            model, counts = self._counts.popitem(last=False)
            self._forgotten.add(model)
            self._left.append(counts)
        self._lineup = lineup

    def _begin(self, model: str, scorer: Scorer) -> None:
        if model not in self._counts:
            # What was told under the worker's name must not be told anew from nothing.
            worker = uuid4().hex[:8] if model in self._forgotten else self.worker
            self._counts[model] = ModelCounts(worker, model, scorer.profile)
        self._counts.move_to_end(model)

    def count(self, scored: Scored) -> None:
        """Count first answers; degraded ones only as decisions: their features are not what they seem."""
        tier, outcomes, (variant, model) = scored.tier, Counter(scored.outcomes), (scored.variant, scored.model)
        self._decisions.update({f"{outcome}:{tier}": n for outcome, n in outcomes.items()})
        n = len(scored.outcomes)
        self._count_variant(variant, model, n, n - outcomes["approve"], 0 if tier is Tier.FULL else n)
        if scored.shadow is not None:
            self._count_variant("shadow", scored.shadow.model, scored.shadow.n, scored.shadow.n_alerts, 0)
        self._event_ms = max(self._event_ms, int(scored.time_ms.max()))
        counts = self._counts.get(model)
        if tier is not Tier.DEGRADED and counts is not None:
            counts.count(scored)

    def _count_variant(self, variant: str, model: str, n: int, n_alerts: int, n_not_full: int) -> None:
        counted, metrics = self._variants, self._metrics
        counted[variant, model, "n"] += n
        counted[variant, model, "n_alerts"] += n_alerts
        counted[variant, model, "n_not_full"] += n_not_full
        metrics.variant_answers[variant].inc(n)
        metrics.variant_alerts[variant].inc(n_alerts)

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
        at_ms, event_ms = now_ms(), self._event_ms  # as of now: the counters told below hold everything up to it
        all_counts = [*self._counts.values(), *self._left]
        for counts in all_counts:
            counts.count_waiting()
        self._metrics.set_uncounted(self._n_uncounted + sum(counts.n_uncounted for counts in all_counts))
        for counts in list(self._counts.values()):
            await counts.tell(self._storage, at_ms)
        while self._left:
            await self._left[0].tell(self._storage, at_ms)
            self._n_uncounted += self._left.pop(0).n_uncounted
        await self._storage.put_state(self._state(at_ms, event_ms))

    async def close(self) -> None:
        """Tell the last of it, and that this worker is gone; if Redis does not answer, it is known as gone in a minute."""
        try:
            await self.beat()
            await self._storage.remove_state(self.worker)
        except Unavailable as error:
            log.warning("unavailable", what="the fleet's counters", reason=str(error))

    def _state(self, at_ms: int, event_ms: int) -> WorkerState:
        (scorer, challenger, *_), metrics, around = self._lineup, self._metrics, self._look()
        return WorkerState(
            worker=self.worker, at_ms=at_ms, started_ms=self._started_ms, model=model_of(scorer), spec=scorer.spec,
            policy=scorer.policy_version, partitions=around.partitions, lag=around.lag, event_ms=event_ms,
            transactions=self._decisions.total(), labels=count_of(metrics.labels), decisions=self._decisions,
            flags={flag.value: n for flag, counter in metrics.flags.items() if (n := count_of(counter))},
            dead_letters=sum(map(count_of, metrics.dead_letters.values())), latency_edges_s=metrics.latency.edges,
            latency_counts=metrics.latency.counts(), redis="outage" if around.is_outage else "ok", problem=around.problem,
            metrics=around.address, challenger="" if challenger is None else model_of(challenger),
            variants=tuple(
                VariantCount(variant, model, *(self._variants[variant, model, what] for what in ("n", "n_alerts", "n_not_full")))
                for variant, model, what in self._variants if what == "n"
            ),
        )  # fmt: skip

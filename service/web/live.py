"""The first view: how the stream runs this second, the last ten minutes, and the last alerts."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from monitoring.fleet import WorkerState
from service.web.alerts import LastAlerts
from service.web.answers import Notice
from service.web.fleet import Fleet
from service.web.live_answers import Decisions, Latency, LatencyPoint, LiveAnswer, LiveEvent, RatePoint, Worker
from service.web.rates import MINUTE_MS, per_minute, quantiles
from service.web.states import sorted_notices, worst

HISTORY_S: Final = 600
_RATE_MS: Final = 5_000
_LATENCY_MS: Final = 10_000
_LAG_S: Final = 30.0
#: What an authorisation usually has for its score.
P99_LIMIT_MS: Final = 100.0
#: A lag that the fleet works off within _LAG_S at its present rate is normal; so is a small one.
_SMALL_LAG: Final = 5_000


class Live:
    """The state of the stream; `hear` once a second, then `event`."""

    def __init__(self, alerts: LastAlerts) -> None:
        self._fleet = Fleet()
        self._alerts = alerts
        self._rates: deque[RatePoint] = deque(maxlen=HISTORY_S)
        self._latencies: deque[LatencyPoint] = deque(maxlen=HISTORY_S)
        self._trouble: dict[str, Notice] = {}
        self._event: LiveEvent | None = None
        self.champion: str | None = None

    @property
    def fleet(self) -> Fleet:
        """The workers."""
        return self._fleet

    def trouble(self, source: str, notice: Notice | None) -> None:
        """Say what keeps the dashboard itself from seeing (`redis`, `kafka`), or what is news for a while; None: nothing any more."""
        if notice is None:
            self._trouble.pop(source, None)
        else:
            self._trouble[source] = notice

    def hear(self, states: Iterable[WorkerState], now_ms: int) -> None:
        """Take what the workers say now."""
        self._fleet.hear(states, now_ms)

    def tick(self, now_ms: int) -> LiveEvent:
        """Return the state of now, and add it to the histories: call it once a second."""
        event = self._event = self._now(now_ms)
        self._rates.append(RatePoint(now_ms, event.rate_per_s))
        self._latencies.append(LatencyPoint(now_ms, event.latency_ms.p50, event.latency_ms.p99))
        return event

    def event(self, now_ms: int) -> LiveEvent:
        """Return the state of the last tick."""
        return self._event or self._now(now_ms)

    def answer(self, now_ms: int) -> LiveAnswer:
        """Return the state of now with histories and alerts."""
        event = self.event(now_ms)
        return LiveAnswer(
            **msgspec.structs.asdict(event), rate_history=list(self._rates), latency_history=list(self._latencies),
            alerts=self._alerts.newest_first(),
        )  # fmt: skip

    def _now(self, now_ms: int) -> LiveEvent:
        workers, speaking = self._fleet.workers(now_ms, self.champion), self._fleet.speaking(now_ms)
        rates = [i.transactions / i.span_s for i in self._fleet.increases(_RATE_MS, now_ms)]
        counts = per_minute(self._fleet.increases(MINUTE_MS, now_ms))
        edges, buckets = self._fleet.latency(_LATENCY_MS, now_ms)
        p50, p99 = quantiles(edges, buckets, (0.5, 0.99)) if edges else (None, None)
        rate = round(sum(rates), 2) if rates else None
        lag = sum(state.lag for state in speaking) if speaking else None
        notices = sorted_notices(
            [*self._trouble.values(), *_worker_notices(workers), *_lag_notices(lag, rate), *_slow_notices(self._p99_of_minute(now_ms))]
        )
        state = worst(notices, otherwise="well" if speaking else "empty")
        return LiveEvent(
            at_ms=now_ms, state=state, sentence=_sentence(workers, rate, p99), notices=notices, rate_per_s=rate,
            latency_ms=Latency(p50=_ms(p50), p99=_ms(p99), p99_limit=P99_LIMIT_MS), decisions=_decisions(counts),
            tiers=_by_tier(counts), flags={n.removeprefix("flag:"): v for n, v in counts.items() if n.startswith("flag:")},
            labels_per_min=counts.get("labels", 0.0), dead_letters_per_min=counts.get("dead_letters", 0.0), lag=lag,
            event_ms=max((s.event_ms for s in speaking if s.event_ms), default=None), workers=workers,
        )  # fmt: skip

    def _p99_of_minute(self, now_ms: int) -> float | None:
        edges, buckets = self._fleet.latency(MINUTE_MS, now_ms)
        return quantiles(edges, buckets, (0.99,))[0] if edges else None


def _slow_notices(p99_s: float | None) -> list[Notice]:
    if p99_s is None or p99_s * 1000 <= P99_LIMIT_MS:
        return []
    text = f"1 % of the answers of the last minute took {p99_s * 1000:,.0f} ms or longer; an authorisation has about {P99_LIMIT_MS:.0f} ms."
    return [Notice(state="attention", text=text, href="#/live")]


def _decisions(counts: dict[str, float]) -> Decisions:
    found = {"approve": 0.0, "review": 0.0, "decline": 0.0}
    for name, rate in counts.items():
        kind, _, rest = name.partition(":")
        outcome = rest.partition(":")[0]
        if kind == "decision" and outcome in found:
            found[outcome] += rate
    return Decisions(**{name: round(rate, 2) for name, rate in found.items()})


def _by_tier(counts: dict[str, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, rate in counts.items():
        if name.startswith("decision:"):
            tier = name.rpartition(":")[2]
            found[tier] = round(found.get(tier, 0.0) + rate, 2)
    return found


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)


def _worker_notices(workers: Sequence[Worker]) -> list[Notice]:
    if not workers:
        return [Notice(state="empty", text="No worker scores: start one with `weir worker`, or see everything run with `weir demo`.")]
    return [Notice(state=w.state, text=f"Worker {w.worker}: {w.sentence}", href="#/live") for w in workers if w.state != "well"]


def _lag_notices(lag: int | None, rate: float | None) -> list[Notice]:
    if lag is None or lag <= max(_SMALL_LAG, _LAG_S * (rate or 0.0)):
        return []
    wait = f", {lag / rate:.0f} s of work at the present rate" if rate else ""
    return [Notice(state="attention", text=f"{lag:,} transactions wait{wait}: start another worker, up to one for each partition.")]


def _sentence(workers: Sequence[Worker], rate: float | None, p99: float | None) -> str:
    if not workers:
        return "No worker scores now."
    n_working = sum(worker.state != "alarm" for worker in workers)
    if n_working < len(workers):
        who = f"{n_working} of {len(workers)} workers score"
    else:
        who = "1 worker scores" if n_working == 1 else f"{n_working} workers score"
    what = f" {rate:,.0f} transactions a second" if rate is not None and rate >= 1 else " fewer than one transaction a second"
    how = f", 99 % of them answered within {p99 * 1000:,.0f} ms" if p99 is not None else ""
    return f"{who}{what}{how}."

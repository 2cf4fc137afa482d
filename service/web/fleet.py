"""The workers as seen from here: which are alive, which fell silent, whose clock is off, and what each does a second."""

from collections.abc import Iterable, Sequence
from typing import Final

from monitoring.fleet import WorkerState
from service.web.answers import State
from service.web.live_answers import Worker
from service.web.rates import Increase, Sample, WorkerRates

SILENT_MS: Final = 10_000
"""A worker that said nothing for this long is silent."""
GONE_MS: Final = 60_000
"""And for this long: gone."""
SKEW_MS: Final = 5_000
"""A clock that is off by more than this is worth a sentence."""
_RATE_MS: Final = 5_000


class Seen:
    """One worker, and when it was last heard."""

    def __init__(self, state: WorkerState, now_ms: int) -> None:
        self.state = state
        self.seen_ms = now_ms
        self.rates = WorkerRates(state.started_ms, _sample(state))
        self.skew_ms = self._skew_ms(now_ms)

    def hear(self, state: WorkerState, now_ms: int) -> None:
        """Take what it says now; the same words again are silence."""
        if state.at_ms == self.state.at_ms:
            return
        self.state, self.seen_ms = state, now_ms
        self.skew_ms = self._skew_ms(now_ms)
        self.rates.add(_sample(state))

    def _skew_ms(self, now_ms: int) -> int:
        return self.state.at_ms - now_ms

    def answer(self, now_ms: int, champion: str | None) -> Worker:
        """Return how it is."""
        state, sentence = self._judge(now_ms, champion)
        found, increase = self.state, self.rates.over(_RATE_MS)
        is_silent = now_ms - self.seen_ms >= SILENT_MS
        return Worker(
            worker=found.worker, state=state, sentence=sentence, model=found.model, policy=found.policy, partitions=found.partitions,
            rate_per_s=None if is_silent or increase is None else round(increase.transactions / increase.span_s, 2),
            lag=found.lag, started_ms=found.started_ms, last_seen_ms=self.seen_ms, event_ms=found.event_ms or None,
            redis=found.redis, problem=found.problem, metrics=found.metrics,
        )  # fmt: skip

    def _judge(self, now_ms: int, champion: str | None) -> tuple[State, str]:
        found, silent_ms = self.state, now_ms - self.seen_ms
        if silent_ms >= SILENT_MS:
            return (
                "alarm",
                f"Silent for {silent_ms // 1000} s: it ended or hangs; its log says why, and starting it again takes up its work.",
            )
        if found.problem:
            return "alarm", f"Its watchdog says: {found.problem}."
        if found.redis == "outage":
            return "attention", "Redis does not answer it: it scores without history, and makes that good when Redis is back."
        if abs(self.skew_ms) > SKEW_MS:
            side = "ahead of" if self.skew_ms > 0 else "behind"
            return (
                "attention",
                f"Its clock is {abs(self.skew_ms) / 1000:.0f} s {side} this machine's: set both by NTP, or latencies mislead.",
            )
        if not found.partitions:
            return "attention", "It has no partition: there are more workers than partitions, or it is just joining."
        if champion is not None and found.model != champion:
            return "attention", f"It serves {found.model}, the champion is {champion}: restart it to take the champion."
        return "well", ""


class Fleet:
    """Every worker heard within the last minute."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}

    def hear(self, states: Iterable[WorkerState], now_ms: int) -> None:
        """Take what the workers say now. One that is no longer there, or silent for a minute, is gone."""
        heard = {state.worker: state for state in states}
        for name, state in heard.items():
            if name in self._seen:
                self._seen[name].hear(state, now_ms)
            elif now_ms - state.at_ms < GONE_MS:
                self._seen[name] = Seen(state, now_ms)
        self._seen = {n: seen for n, seen in self._seen.items() if n in heard and now_ms - seen.seen_ms < GONE_MS}

    def workers(self, now_ms: int, champion: str | None) -> list[Worker]:
        """Return every worker, by the partitions it has."""
        found = [seen.answer(now_ms, champion) for seen in self._seen.values()]
        return sorted(found, key=lambda worker: (sorted(worker.partitions) or [1 << 30], worker.worker))

    def speaking(self, now_ms: int) -> list[WorkerState]:
        """Return the newest words of each worker that is not silent."""
        return [seen.state for seen in self._speaking(now_ms)]

    def increases(self, span_ms: int, now_ms: int) -> list[Increase]:
        """Return what each worker that is not silent counted over about the last `span_ms`."""
        found = (seen.rates.over(span_ms) for seen in self._speaking(now_ms))
        return [increase for increase in found if increase is not None]

    def latency(self, span_ms: int, now_ms: int) -> tuple[Sequence[float], list[int]]:
        """Return bucket edges in s and the number of answers in each over about the last `span_ms`, all workers together.

        Workers of another release may have other buckets; those of the most workers count.
        """
        parts: dict[tuple[float, ...], list[tuple[int, ...]]] = {}
        for seen in self._speaking(now_ms):
            if (increase := seen.rates.over(span_ms)) is not None:
                parts.setdefault(tuple(seen.state.latency_edges_s), []).append(increase.latency)
        if not parts:
            return (), []
        edges, counts = max(parts.items(), key=lambda item: len(item[1]))
        return edges, [sum(column) for column in zip(*counts, strict=True)]

    def _speaking(self, now_ms: int) -> list[Seen]:
        return [seen for seen in self._seen.values() if now_ms - seen.seen_ms < SILENT_MS]


def _sample(state: WorkerState) -> Sample:
    counts = {
        **{f"decision:{name}": n for name, n in state.decisions.items()},
        **{f"flag:{name}": n for name, n in state.flags.items()},
        "labels": state.labels,
        "dead_letters": state.dead_letters,
    }
    return Sample(state.at_ms, state.transactions, counts, tuple(state.latency_counts))

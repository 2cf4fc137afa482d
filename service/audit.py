"""Match answers against what was sent: nothing missing, nothing answered differently, how good, how fast."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from domain.decision import Alert, Score
from stream.records import Record


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to; the keys are part of the contract of `weir demo --summary`."""

    produced: int
    scored: int
    """Distinct transactions answered."""
    dead_lettered: int
    missing: int
    """Records without any answer; 0 unless something is broken."""
    repeated: int
    """Answers given again (after a restart); not counted in `scored`."""
    changed: int
    """Repeated answers that were not the same, those flagged replay_approx left out; 0 unless something is broken."""
    alerts: int
    frauds: int
    """Frauds among the scored transactions, by the simulator's truth."""
    precision: float | None
    """Share of frauds among the alerts; None without alerts."""
    recall: float | None
    """Share of alerts among the frauds; None without frauds."""
    latency_ms: dict[str, float | None]
    """p50 and p99 from the append of a transaction to the append of its answer."""
    seconds_to_first_alert: float | None
    drift_alarms: int | None = None
    """Incidents of the drift engine; None: the dashboard did not run."""


class Topics(NamedTuple):
    """Full names of the topics that an audit reads."""

    transactions: str
    scores: str
    alerts: str
    dead: str


class Audit:
    """Takes the records of the four topics in any order and sums up."""

    def __init__(self, topics: Topics, frauds: Collection[str]) -> None:
        """Prepare.

        Args:
            topics: Full names.
            frauds: Ids of the transactions that are frauds.
        """
        self._topics = topics
        self._frauds = frauds
        self._appended_ms: dict[tuple[int, int], int] = {}
        self._answers: dict[str, Score] = {}
        self._waiting: list[tuple[tuple[int, int], int]] = []
        self._latencies_ms: list[int] = []
        self._dead: set[tuple[bytes, bytes]] = set()
        self._alerted: set[str] = set()
        self.repeated = 0
        self.changed = 0
        self.decisions: Counter[str] = Counter()

    @property
    def scored(self) -> int:
        """Distinct transactions answered so far."""
        return len(self._answers)

    @property
    def dead_lettered(self) -> int:
        """Distinct records in the dead-letter topic so far."""
        return len(self._dead)

    @property
    def alerts(self) -> int:
        """Distinct transactions alerted so far."""
        return len(self._alerted)

    def take(self, records: Sequence[Record]) -> list[Alert]:
        """Count records of one topic; return the alerts among them that are new."""
        topic = records[0].topic
        if topic == self._topics.transactions:
            self._appended_ms.update({(r.partition, r.offset): r.timestamp for r in records})
        elif topic == self._topics.scores:
            for record in records:
                self._take_score(record)
        elif topic == self._topics.dead:
            for record in records:
                headers = dict(record.headers)
                self._dead.add((headers["partition"], headers["offset"]))
        elif topic == self._topics.alerts:
            return self._take_alerts(records)
        return []

    def latency_ms(self) -> dict[str, float | None]:
        """Return p50 and p99 so far."""
        self._settle()
        if not self._latencies_ms:
            return {"p50": None, "p99": None}
        p50, p99 = np.percentile(self._latencies_ms, [50, 99]).tolist()
        return {"p50": round(p50, 1), "p99": round(p99, 1)}

    def summary(self, *, produced: int, seconds_to_first_alert: float | None, drift_alarms: int | None = None) -> Summary:
        """Return what it all came to."""
        frauds = sum(name in self._frauds for name in self._answers)
        caught = sum(name in self._frauds for name in self._alerted)
        return Summary(
            produced=produced,
            scored=self.scored,
            dead_lettered=self.dead_lettered,
            missing=produced - self.scored - self.dead_lettered,
            repeated=self.repeated,
            changed=self.changed,
            alerts=self.alerts,
            frauds=frauds,
            precision=round(caught / self.alerts, 4) if self.alerts else None,
            recall=round(caught / frauds, 4) if frauds else None,
            latency_ms=self.latency_ms(),
            seconds_to_first_alert=None if seconds_to_first_alert is None else round(seconds_to_first_alert, 1),
            drift_alarms=drift_alarms,
        )

    def _take_score(self, record: Record) -> None:
        score = msgspec.json.decode(record.value or b"", type=Score)
        first = self._answers.setdefault(score.transaction_id, score)
        if first is not score:
            self.repeated += 1
            self.changed += not is_same_answer(first, score)
            return
        self.decisions[score.decision] += 1
        self._waiting.append((score.source, record.timestamp))

    def _take_alerts(self, records: Sequence[Record]) -> list[Alert]:
        new = []
        for record in records:
            alert = msgspec.json.decode(record.value or b"", type=Alert)
            if alert.transaction_id not in self._alerted:
                self._alerted.add(alert.transaction_id)
                new.append(alert)
        return new

    def _settle(self) -> None:
        """Turn answers whose transaction was seen too into latencies."""
        still = []
        for source, answered_ms in self._waiting:
            appended_ms = self._appended_ms.pop(source, None)
            if appended_ms is None:
                still.append((source, answered_ms))
            else:
                self._latencies_ms.append(answered_ms - appended_ms)
        self._waiting = still


def is_same_answer(one: Score, other: Score) -> bool:
    """Tell whether two answers to one transaction are the same: all fields but `scored_at_ms`.

    An answer flagged `replay_approx` had to be computed again and may differ.
    """
    if "replay_approx" in one.flags or "replay_approx" in other.flags:
        return True
    return one == msgspec.structs.replace(other, scored_at_ms=one.scored_at_ms)

"""A bank on trial, for tests: a registry with a champion and a challenger, an archive of both models' scores, a steward."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from features.archive_files import is_archive
from models.registry import Registry
from monitoring.fleet import WorkerState
from service.rollout_record import TrialRecord, read_trials
from service.rollout_steward import RolloutSteward, Sources
from stream.connection import KafkaConnection
from tests.unit.archive_sample import HOUR_MS, START_MS, add_file, make_archive, record
from tests.unit.registry_samples import Installation

DAY_MS = 24 * HOUR_MS
THRESHOLD = 0.5
MATURITY_DAYS = 7
_UUIDS = {"scores.v1": "5c0e5000-0000-4000-8000-000000000000", "labels.v1": "1abe1000-0000-4000-8000-000000000000"}
#: Of a day: the champion alone catches two, the challenger alone eight, both catch three.
GOOD_DAY = (2, 8, 3)
BAD_DAY = (8, 2, 3)
EVEN_DAY = (1, 1, 3)


class TrialBank:
    """Days are added with `play`; wall clock and event time are the same. Without an archive they are only kept in `played`."""

    def __init__(self, folder: Path, *, has_archive: bool = True) -> None:
        folder.mkdir(exist_ok=True)
        self.installation = Installation(folder)
        self.champion = self.installation.add("weir")
        self.challenger = self.installation.add("challenger")
        self.registry = Registry(self.installation.root, clock_ms=lambda: START_MS - HOUR_MS)  # trials begin before the first day
        self.archive = make_archive(folder / "archive") if has_archive else folder / "archive"
        self._next: dict[str, int] = {}
        self._n = 0
        self.objection = ""
        self.played: dict[str, list[dict[str, object]]] = {}
        self.day = 0

    def steward(self, connection: KafkaConnection | None = None) -> RolloutSteward:
        """Another steward of this bank."""
        sources = Sources(
            self.registry, lambda _: THRESHOLD, self.archive, connection, MATURITY_DAYS, 0.0, lambda _state, _model: self.objection
        )
        return RolloutSteward(sources, read_every_ms=0)

    def play(self, caught: tuple[int, int, int], *, variant: str = "champion", n_days: int = 1, fraud_delay_days: float = 2.0) -> None:
        """Archive days of scores by both models: frauds caught by the champion alone, the challenger alone, both; and good rows."""
        for _ in range(n_days):
            begin_ms, scores, labels = START_MS + self.day * DAY_MS, [], []
            kinds = [(0.9, 0.1)] * caught[0] + [(0.1, 0.9)] * caught[1] + [(0.9, 0.9)] * caught[2] + [(0.2, 0.2)]
            kinds += [(0.8, 0.1)] * max(caught[1] - caught[0], 0) + [(0.1, 0.8)] * max(caught[0] - caught[1], 0) + [(0.01, 0.02)] * 40
            for i, both in enumerate(kinds):
                scores.append(self.score(both, begin_ms + i, variant))
                if i <= sum(caught):
                    time_ms = begin_ms + i + int(fraud_delay_days * DAY_MS)
                    labels.append({"transaction_id": f"t{self._n}", "is_fraud": True, "label_time_ms": time_ms, "source": "chargeback"})
                self._n += 1
            self._add("scores.v1", scores, begin_ms)
            self._add("labels.v1", labels, begin_ms + int(fraud_delay_days * DAY_MS))
            self.day += 1

    def score(self, both: tuple[float, float], time_ms: int, variant: str) -> dict[str, object]:
        """An answer of one model with the other's beside it."""
        is_challenger = variant == "challenger"
        models = (self.challenger, self.champion) if is_challenger else (self.champion, self.challenger)
        own, other = reversed(both) if is_challenger else both
        return {
            "transaction_id": f"t{self._n}", "card_id": f"c{self._n}", "event_time_ms": time_ms, "scored_at_ms": time_ms,
            "probability": own, "decision": "review" if own >= THRESHOLD else "approve", "tier": "full", "flags": [], "model": models[0],
            "variant": variant, "policy": "p", "spec": "s", "source": [0, self._n], "shadow": {"model": models[1], "probability": other},
        }  # fmt: skip

    def _add(self, topic: str, values: Sequence[dict[str, object]], append_ms: int) -> None:
        self.played.setdefault(topic, []).extend(values)
        if not is_archive(self.archive):
            return
        first = self._next.get(topic, 0)
        self._next[topic] = first + len(values)
        records = [record(first + i, append_ms + i, json.dumps(value).encode()) for i, value in enumerate(values)]
        add_file(self.archive, topic, records, hour_ms=append_ms // HOUR_MS * HOUR_MS, uuid=_UUIDS[topic])

    def look(self, steward: RolloutSteward, states: Sequence[WorkerState] = (), *, now_ms: int | None = None) -> None:
        """Let a steward look, a day after the last one played."""
        asyncio.run(steward.look(states, START_MS + (self.day + 1) * DAY_MS if now_ms is None else now_ms))

    def trial(self) -> TrialRecord:
        """What is known of the newest trial."""
        return read_trials(self.registry.beside(self.challenger))[0]

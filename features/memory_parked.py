"""Parked labels in this process's memory, beside a `MemoryLog`: the same laws as `RedisParked`."""

from collections.abc import Sequence

from features.index import is_applied
from features.keys import Keys
from features.memory import MemoryLog
from features.parked import APPLY, CARRY, ELSEWHERE, GIVEN_UP, SETTLED, UNKNOWN, WAIT, Numbered, ParkedLabel

_WAITS, _DEAD = -1, -2


class MemoryParked:
    """Labels, their fates and numbers in dictionaries."""

    def __init__(self, log: MemoryLog, keys: Keys) -> None:
        self._log = log
        self._keys = keys
        self.labels: dict[int, ParkedLabel] = {}
        """Source -> label kept."""
        self._numbers: dict[int, int] = {}
        self._last = 0
        self._fates: dict[int, int] = {}

    async def divert(self, transaction_ids: Sequence[str], sources: Sequence[int]) -> list[int]:
        """See `features.parked.Parked`."""
        found = []
        for transaction_id, source in zip(transaction_ids, sources, strict=True):
            if source not in self._fates and self._is_there(transaction_id):
                found.append(APPLY)
            else:
                found.append(WAIT if self._fates.setdefault(source, _WAITS) == _WAITS else SETTLED)
        return found

    async def put(self, labels: Sequence[ParkedLabel]) -> None:
        """See `features.parked.Parked`."""
        for label in labels:
            self.labels.setdefault(label.source, label)

    async def count(self, partition: int) -> int:
        """See `features.parked.Parked`."""
        return sum(label.partition == partition for label in self.labels.values())

    async def waiting(self, partition: int, *, before_ms: int | None, start: int, most: int) -> list[ParkedLabel]:
        """See `features.parked.Parked`."""
        found = [label for label in self.labels.values() if label.partition == partition and label.source not in self._numbers]
        if before_ms is not None:
            found = [label for label in found if label.timestamp < before_ms]
        return sorted(found, key=lambda label: (label.timestamp, label.source))[start : start + most]

    async def known(self, labels: Sequence[ParkedLabel]) -> list[bool]:
        """See `features.parked.Parked`."""
        return [self._is_there(label.transaction_id) for label in labels]

    async def number(self, partition: int, labels: Sequence[ParkedLabel], *, most: int) -> list[Numbered]:
        """See `features.parked.Parked`."""
        for label in labels:
            if label.source in self.labels and label.source not in self._numbers:
                self._last += 1
                self._numbers[label.source] = self._last
        mine = [Numbered(n, self.labels[source]) for source, n in self._numbers.items() if self.labels[source].partition == partition]
        return sorted(mine, key=lambda numbered: numbered.number)[:most]

    async def carry(self, numbered: Sequence[Numbered]) -> list[int]:
        """See `features.parked.Parked`."""
        found = []
        for number, label in numbered:
            fate = self._fates.get(label.source, _WAITS)
            if fate == _WAITS and self._is_there(label.transaction_id):
                fate = self._fates[label.source] = number
            found.append({_WAITS: UNKNOWN, _DEAD: GIVEN_UP, number: CARRY}.get(fate, ELSEWHERE))
        return found

    async def give_up(self, labels: Sequence[ParkedLabel]) -> list[bool]:
        """See `features.parked.Parked`."""
        for label in labels:
            if self._fates.get(label.source, _WAITS) == _WAITS and not self._is_there(label.transaction_id):
                self._fates[label.source] = _DEAD
        return [self._fates.get(label.source) == _DEAD for label in labels]

    async def remove(self, partition: int, labels: Sequence[ParkedLabel]) -> None:
        """See `features.parked.Parked`."""
        del partition  # a source belongs to one
        for label in labels:
            self.labels.pop(label.source, None)
            self._numbers.pop(label.source, None)

    def _is_there(self, transaction_id: str) -> bool:
        entry = self._log.index.get(self._keys.index(transaction_id))
        return entry is not None and is_applied(entry)

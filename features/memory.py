"""A log in this process's memory: for tests and trials without Redis; the same laws as `RedisLog`."""

from collections.abc import Sequence

from features import layout as at
from features.index import decode_entry, is_applied
from features.log import NOT_LATER, Checkpoint

_MOST_LABELS = 8


class MemoryLog:
    """Entity states, index entries and sources in dictionaries."""

    def __init__(self) -> None:
        self.states: dict[bytes, bytes] = {}
        self.bad: dict[bytes, bytes] = {}
        self.index: dict[bytes, bytes] = {}
        self._labels: dict[bytes, list[tuple[int, int, bool, int]]] = {}
        self._sources: dict[str, int] = {}
        self._releases: dict[str, int] = {}

    async def append(self, states: Sequence[bytes], records: Sequence[bytes]) -> list[bytes]:
        """See `features.log.Log`."""
        found = []
        for key, part in zip(states, records, strict=True):
            before = self.states.get(key, b"")
            self.states[key] = before + part
            found.append(before)
        return found

    async def claim(
        self, keys: Sequence[bytes], entries: Sequence[bytes], window_ms: int, answers: Sequence[tuple[bytes, bytes, bytes]]
    ) -> dict[int, bytes]:
        """See `features.log.Log`."""
        found = {}
        for i, (key, content) in enumerate(zip(keys, entries, strict=True)):
            old, new = decode_entry(self.index.setdefault(key, content)), decode_entry(content)
            if old.source == new.source:
                continue
            if abs(new.append_ms - old.append_ms) <= window_ms:
                found[i] = self.index[key]
            else:
                self.index[key] = content
                self._labels.pop(key, None)
        for key, source, answer in answers:
            entry = self.index.get(key, b"")
            if entry[4:12] == source and entry[28] in {0, 255}:
                self.index[key] = entry[:28] + answer + entry[44:]
        return found

    async def releases(self, name: str) -> tuple[int, dict[int, str]]:
        """See `features.log.Log`."""
        if name and name not in self._releases:
            self._releases[name] = len(self._releases) + 1
        return self._releases.get(name, 0), {number: each for each, number in self._releases.items()}

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> int:
        """See `features.log.Log`."""
        won = 0
        for new in checkpoints:
            state = self.states.get(new.key, b"")
            if state[:8] == new.first and state[new.used_bytes - at.RECORD_BYTES : new.used_bytes] == new.last:
                self.states[new.key] = new.content + state[new.used_bytes :]
                won += 1
        return won

    async def set_aside(self, states: Sequence[bytes], contents: Sequence[bytes]) -> None:
        """See `features.log.Log`."""
        for key, content in zip(states, contents, strict=True):
            state = self.states.get(key, b"")
            if len(state) > len(content) and state.startswith(content):
                self.bad[key] = content
                self.states[key] = state[len(content) :]

    async def label(
        self, keys: Sequence[bytes], sources: Sequence[int], label_ms: Sequence[int], is_fraud: Sequence[bool]
    ) -> list[tuple[bytes, int] | None]:
        """See `features.log.Log`."""
        found: list[tuple[bytes, int] | None] = []
        for key, source, when, value in zip(keys, sources, label_ms, is_fraud, strict=True):
            entry = self.index.get(key)
            if entry is None or not is_applied(entry):
                found.append(None)
                continue
            if when <= decode_entry(entry).event_ms:
                found.append((entry, NOT_LATER))
                continue
            labels = self._labels.setdefault(key, [])
            known = next((label for label in labels if label[1] == source), None)
            if known is None:
                before = _in_force(labels)
                if len(labels) == _MOST_LABELS:
                    labels.remove(next(label for label in labels if label is not max(labels, key=_when)))
                labels.append((when, source, value, 0))
                known = (when, source, value, int(_in_force(labels)) - int(before))
                labels[-1] = known
            found.append((entry, known[3]))
        return found

    async def source_ids(self, fields: Sequence[str]) -> list[int]:
        """See `features.log.Log`."""
        return [self._sources.setdefault(field, at.HISTORY_SOURCE + 1 + len(self._sources)) for field in fields]


def _when(label: tuple[int, int, bool, int]) -> tuple[int, int]:
    return label[0], label[1] & at.OFFSET_MASK


def _in_force(labels: Sequence[tuple[int, int, bool, int]]) -> bool:
    return max(labels, key=_when)[2] if labels else False

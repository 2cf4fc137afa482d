"""Where the online store keeps states: an append-only log for each entity, an index, and what a log must promise."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

#: Change of a label that was not noted: it is not later than its event.
NOT_LATER = 2


class Checkpoint(NamedTuple):
    """Replace the first `used_bytes` of a state by `content`, if they still begin and end as they did."""

    key: bytes
    first: bytes
    last: bytes
    used_bytes: int
    content: bytes


class Log(Protocol):
    """Where the states lie. All methods raise Unavailable if it does not answer; repeating a call is safe."""

    async def append(self, states: Sequence[bytes], records: Sequence[bytes]) -> list[bytes]:
        """Append each key's records; return the states as they were (b"" = none)."""
        ...

    async def claim(
        self, keys: Sequence[bytes], entries: Sequence[bytes], window_ms: int, answers: Sequence[tuple[bytes, bytes, bytes]]
    ) -> dict[int, bytes]:
        """Make index entries, and note answers (key, source, answer) of earlier ones.

        Returns:
            Place -> entry of another source that claimed the transaction at most `window_ms` (append time) before.
        """
        ...

    async def releases(self, name: str) -> tuple[int, dict[int, str]]:
        """Return the number of a release, registering a new one, and the names of all."""
        ...

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> int:
        """Put checkpoints in place; return how many won."""
        ...

    async def set_aside(self, states: Sequence[bytes], contents: Sequence[bytes]) -> None:
        """Move the given first bytes of states away."""
        ...

    async def label(
        self, keys: Sequence[bytes], sources: Sequence[int], label_ms: Sequence[int], is_fraud: Sequence[bool]
    ) -> list[tuple[bytes, int] | None]:
        """Note labels in their index entries; return (entry, change) of each, None = unknown transaction."""
        ...

    async def source_ids(self, fields: Sequence[str]) -> list[int]:
        """Return the ids of sources, registering new ones."""
        ...

"""Simulated transactions as arrays, before they become a history."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
NONE: Final = -1
"""Code of an absent device, ip, story or campaign."""


def random_stream(seed: int, *names: object) -> np.random.Generator:
    """Return the generator of one named purpose: drawing more for one purpose changes no other."""
    words = [seed, *(crc32(str(name).encode()) for name in names)]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns of equal length, one row per transaction; codes are places in the population's arrays."""

    card: Ints
    time_ms: Ints
    """Since the epoch."""
    merchant: Ints
    amount_minor: Ints
    channel: Ints
    """Place in domain.transaction.CHANNELS."""
    device: Ints
    ip: Ints
    story: Ints
    """Place in simulate.stories.STORIES; NONE for genuine rows."""
    campaign: Ints
    """Number of the fraud campaign; NONE for genuine rows."""

    def __len__(self) -> int:
        return len(self.card)

    def take(self, where: Ints | Flags) -> "Rows":
        """Return the rows at these places, or where the flags are set."""
        return Rows(*(getattr(self, field.name)[where] for field in fields(self)))

    @staticmethod
    def concat(parts: Iterable["Rows"]) -> "Rows":
        """Return all rows of `parts` in their order."""
        found = list(parts)
        return Rows(*(np.concatenate([getattr(part, field.name) for part in found]) for field in fields(Rows)))


def expand(sizes: Ints) -> tuple[Ints, Ints]:
    """Return (owner, step): sizes[i] rows for each owner i, counted from 0.

    >>> [column.tolist() for column in expand(np.array([2, 0, 1]))]
    [[0, 0, 2], [0, 1, 0]]
    """
    owner = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    first = np.cumsum(sizes) - sizes
    return owner, np.arange(len(owner), dtype=np.int64) - first[owner]


def cumulated(owner: Ints, gaps: Floats | Ints) -> Floats:
    """Return the running sum of `gaps` within each owner; rows of one owner stand together.

    >>> cumulated(np.array([0, 0, 1]), np.array([5, 2, 3])).tolist()
    [5.0, 7.0, 3.0]
    """
    total = np.cumsum(gaps, dtype=np.float64)
    starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]]) if len(owner) else np.zeros(0, dtype=np.int64)
    before = np.zeros(len(owner))
    before[starts] = total[starts] - gaps[starts]
    return total - np.maximum.accumulate(before) if len(owner) else total

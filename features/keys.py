"""Redis key names. `{bucket}` is the hash tag, so that a chunk's keys of one bucket can share one call in a cluster."""

import re
from typing import Final
from zlib import crc32

from features.spec import ENTITY_LETTERS

N_BUCKETS: Final = 64
STATE_TTL_S: Final = 120 * 86_400
"""Only collects garbage: forgetting is done by event time inside the fold."""


def bucket(text: str) -> int:
    """Return the bucket of an entity or transaction.

    >>> 0 <= bucket("c:card-1") < N_BUCKETS
    True
    """
    return crc32(text.encode()) % N_BUCKETS


class Keys:
    """The keys of one installation and feature spec."""

    def __init__(self, prefix: str, fingerprint: str) -> None:
        self._states = f"{prefix}fs:{fingerprint[:8]}:"
        self.states = self._states.encode()
        """Prefix of all states."""
        self.bad = f"{prefix}bad:{fingerprint[:8]}:".encode()
        """Prefix under which a state of wrong type or content is kept, in the slot it had."""
        self._index = f"{prefix}tx:"
        self.sources = f"{prefix}sources".encode()
        """Hash: topic UUID and partition -> source id."""
        self.alive = f"{prefix}alive".encode()
        """Sentinel: absent = Redis was emptied."""

    def state(self, kind: int, entity_id: str) -> bytes:
        """Return the key of an entity's state."""
        name = f"{ENTITY_LETTERS[kind]}:{entity_id}"
        return f"{self._states}{{{bucket(name)}}}:{name}".encode()

    def index(self, transaction_id: str) -> bytes:
        """Return the key of a transaction in the decision index."""
        return f"{self._index}{{{bucket(transaction_id)}}}:{transaction_id}".encode()

    @property
    def state_pattern(self) -> str:
        """Match every state of this spec and nothing else, whatever the prefix (a glob of Redis)."""
        return re.sub(r"([\\*?\[\]])", r"\\\1", self._states) + "*"

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
        self._journal = f"{prefix}j:"
        self._marker = f"{prefix}applied:"
        self._spec = fingerprint[:8]
        self._index = f"{prefix}tx:"
        self.sources = f"{prefix}sources".encode()
        """Hash: topic UUID and partition -> source id."""
        self.parked = f"{prefix}parked:{fingerprint[:8]}".encode()
        """Prefix of what is kept of labels that wait for their transaction."""
        self.index_bytes = f"{prefix}index_bytes".encode()
        """Hash: what was written to the decision index, by hour, and what ends, by slot."""
        self.releases = f"{prefix}releases".encode()
        """Hash: model, policy and spec of an answer -> its number."""
        self.alive = f"{prefix}alive".encode()
        """Sentinel: absent = Redis was emptied."""

    def state(self, kind: int, entity_id: str) -> bytes:
        """Return the key of an entity's state."""
        name = f"{ENTITY_LETTERS[kind]}:{entity_id}"
        return f"{self._states}{{{bucket(name)}}}:{name}".encode()

    def index(self, transaction_id: str) -> bytes:
        """Return the key of a transaction in the decision index."""
        return f"{self._index}{{{bucket(transaction_id)}}}:{transaction_id}".encode()

    def journal(self, group: str, partition: int, slot: int) -> bytes:
        """Return the key of one slot of a partition's answer journal."""
        return f"{self._journal}{group}:{self._spec}:{{{partition}}}:{slot}".encode()

    def marker(self, group: str, bucket_number: int, source: int) -> bytes:
        """Return the key of a source's position marker: what of it the states of a bucket's node hold, for one group."""
        return f"{self._marker}{group}:{self._spec}:{{{bucket_number}}}:{source}".encode()

    @property
    def state_pattern(self) -> str:
        """Match every state of this spec and nothing else, whatever the prefix (a glob of Redis)."""
        return re.sub(r"([\\*?\[\]])", r"\\\1", self._states) + "*"

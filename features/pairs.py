"""The (transaction, entity) pairs of a chunk, grouped by key: what is appended to each entity's log."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features import layout as at
from features.batch import Batch, counterparty_hash
from features.index import NO_ID, encode_id
from features.keys import Keys

_MOST_CACHED = 200_000


class Pairs(NamedTuple):
    """Pairs in batch order within a key."""

    keys: list[bytes]
    key_start: NDArray[np.int64]
    """First pair of each key, and the end."""
    key_kind: NDArray[np.int64]
    row: NDArray[np.int64]
    """Transaction of each pair."""
    kind: NDArray[np.int64]
    """Entity type of each pair."""
    counterparty: NDArray[np.int64]
    encoded_ids: list[list[bytes]]
    """Of each transaction by entity type, as an index entry holds them."""

    def records(self, batch: Batch, kinds: NDArray[np.int64]) -> NDArray[np.void]:
        """Return the record of each pair (see `layout.RECORD`); `kinds` says what each row of the batch is."""
        row = self.row
        records = np.zeros(len(row), at.RECORD)
        records["source"] = batch.source[row]
        records["time_ms"] = batch.time_ms[row]
        records["amount"] = np.maximum(batch.amount[row], 0)
        records["flags"] = (batch.amount[row] < 0) * at.AMOUNT_UNKNOWN
        records["counterparty"] = self.counterparty
        records["lat"] = batch.lat[row]
        records["lon"] = batch.lon[row]
        records["kind"] = kinds[row]
        return records

    def split(self, records: NDArray[np.void]) -> list[bytes]:
        """Return the records of each key as bytes."""
        content = records.tobytes()
        return [content[a:b] for a, b in pairwise((self.key_start * at.RECORD_BYTES).tolist())]


class Grouping:
    """Groups batches by key; remembers the keys of entities seen lately."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._known: tuple[dict[str, tuple[bytes, int, bytes]], ...] = tuple({} for _ in range(at.N_ENTITIES))

    def of(self, batch: Batch) -> Pairs:
        """Return the pairs of a batch."""
        keys: list[bytes] = []
        slot: list[int] = []
        row: list[int] = []
        n_of_kind = []
        hashes = np.zeros((2, len(batch.time_ms)), np.int64)
        encoded_ids = []
        for kind, ids in enumerate(batch.entities):
            known = self._known[kind]
            if len(known) > _MOST_CACHED:
                known.clear()
            slots: dict[str, int] = {}
            hashed: list[int] = []
            encoded: list[bytes] = []
            before = len(slot)
            for i, entity_id in enumerate(ids):
                if entity_id is None:
                    encoded.append(NO_ID)
                    hashed.append(0)
                    continue
                found = known.get(entity_id)
                if found is None:
                    found = known[entity_id] = (self._keys.state(kind, entity_id), counterparty_hash(entity_id), encode_id(entity_id))
                place = slots.get(entity_id)
                if place is None:
                    place = slots[entity_id] = len(keys)
                    keys.append(found[0])
                hashed.append(found[1])
                encoded.append(found[2])
                slot.append(place)
                row.append(i)
            if kind <= at.MERCHANT:
                hashes[kind] = hashed
            encoded_ids.append(encoded)
            n_of_kind.append(len(slot) - before)
        slot_of = np.array(slot, np.int64)
        order = np.argsort(slot_of, kind="stable")
        key_start = np.zeros(len(keys) + 1, np.int64)
        np.cumsum(np.bincount(slot_of, minlength=len(keys)), out=key_start[1:])
        rows = np.array(row, np.int64)[order]
        kinds = np.repeat(np.arange(len(n_of_kind)), n_of_kind)[order]
        counterparty = np.where(kinds == at.CARD, hashes[1, rows], hashes[0, rows])
        return Pairs(keys, key_start, kinds[key_start[:-1]], rows, kinds, counterparty, encoded_ids)

"""The online feature store: one atomic append per chunk, one fold, exact under redelivery.

Guarantee: a record counts once in every entity's state, however often and by however many workers it is observed, as long
as the records of one source are observed in order and a failed call is repeated before anything later of its sources.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.decision import FLAG_BITS, Flag
from domain.errors import Unavailable
from features import layout as at
from features.batch import Batch
from features.clock import offsets
from features.currency import Rates
from features.event import evaluate_events
from features.fold import (
    ALL_HELD,
    BROKEN,
    CHECKPOINT_ABOVE,
    KEEP_RAW,
    NOTHING_HELD,
    PAIR_LATE,
    PAIR_STALE,
    REPLAYED_INSIDE_CHECKPOINT,
    Folded,
    Held,
    checkpoint_room,
    fold,
)
from features.index import APPLIED, Entry, decode_entry, fixed_parts
from features.kernel import new_workspace
from features.keys import Keys
from features.log import Checkpoint, Log
from features.pairs import Grouping, Pairs
from features.spec import N_FEATURES, FeatureSettings

_MOST_CHECKPOINTS = 64


class Duplicate(NamedTuple):
    """A transaction that was sent before: another record, of the same id, counts."""

    first: Entry
    release: str
    """What gave the first answer; "" where there is none yet."""


class Observed(NamedTuple):
    """What is known about a chunk's transactions just before each of them."""

    vectors: NDArray[np.float32]
    """(n, N_FEATURES), NaN = missing."""
    positions: NDArray[np.int64]
    """Place in the log of each entity; -1 = no such entity, (n, N_ENTITIES)."""
    flags: NDArray[np.uint16]
    """The batch's, with late, stale, duplicate and replay_approx, (n,)."""
    duplicates: dict[int, Duplicate]
    """Rows that changed no state."""
    claims: list[bytes]
    """Index key of each, for `FeatureStore.answered`."""


class Credited(NamedTuple):
    """A label's effect."""

    entry: Entry
    change: int
    """Known frauds of its entities: -1, 0 or 1; NOT_LATER = the label was refused."""
    positions: tuple[int, int, int, int]
    is_exact: bool
    """False: redelivered, and its place in a log is lost."""


class FeatureStore:
    """Observes transactions and labels; see the module's guarantee."""

    def __init__(
        self, log: Log, keys: Keys, settings: FeatureSettings, rates: Rates, *, claim_window_ms: int = 3_600_000,
        holds: bool = False,
    ) -> None:  # fmt: skip
        """Prepare.

        Args:
            log: Where the states lie.
            keys: Names of states and index entries.
            settings: What the features depend on.
            rates: Of the base currency.
            claim_window_ms: A second record of a transaction's id, appended at most this long after the first, is a
                producer's duplicate.
            holds: Checkpoints leave raw what may come again, everything until `hold` has told what that is.
        """
        self._held = ALL_HELD if holds else NOTHING_HELD
        self._claim_window_ms = claim_window_ms
        self._answers: list[tuple[bytes, bytes, bytes]] = []
        self._releases: dict[int, str] = {}
        self._log = log
        self._keys = keys
        self._rates = rates
        self._offsets = offsets(settings.time_zone)
        self._maturity_s = settings.maturity_days * 86_400
        self._room = checkpoint_room(_MOST_CHECKPOINTS)
        self._workspace = new_workspace()
        self._grouping = Grouping(keys)
        self._is_checkpointing = False
        self._compactions: set[asyncio.Task[None]] = set()
        self._repairs: set[asyncio.Task[None]] = set()
        self.n_broken = 0
        """States that could not be decoded and were moved aside."""

    async def source_ids(self, topic_uuid: str, partitions: Sequence[int]) -> dict[int, int]:
        """Return the registered source id of each partition of a topic; a topic created anew has other ones."""
        ids = await self._log.source_ids([f"{topic_uuid}:{partition}" for partition in partitions])
        return dict(zip(partitions, ids, strict=True))

    async def observe(self, batch: Batch, transaction_ids: Sequence[str], append_ms: Sequence[int]) -> Observed:
        """Return the vectors just before each transaction, then remember it, in one step for each entity; labels find it then.

        Raises:
            Unavailable: Perhaps some entities remember it; observe the same batch again.
        """
        observed = (await self.begin(batch, transaction_ids, append_ms))()
        first = [i for i in range(len(transaction_ids)) if i not in observed.duplicates]
        self.answered([observed.claims[i] for i in first], batch.source[first], [APPLIED] * len(first))
        await self.note_answers()
        return observed

    async def begin(self, batch: Batch, transaction_ids: Sequence[str], append_ms: Sequence[int]) -> Callable[[], Observed]:
        """Remember the transactions; return what computes their vectors, so that the next batch can begin before.

        Raises:
            Unavailable: Perhaps some entities remember it; begin the same batch again, before anything later.
        """
        pairs = self._grouping.of(batch)
        index = [self._keys.index(i) for i in transaction_ids]
        duplicates = await self._claim(batch, pairs, index, append_ms)
        if duplicates:
            entities = tuple([None if i in duplicates else each for i, each in enumerate(ids)] for ids in batch.entities)
            pairs = self._grouping.of(batch._replace(entities=entities))
        n = len(transaction_ids)
        appended = await self._append(batch, pairs, np.zeros(n, np.int64))

        def finish() -> Observed:
            vectors = self.blind(batch)
            flags = batch.flags.copy()
            flags[list(duplicates)] |= FLAG_BITS[Flag.DUPLICATE]
            positions = self._fold(appended, vectors, flags)
            return Observed(vectors, positions, flags, duplicates, index)

        return finish

    async def _claim(self, batch: Batch, pairs: Pairs, index: Sequence[bytes], append_ms: Sequence[int]) -> dict[int, Duplicate]:
        """Claim the transactions' ids; return those that another record has."""
        fixed = fixed_parts(batch.source, append_ms, batch.time_ms)
        entries = [b"".join(parts) for parts in zip(fixed, *pairs.encoded_ids, strict=True)]
        taken = {i: decode_entry(entry) for i, entry in (await self._claim_and_note(index, entries)).items()}
        if any(entry.answer is not None and entry.answer.release not in self._releases for entry in taken.values()):
            _, self._releases = await self._log.releases("")
        return {
            i: Duplicate(entry, self._releases.get(entry.answer.release, "") if entry.answer is not None else "")
            for i, entry in taken.items()
        }

    def blind(self, batch: Batch) -> NDArray[np.float32]:
        """Return vectors of the events alone, all state missing, float32 (n, N_FEATURES); nothing is remembered."""
        n = len(batch.time_ms)
        vectors = np.full((n, N_FEATURES), np.nan, np.float32)
        evaluate_events(batch.time_ms, batch.amount, batch.codes, self._offsets, self._rates.major, np.arange(n), vectors)
        return vectors

    async def _claim_and_note(self, index: Sequence[bytes], entries: Sequence[bytes]) -> dict[int, bytes]:
        """Claim, and note the answers that wait for it."""
        answers, self._answers = self._answers, []
        try:
            return await self._log.claim(index, entries, self._claim_window_ms, answers)
        except Unavailable:
            self._answers = answers + self._answers
            raise

    async def note_answers(self) -> None:
        """Note the answers so far: labels find their transactions from then on. Call it before offsets are committed.

        Raises:
            Unavailable: Some are perhaps not noted; note again.
        """
        if self._answers:
            await self._claim_and_note((), ())

    async def release(self, name: str) -> int:
        """Return the number under which a release (model, policy, spec) is noted with its answers.

        Raises:
            Unavailable: Ask again.
        """
        number, self._releases = await self._log.releases(name)
        return number

    def answered(self, claims: Sequence[bytes], sources: NDArray[np.int64], answers: Sequence[bytes]) -> None:
        """Note first answers (see `index.encode_answer`) with the next claims; labels find these transactions from then on."""
        content = sources.astype("<i8").tobytes()
        self._answers += zip(claims, (content[a : a + 8] for a in range(0, len(content), 8)), answers, strict=True)

    async def credit(
        self, transaction_ids: Sequence[str], sources: Sequence[int], label_ms: Sequence[int], is_fraud: Sequence[bool],
        record_sources: Sequence[int] | None = None,
    ) -> list[Credited | None]:  # fmt: skip
        """Note labels and credit their change to card and merchant; None = the transaction is not in the index.

        Args:
            transaction_ids: One for each label.
            sources: Under which a label is noted, so that it counts once.
            label_ms: Label times.
            is_fraud: What the labels say.
            record_sources: Under which its record goes into the states; None = the same. Each source's must grow.

        Raises:
            Unavailable: Perhaps some entities know it; credit the same labels again.
        """
        found = await self._log.label([self._keys.index(i) for i in transaction_ids], sources, label_ms, is_fraud)
        entries = [None if f is None else decode_entry(f[0]) for f in found]
        changes = [0 if f is None else f[1] for f in found]
        rows = [i for i, change in enumerate(changes) if change in (-1, 1)]
        positions = np.full((len(found), at.N_ENTITIES), -1, np.int64)
        flags = np.zeros(len(rows), np.uint16)
        if rows:
            credited = [entry for i in rows if (entry := entries[i]) is not None]
            kinds = np.array([at.FRAUD if changes[i] > 0 else at.FRAUD_UNDONE for i in rows], np.int64)
            nothing = np.full(len(rows), at.NO_PLACE, np.int16)
            batch = Batch(
                np.array([(record_sources or sources)[i] for i in rows], np.int64), np.array([e.event_ms for e in credited], np.int64),
                np.zeros(len(rows), np.int64), nothing, nothing, np.empty((0, 3), np.int32), flags,
                ([e.entities[0] for e in credited], [e.entities[1] for e in credited]),
            )  # fmt: skip
            positions[rows] = self._fold(await self._append(batch, self._grouping.of(batch), kinds), None, flags)
        approximate = dict(zip(rows, (flags & FLAG_BITS[Flag.REPLAY_APPROX]).tolist(), strict=True))
        return [
            None if entry is None else Credited(entry, changes[i], tuple(positions[i].tolist()), not approximate.get(i))
            for i, entry in enumerate(entries)
        ]

    async def close(self) -> None:
        """Note the last answers and wait for what is under way beside the chunks."""
        with suppress(Unavailable):
            await self.note_answers()
        await asyncio.gather(*self._compactions, *self._repairs)

    async def _append(self, batch: Batch, pairs: Pairs, kinds: NDArray[np.int64]) -> "_Appended":
        if self._repairs:  # a state is being moved aside: what is appended now belongs behind that
            await asyncio.gather(*self._repairs)
        records = pairs.records(batch, kinds)
        parts = pairs.split(records)
        return _Appended(pairs, records, parts, await self._log.append(pairs.keys, parts))

    def _fold(self, appended: "_Appended", vectors: NDArray[np.float32] | None, flags: NDArray[np.uint16]) -> NDArray[np.int64]:
        """Write vectors and flags; return the places in the logs, (n, N_ENTITIES)."""
        pairs, records, parts, blobs = appended
        lengths = np.array([len(blob) for blob in blobs], np.int64)
        misshapen = np.flatnonzero((lengths % 8 != 0) | (lengths < at.RECORD_BYTES) & (lengths > 0))
        if len(misshapen):
            self._move_aside(misshapen, pairs, blobs)
            blobs = [b"" if k in misshapen else blob for k, blob in enumerate(blobs)]
            lengths[misshapen] = 0
        blob_start = np.zeros(len(blobs) + 1, np.int64)
        np.cumsum(lengths >> 3, out=blob_start[1:])
        words = np.frombuffer(b"".join(blobs) or bytes(8), np.int64)
        m = len(records)
        folded = Folded(np.empty(m, np.int8), np.empty(m, np.int8), np.empty(m, np.int64))
        row = np.full(m, -1, np.int64) if vectors is None else pairs.row
        room = self._room
        made = fold(
            words, words.view(np.float64), blob_start, records.view(np.int64), pairs.key_start, pairs.key_kind, row, self._rates.major,
            self._maturity_s, np.empty((0, 0), np.float32) if vectors is None else vectors, folded, room, room.words.view(np.float64),
            CHECKPOINT_ABOVE, KEEP_RAW, self._held, self._workspace,
        )  # fmt: skip
        if made and not self._is_checkpointing:
            self._is_checkpointing = True
            self._beside(self._checkpoint(self._checkpoints(pairs, blobs, parts, made)), self._compactions)
        self._mark(pairs, folded, flags, blobs)
        positions = np.full((len(flags), at.N_ENTITIES), -1, np.int64)
        positions[pairs.row, pairs.kind] = folded.positions
        return positions

    def hold(self, positions: Mapping[int, int]) -> None:
        """Keep records raw that may come again.

        Args:
            positions: Source id -> offset up to which its records are committed, of all sources of transactions.
        """
        if positions:
            self._held = Held(np.array(list(positions), np.int64), np.array(list(positions.values()), np.int64))

    def _mark(self, pairs: Pairs, folded: Folded, flags: NDArray[np.uint16], blobs: Sequence[bytes]) -> None:
        """Set late, stale and replay_approx where a pair says so, and move broken states aside."""
        for mask, flag in (
            ((folded.lateness & PAIR_LATE) > 0, Flag.LATE),
            ((folded.lateness & PAIR_STALE) > 0, Flag.STALE),
            (folded.status == REPLAYED_INSIDE_CHECKPOINT, Flag.REPLAY_APPROX),
        ):
            if mask.any():
                flags[pairs.row[mask]] |= FLAG_BITS[flag]
        broken = np.unique(np.repeat(np.arange(len(pairs.keys)), np.diff(pairs.key_start))[folded.status == BROKEN])
        if len(broken):
            self._move_aside(broken, pairs, blobs)

    def _move_aside(self, broken: NDArray[np.int64], pairs: Pairs, blobs: Sequence[bytes]) -> None:
        self.n_broken += len(broken)
        self._beside(self._log.set_aside([pairs.keys[k] for k in broken], [blobs[k] for k in broken]), self._repairs)

    def _checkpoints(self, pairs: Pairs, blobs: Sequence[bytes], parts: Sequence[bytes], made: int) -> list[Checkpoint]:
        room = self._room
        content = room.words[: room.start[made]].tobytes()
        found = []
        for j in range(made):
            k, used = int(room.key[j]), int(room.used_bytes[j])
            state = blobs[k] + parts[k]
            snapshot = content[8 * room.start[j] : 8 * room.start[j + 1]]
            found.append(Checkpoint(pairs.keys[k], state[:8], state[used - at.RECORD_BYTES : used], used, snapshot))
        return found

    async def _checkpoint(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Put checkpoints in place beside the next chunk; one that is lost is made again with a later chunk."""
        try:
            await self._log.checkpoint(checkpoints)
        finally:
            self._is_checkpointing = False

    @staticmethod
    def _beside(work: Coroutine[None, None, object], tasks: set[asyncio.Task[None]]) -> None:
        """Do what states can do without: they stay complete, and the next chunk asks for it again."""

        async def run() -> None:
            with suppress(Unavailable):
                await work

        task = asyncio.create_task(run())
        tasks.add(task)
        task.add_done_callback(tasks.discard)


class _Appended(NamedTuple):
    """A chunk whose records are in the logs."""

    pairs: Pairs
    records: NDArray[np.void]
    parts: list[bytes]
    """Records of each key."""
    blobs: list[bytes]
    """State of each key before them."""

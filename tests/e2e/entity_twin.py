"""One entity's log as serving ordered it, folded offline, and the state in Redis beside it."""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from domain.decision import FLAG_BITS, Flag
from features import layout as at
from features.codec import checkpoint_words, decode, encode, is_sound
from features.evaluation import evaluate
from features.feature_row import FeatureRow
from features.kernel import apply, new_workspace, wake

APPROXIMATE: Final = FLAG_BITS[Flag.REPLAY_APPROX]


class EntityLog(NamedTuple):
    """What should be in one entity's state."""

    kind: int
    records: np.ndarray
    """(n,) of layout.RECORD, in the order of application; if not `is_ordered`, in one that fits what is known of it."""
    vectors: list[bytes]
    """Served vector of each record; empty = not to be compared."""
    is_ordered: bool


def entity_log(parts: Sequence[tuple[int, np.ndarray, list[FeatureRow]]]) -> EntityLog:
    kind = parts[0][0]
    records = np.concatenate([records for _, records, _ in parts])
    rows = [row for _, _, rows in parts for row in rows]
    places = np.array([-1 if row.flags & APPROXIMATE else row.positions[kind] for row in rows], np.int64)
    is_known = places >= 0
    is_ordered = _find_lost_places(records["source"].astype(np.int64), places)
    order = np.argsort(places, kind="stable")
    vectors = [rows[i].vector if is_ordered and is_known[i] else b"" for i in order.tolist()]
    return EntityLog(kind, records[order], vectors, is_ordered)


def _find_lost_places(source: np.ndarray, places: np.ndarray) -> bool:
    """Fill in places that are -1, so that each source's records are in the order of their offsets; tell whether only one way fits."""
    lost = np.flatnonzero(places < 0)
    gaps = np.setdiff1d(np.arange(len(places)), places)
    waiting: dict[int, deque[tuple[int, int, int]]] = defaultdict(deque)
    for i in lost[np.argsort(source[lost])].tolist():
        mine = (source >> at.OFFSET_BITS == source[i] >> at.OFFSET_BITS) & (places >= 0)
        after = int(places[mine & (source < source[i])].max(initial=-1))
        before = int(places[mine & (source > source[i])].min(initial=len(places)))
        waiting[int(source[i]) >> at.OFFSET_BITS].append((before, after, i))
    is_only = len(gaps) == len(lost)
    for gap in gaps.tolist():
        fitting = [queue for queue in waiting.values() if queue and queue[0][1] < gap]
        is_only &= len(fitting) == 1
        if fitting:
            before, _, i = min(fitting, key=lambda queue: queue[0]).popleft()
            is_only &= gap < before
            places[i] = gap
    return is_only


class Twin:
    """Folds one entity after the other."""

    def __init__(self, major: int, maturity_s: int) -> None:
        self._major = major
        self._maturity_s = maturity_s
        self._ints, self._floats, self._out, self._scratch = new_workspace()
        self._other = np.zeros(at.N_INTS, np.int64), np.zeros(at.N_FLOATS)

    def fold(self, log: EntityLog) -> tuple[int, int]:
        """Fold a log; return how many served vectors were compared, and how many differ in any bit."""
        ints, floats, kind = self._ints, self._floats, log.kind
        ints[:], floats[:] = 0, 0.0
        words = np.ascontiguousarray(log.records).view(np.int64).reshape(-1, at.RECORD_WORDS)
        first, last = at.FIRST_COLUMN[kind], at.FIRST_COLUMN[kind] + at.N_COLUMNS[kind]
        n_compared = n_different = 0
        for record, vector, record_kind in zip(words, log.vectors, log.records["kind"].tolist(), strict=True):
            if vector and record_kind == at.TRANSACTION:
                wake(ints, floats, record[1])
                evaluate(ints, floats, kind, self._major, self._maturity_s, record, self._out, self._scratch)
                served = np.frombuffer(vector, "<u4")[first:last]
                n_compared += 1
                n_different += not np.array_equal(served, self._out[: last - first].astype(np.float32).view(np.uint32))
            apply(ints, floats, kind, self._major, record)
        return n_compared, n_different

    def compare(self, log: EntityLog, blob: bytes) -> Iterator[str]:
        """Yield how the state in Redis differs from the one just folded."""
        words = np.frombuffer(blob + bytes(-len(blob) % 8), np.int64)
        ints, floats = self._other
        if not blob or not is_sound(words, 0, len(words), log.kind):
            yield "have no sound state"
            return
        decode(words, words.view(np.float64), 0, len(words), log.kind, ints, floats)
        for i in range(checkpoint_words(words, 0, len(words)), len(words), at.RECORD_WORDS):
            apply(ints, floats, log.kind, self._major, words[i : i + at.RECORD_WORDS])
        totals, folded = _totals(ints, is_ordered=log.is_ordered), _totals(self._ints, is_ordered=log.is_ordered)
        yield from (f"have another {name}" for name, value in totals.items() if value != folded[name])
        if log.is_ordered and totals == folded and _encoded(ints, floats, log.kind) != _encoded(self._ints, self._floats, log.kind):
            yield "are not the twin's bit for bit"


def _totals(ints: np.ndarray, *, is_ordered: bool) -> dict[str, int]:
    """Return what does not depend on the order of application, but for the frauds: those only where it is known."""
    days = ints[at.DAYS : at.DAYS + at.N_DAYS * at.DAY_WIDTH].reshape(-1, at.DAY_WIDTH)
    n_marks = int(ints[at.N_MARKS])
    return {
        "record count": int(ints[at.N_RECORDS]),
        "transaction count": int(ints[at.N_TRANSACTIONS]),
        "count of amounts": int(ints[at.AMOUNTS_EVER]),
        "sum of amounts": int(ints[at.AMOUNT_SUM]),
        "count of known frauds": int(ints[at.GONE_FRAUDS] + days[:, at.DAY_FRAUDS].sum()) if is_ordered else 0,
        "count by day": int(ints[at.GONE_COUNT] + days[:, at.DAY_COUNT].sum()),
        "set of watermarks": hash(tuple(sorted(ints[at.MARKS : at.MARKS + n_marks].tolist()))),
    }


def _encoded(ints: np.ndarray, floats: np.ndarray, kind: int) -> bytes:
    words = np.zeros(at.HEADER_WORDS + at.SNAPSHOT_WORDS, np.int64)
    n = encode(ints, floats, kind, 1, words, words.view(np.float64), 0)
    return words[:n].tobytes()

"""The offline twin: a history through the same kernel as serving, for training, rebuild and the check of what was served.

Without a logged order, transactions go by (event_time_ms, transaction_id), and a label applies before the first
transaction with event time > label time. With a logged order every entity's records go in the order in which serving
applied them; the features are then equal to the served ones bit for bit.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numba import prange
from numpy.typing import NDArray

from domain.errors import HistoryError
from features import layout as at
from features import spec
from features.clock import offsets
from features.codec import encode
from features.columns import Columns, columns_of
from features.compiled import compiled_parallel
from features.currency import Rates
from features.entity_records import Events, group_by_entity
from features.evaluation import evaluate
from features.event import evaluate_events
from features.kernel import Floats, Ints, apply, new_workspace, wake

Progress = Callable[[float], None]
_BLOCK = 2048
_STATE_WORDS = at.HEADER_WORDS + at.SNAPSHOT_WORDS
#: Groups of entities that one parallel call works on; the progress moves between calls.
_GROUPS_PER_CALL = 40_000
_PARTS = 64
"""Shares of a parallel call, each with a workspace of its own."""


class LoggedOrder(NamedTuple):
    """The order in which serving applied records, as logged in `features.v1`; one row for each record."""

    transaction_id: pl.Series
    kind: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    """Event time as applied (after the rule for future events)."""
    positions: NDArray[np.int64]
    """Place in each entity's log; -1 = not applied there, (m, N_ENTITIES)."""


class Replayed(NamedTuple):
    """Vectors of the kept transactions, and what a logged order said about them."""

    vectors: NDArray[np.float32]
    """(n_kept, N_FEATURES), in history order."""
    n_misplaced: int
    """Records whose logged place is not the one reached here (0 without an order)."""


def replay(
    history: pl.DataFrame,
    settings: spec.FeatureSettings,
    rates: Rates,
    *,
    keep: NDArray[np.bool_] | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return the feature vectors of a history, float32 (n_kept, N_FEATURES), NaN = missing.

    No vector depends on a later transaction, nor on a label that was not yet known.

    Args:
        history: Normalised (see `features.history`), sorted by (event_time_ms, transaction_id).
        settings: What the features depend on.
        rates: Of the base currency.
        keep: Rows whose vector is wanted, (n,); None = all.
        progress: Called with the finished share, in [0, 1].
    """
    return replay_columns(columns_of(history, rates), default_events(history), settings, rates, keep=keep, progress=progress)


def replay_columns(
    columns: Columns, events: Events, settings: spec.FeatureSettings, rates: Rates, *, keep: NDArray[np.bool_] | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:  # fmt: skip
    """Do what `replay` does, for a history of which the rest is not needed any more."""
    return _replay(columns, events, None, settings, rates, keep, progress).vectors


def replay_in_order(
    history: pl.DataFrame,
    order: LoggedOrder,
    settings: spec.FeatureSettings,
    rates: Rates,
    *,
    start_ms: int,
    progress: Progress | None = None,
) -> tuple[NDArray[np.int64], Replayed]:
    """Return the vectors of the transactions in a logged order, and their rows in the history.

    Records before `start_ms` (labels: known before it) apply first, in the default order, as a rebuild does; of the
    others exactly the logged ones apply, each entity's in the order of their logged places.

    Raises:
        HistoryError: The order names a transaction that the history does not hold.
    """
    before = default_events(history, end_ms=start_ms)
    rows = _rows_of(history, order.transaction_id)
    columns = columns_of(history, rates)
    is_transaction = order.kind == at.TRANSACTION
    time_ms = columns.batch.time_ms.copy()
    time_ms[rows[is_transaction]] = order.time_ms[is_transaction]
    columns = columns._replace(batch=columns.batch._replace(time_ms=time_ms))
    is_logged = np.isin(before.row, rows[is_transaction]) & (before.kind == at.TRANSACTION)
    before = Events(before.row[~is_logged], before.kind[~is_logged])
    events = Events(np.concatenate([before.row, rows]), np.concatenate([before.kind, order.kind]))
    nowhere = np.full((len(before.row), at.N_ENTITIES), -2, np.int64)
    keep = np.zeros(len(history), np.bool_)
    keep[rows[is_transaction]] = True
    found = _replay(columns, events, np.concatenate([nowhere, order.positions]), settings, rates, keep, progress)
    return np.flatnonzero(keep), found


def default_events(history: pl.DataFrame, *, end_ms: int | None = None) -> Events:
    """Return the records of a history in the default order; only those before `end_ms` (labels: known before it)."""
    time_ms = history["event_time_ms"].to_numpy().astype(np.int64)
    label_ms = history["label_time_ms"].fill_null(-1).to_numpy().astype(np.int64)
    fraud_rows = np.flatnonzero(history["is_fraud"].fill_null(value=False).to_numpy() & (label_ms >= 0))
    row = np.concatenate([np.arange(len(history)), fraud_rows])
    kind = np.concatenate([np.full(len(history), at.TRANSACTION), np.full(len(fraud_rows), at.FRAUD)])
    when = np.concatenate([time_ms, label_ms[fraud_rows]])
    order = np.lexsort((row, kind, when))
    if end_ms is not None:
        order = order[when[order] < end_ms]
    return Events(row[order], kind[order])


def fold_states(
    columns: Columns, events: Events, major: int, progress: Progress | None = None
) -> Iterator[tuple[int, list[str], list[bytes]]]:
    """Yield (entity type, ids, encoded states) of what the events leave, in blocks of at most 2,048 entities.

    Args:
        columns: Of the history.
        events: What applies, in order.
        major: Minor units of one major unit of the base currency.
        progress: Called with the finished share, in [0, 1].
    """
    workspaces = _workspaces()
    words = np.empty(_BLOCK * _STATE_WORDS, np.int64)
    content = words.data.cast("B")
    n_words = np.empty(_BLOCK, np.int64)
    for kind in range(at.N_ENTITIES):
        group = group_by_entity(columns, events, kind, None)
        ids = columns.entities[kind].ids
        n_groups = len(group.code)
        for first in range(0, n_groups, _BLOCK):
            start = group.start[first : first + _BLOCK + 1]
            _fold_groups(group.records, start, kind, major, words, words.view(np.float64), n_words, *workspaces[:2])
            sizes = n_words[: len(start) - 1].tolist()
            states = [bytes(content[a : a + 8 * n]) for a, n in zip(range(0, len(content), 8 * _STATE_WORDS), sizes, strict=False)]
            yield kind, [ids[c] for c in group.code[first : first + _BLOCK].tolist()], states
            if progress is not None:
                progress((kind + min(first + _BLOCK, n_groups) / max(n_groups, 1)) / at.N_ENTITIES)


def _workspaces() -> list[NDArray[Any]]:
    """Return a workspace for each part of a parallel call, stacked."""
    return [np.stack(arrays) for arrays in zip(*(new_workspace() for _ in range(_PARTS)), strict=True)]


def _replay(
    columns: Columns,
    events: Events,
    positions: NDArray[np.int64] | None,
    settings: spec.FeatureSettings,
    rates: Rates,
    keep: NDArray[np.bool_] | None,
    progress: Progress | None,
) -> Replayed:
    n = len(columns.batch.time_ms)
    kept = np.ones(n, np.bool_) if keep is None else keep
    out_row = np.where(kept, np.cumsum(kept) - 1, -1)
    vectors = np.full((int(kept.sum()), spec.N_FEATURES), np.nan, np.float32)
    batch = columns.batch
    evaluate_events(batch.time_ms, batch.amount, batch.codes, offsets(settings.time_zone), rates.major, out_row, vectors)
    n_misplaced = 0
    maturity_s = settings.maturity_days * 86_400
    workspaces = _workspaces()
    for kind in range(at.N_ENTITIES):
        group = group_by_entity(columns, events, kind, positions)
        row = np.where(events.kind[group.event] == at.TRANSACTION, out_row[events.row[group.event]], -1)
        places = np.empty(len(group.event), np.int64)
        n_groups = len(group.start) - 1
        for first in range(0, n_groups, _GROUPS_PER_CALL):
            start = group.start[first : first + _GROUPS_PER_CALL + 1]
            _replay_groups(group.records, start, row, kind, rates.major, maturity_s, vectors, places, *workspaces)
            if progress is not None:
                progress((kind + min(first + _GROUPS_PER_CALL, n_groups) / n_groups) / at.N_ENTITIES)
        if positions is not None:
            logged = positions[group.event, kind]
            n_misplaced += int(((logged >= 0) & (logged != places)).sum())
    return Replayed(vectors, n_misplaced)


def _rows_of(history: pl.DataFrame, transaction_id: pl.Series) -> NDArray[np.int64]:
    wanted = pl.DataFrame({"transaction_id": transaction_id})
    found = wanted.join(history.select("transaction_id").with_row_index("row"), on="transaction_id", how="left", maintain_order="left")
    missing = found.filter(pl.col("row").is_null())
    if len(missing):
        raise HistoryError(
            f"{len(missing)} transactions of the order are not in the history; the first is {missing['transaction_id'][0]!r}"
        )
    return found["row"].to_numpy().astype(np.int64)


@compiled_parallel
def _replay_groups(
    records: Ints, start: Ints, row: Ints, kind: int, major: int, maturity_s: int, vectors: NDArray[np.float32], places: Ints,
    every_ints: NDArray[np.int64], every_floats: NDArray[np.float64], every_out: NDArray[np.float64], every_scratch: NDArray[np.int64],
) -> None:  # fmt: skip
    n_groups, n_parts = len(start) - 1, len(every_ints)
    for part in prange(n_parts):
        ints, floats, out, scratch = every_ints[part], every_floats[part], every_out[part], every_scratch[part]
        for g in range(n_groups * part // n_parts, n_groups * (part + 1) // n_parts):
            ints[:] = 0
            floats[:] = 0.0
            for i in range(start[g], start[g + 1]):
                record = records[4 * i : 4 * i + 4]
                places[i] = ints[at.N_RECORDS]
                if row[i] >= 0:
                    wake(ints, floats, record[1])
                    evaluate(ints, floats, kind, major, maturity_s, record, out, scratch)
                    first = at.FIRST_COLUMN[kind]
                    for j in range(at.N_COLUMNS[kind]):
                        vectors[row[i], first + j] = out[j]
                apply(ints, floats, kind, major, record)


@compiled_parallel
def _fold_groups(
    records: Ints, start: Ints, kind: int, major: int, words: Ints, reals: Floats, n_words: Ints, every_ints: NDArray[np.int64],
    every_floats: NDArray[np.float64],
) -> None:  # fmt: skip
    """Write the state of group g at `words[g * _STATE_WORDS:]` and its length to `n_words[g]`."""
    n_groups, n_parts = len(start) - 1, len(every_ints)
    for part in prange(n_parts):
        ints, floats = every_ints[part], every_floats[part]
        for g in range(n_groups * part // n_parts, n_groups * (part + 1) // n_parts):
            ints[:] = 0
            floats[:] = 0.0
            for i in range(start[g], start[g + 1]):
                apply(ints, floats, kind, major, records[4 * i : 4 * i + 4])
            n_words[g] = encode(ints, floats, kind, 1, words, reals, g * _STATE_WORDS)

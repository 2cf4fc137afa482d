"""A history's records by entity: one entity type's records side by side, in the order in which they apply."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features import layout as at
from features.columns import Columns
from features.compiled import compiled
from features.kernel import Ints


class Events(NamedTuple):
    """All records of a history in the order of application by default: transactions and labels."""

    row: NDArray[np.int64]
    """Row of the history, (m,)."""
    kind: NDArray[np.int64]
    """TRANSACTION, FRAUD or FRAUD_UNDONE, (m,)."""


class Group(NamedTuple):
    """One entity type's records, sorted by entity and order of application."""

    records: NDArray[np.int64]
    """(4 * m,), see `layout.RECORD`."""
    start: NDArray[np.int64]
    """First record of each entity that has any, and the end, (n_entities + 1,)."""
    code: NDArray[np.int64]
    """Entity: place in `Columns.entities[...].ids`, (n_entities,)."""
    event: NDArray[np.int64]
    """Place in the events of each record, (m,)."""


def group_by_entity(columns: Columns, events: Events, kind: int, positions: NDArray[np.int64] | None) -> Group:
    """Return the records of one entity type.

    Args:
        columns: Of the history.
        events: What applies, in order.
        kind: Code of the entity type.
        positions: Place in each entity's log of each event: -1 = not applied there, -2 = unlogged, before the logged ones and
            in the order of `events`, (m, N_ENTITIES). None: everything is unlogged.
    """
    code = columns.entities[kind].code
    order = _order(events, kind, positions)
    count = np.zeros(len(columns.entities[kind].ids) + 1, np.int64)
    _count(order, events.row, code, count)
    present = np.flatnonzero(count[:-1])
    ends = np.cumsum(count[:-1])
    n = int(ends[-1]) if len(ends) else 0
    records, event = np.empty(at.RECORD_WORDS * n, np.int64), np.empty(n, np.int64)
    batch = columns.batch
    _fill(
        order, events.row, events.kind, code, columns.counterparty[kind], batch.time_ms, batch.amount, batch.lat, batch.lon,
        ends - count[:-1], records, event,
    )  # fmt: skip
    return Group(records, np.concatenate([[0], ends[present]]).astype(np.int64), present, event)


def _order(events: Events, kind: int, positions: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return the events that may apply to an entity type, each entity's in its order; entities may mix."""
    wanted = np.ones(len(events.row), np.bool_) if kind <= at.MERCHANT else events.kind == at.TRANSACTION
    if positions is None:
        return np.flatnonzero(wanted)
    order = np.flatnonzero(wanted & (positions[:, kind] != -1))
    return order[np.argsort(positions[order, kind], kind="stable")]


@compiled
def _count(order: Ints, row: Ints, code: Ints, count: Ints) -> None:
    """Add the records of each entity to `count`; its last place gets those without an entity."""
    for i in range(len(order)):
        count[code[row[order[i]]]] += 1


@compiled
def _fill(
    order: Ints, row: Ints, kind: Ints, code: Ints, counterparty: Ints, time_ms: Ints, amount: Ints, lat: NDArray[np.int16],
    lon: NDArray[np.int16], place: Ints, records: Ints, event: Ints,
) -> None:  # fmt: skip
    """Write each record behind those of its entity (`layout.RECORD`, by words); `place` is each entity's next one."""
    for i in range(len(order)):
        e = order[i]
        r = row[e]
        if code[r] < 0:
            continue
        p = place[code[r]]
        place[code[r]] += 1
        event[p] = e
        is_unknown = 1 if amount[r] < 0 else 0
        records[4 * p] = (at.HISTORY_SOURCE << at.OFFSET_BITS) + p + 1
        records[4 * p + 1] = time_ms[r]
        records[4 * p + 2] = max(amount[r], 0) | (counterparty[r] << 32)
        places = (np.int64(lat[r]) & 0xFFFF) | ((np.int64(lon[r]) & 0xFFFF) << 16)
        records[4 * p + 3] = places | (kind[e] << 32) | ((is_unknown * at.AMOUNT_UNKNOWN) << 40)

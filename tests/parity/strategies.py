"""Histories of one entity for Hypothesis: bursts, late and stale events, idle times, labels and corrections."""

from hypothesis import strategies as st

from tests.parity.definition import Item

START_MS = 1_700_000_000_000
_GAPS_MS = st.one_of(
    st.sampled_from([0, 1, 999, 1_000, 29_999, 300_000, 3_600_000, 86_400_000]),
    st.integers(0, 120_000),
    st.integers(0, 6 * 3_600_000),
    st.integers(0, 9 * 86_400_000),
    st.just(101 * 86_400_000),
)
_LATE_BY_MS = [1_000, 599_000, 600_001, 7_200_000, 3 * 86_400_000, 31 * 86_400_000]
_LATE_MS = st.one_of(st.just(0), st.just(0), st.just(0), st.sampled_from(_LATE_BY_MS))
_AMOUNTS = st.one_of(st.none(), st.integers(0, 5_000), st.integers(1_000, 90_000), st.just((1 << 32) - 1))
_PLACES = st.one_of(st.none(), st.tuples(st.integers(-9_000, 9_000), st.integers(-18_000, 18_000)))


@st.composite
def histories(draw, *, most: int = 40):
    """Return items of one entity in their order of application."""
    items: list[Item] = []
    clock = START_MS
    for _ in range(draw(st.integers(1, most))):
        transactions = [item for item in items if item.kind == "transaction"]
        if transactions and draw(st.integers(0, 4)) == 0:
            of = draw(st.sampled_from(transactions))
            items.append(Item(draw(st.sampled_from(["fraud", "fraud", "fraud_undone"])), of.time_ms))
            continue
        clock += draw(_GAPS_MS)
        time_ms = max(clock - draw(_LATE_MS), 1_000)
        items.append(Item("transaction", time_ms, draw(_AMOUNTS), draw(st.sampled_from(["a", "b", "c", "d"])), draw(_PLACES)))
    return items

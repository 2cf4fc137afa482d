"""The decision index stays below its bound, whatever the traffic does."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.index_budget import ENTRY_OVERHEAD_BYTES, SLOT_MS, IndexBudget, retention_s

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
DAY_S = 86_400
START_MS = 19_000 * DAY_MS + 5 * HOUR_MS
MAX_BYTES = 10_000_000


def live(rate_of: Callable[[int], float], *, days: int, max_bytes: int = MAX_BYTES, index_days: int = 45) -> tuple[list[int], list[int]]:
    """Return the bytes of the index and the retention at each hour; `rate_of(hour)` = entries' bytes in that hour."""
    budget = IndexBudget(max_bytes, index_days)
    ending: dict[int, int] = {}
    size, sizes, retentions = 0, [], []
    for hour in range(days * 24):
        now_ms = START_MS + hour * HOUR_MS
        size -= ending.pop(hour, 0)
        ttl_s = budget.ttl_s(now_ms)
        new = int(rate_of(hour))
        budget.written(now_ms, n_entries=0, n_bytes=new, ttl_s=ttl_s)
        end = hour + -(-ttl_s // 3600)
        ending[end] = ending.get(end, 0) + new
        size += new
        sizes.append(size)
        retentions.append(ttl_s)
        budget.learn(_sum(budget))
        outdated = set(budget.outdated(now_ms))
        budget.learn({field: each for field, each in budget._known.items() if field not in outdated})
    return sizes, retentions


def _sum(budget: IndexBudget) -> dict[str, int]:
    return budget._known | {field: budget._known.get(field, 0) + size for field, size in budget.changes().items()}


def test_without_a_bound_every_entry_is_kept_for_all_days():
    _, retentions = live(lambda hour: 10**9, days=3, max_bytes=0)

    assert set(retentions) == {45 * DAY_S}


def test_below_the_bound_every_entry_is_kept_for_all_days():
    sizes, retentions = live(lambda hour: 1_000, days=60)

    assert set(retentions) == {45 * DAY_S}
    assert max(sizes) <= 45 * 24 * 1_000


def test_at_a_steady_rate_the_index_uses_most_of_its_bound():
    sizes, retentions = live(lambda hour: 50_000, days=40)

    assert min(sizes[20 * 24 :]) > 0.8 * MAX_BYTES
    assert max(sizes) <= 0.9 * MAX_BYTES
    assert all(6.5 * DAY_S < each < 7.5 * DAY_S for each in retentions[48:])  # 85 % of 10 MB at 1.2 MB a day


@pytest.mark.parametrize(
    "rate_of",
    [
        lambda hour: 50_000 * (0.2 if hour % 24 < 8 else 1.4),
        lambda hour: 50_000 if hour < 20 * 24 else 100_000,
        lambda hour: 100_000 if hour < 20 * 24 else 50_000,
        lambda hour: 50_000 * (4 if 20 * 24 <= hour < 21 * 24 else 1),
        lambda hour: 20_000 * (1 + hour // (5 * 24)),
        lambda hour: 50_000 if hour % 48 < 24 else 0,
    ],
    ids=["day and night", "doubled", "halved", "a wild day", "growing", "every other day"],
)
def test_the_bound_holds_when_the_rate_changes(rate_of):
    sizes, retentions = live(rate_of, days=50)

    assert max(sizes) <= MAX_BYTES
    assert retentions[-1] > DAY_S


def test_after_a_change_the_retention_comes_back_to_what_the_rate_allows():
    _, retentions = live(lambda hour: 50_000 if hour < 20 * 24 else 100_000, days=50)

    assert 3 * DAY_S < retentions[-1] < 4 * DAY_S


def test_several_workers_keep_one_budget():
    first, second = IndexBudget(MAX_BYTES, 45), IndexBudget(MAX_BYTES, 45)
    now_ms = START_MS + 12 * HOUR_MS
    for budget in (first, second):
        budget.written(START_MS, n_entries=1_000, n_bytes=100_000, ttl_s=45 * DAY_S)
    totals: dict[str, int] = {}
    for budget in (first, second):
        for field, size in budget.changes().items():
            totals[field] = totals.get(field, 0) + size
        assert budget.changes() == {}
    first.learn(totals)
    found = first.forecast(now_ms)

    assert found.kept_bytes == 2 * (100_000 + 1_000 * ENTRY_OVERHEAD_BYTES)
    assert found.bytes_per_day == pytest.approx(2 * found.kept_bytes, rel=0.01)
    assert found.full_bytes == pytest.approx(45 * found.bytes_per_day, rel=0.01)


def test_changes_that_did_not_arrive_count_again():
    budget = IndexBudget(MAX_BYTES, 45)
    budget.written(START_MS, n_entries=1, n_bytes=100, ttl_s=DAY_S)
    changes = budget.changes()
    budget.back(changes)

    assert budget.changes() == changes


def test_the_past_is_forgotten():
    budget = IndexBudget(MAX_BYTES, 1)
    budget.written(START_MS, n_entries=1, n_bytes=100, ttl_s=DAY_S)
    budget.learn(budget.changes())

    assert budget.outdated(START_MS + 24 * HOUR_MS) == []
    assert len(budget.outdated(START_MS + 72 * HOUR_MS)) == 2
    assert budget.forecast(START_MS + 72 * HOUR_MS)[:2] == (0, 0)


@given(
    kept=st.dictionaries(st.integers(19_000 * 6, 19_050 * 6), st.integers(0, MAX_BYTES)),
    rate=st.floats(1, 1e9),
    now_ms=st.integers(19_000 * DAY_MS, 19_060 * DAY_MS),
)
def test_what_is_there_and_what_comes_fits_whenever_it_can(kept, rate, now_ms):
    found = retention_s(kept, rate, now_ms, max_bytes=MAX_BYTES, shortest_s=3600, longest_s=45 * DAY_S)

    assert 3600 <= found <= 45 * DAY_S
    if found == 3600:
        return
    for step in range(51):
        at_ms = now_ms + int(found * 1000 * step / 50)
        part, this = 1 - at_ms % SLOT_MS / SLOT_MS, at_ms // SLOT_MS
        left = sum(size * (1 if slot > this else part) for slot, size in kept.items() if slot >= this)
        assert left + rate * (at_ms - now_ms) / DAY_MS <= MAX_BYTES * 1.0001 + 1

"""The kernel computes what the plain-Python definition says."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import layout as at
from features import spec
from tests.parity.definition import features_before
from tests.parity.kernel_runs import fold_once, kernel_features, names_of, records_of
from tests.parity.strategies import histories

ENTITIES = st.sampled_from(spec.ENTITIES)


def assert_close(found: dict[str, float], expected: dict[str, float]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        got = found[name]
        is_same = (math.isnan(value) and math.isnan(got)) or math.isclose(got, value, rel_tol=1e-9, abs_tol=1e-6)
        # The variance of near-equal amounts is a difference of big numbers: the plain sum rounds elsewhere.
        is_same = is_same or ("_std_" in name and abs(got - value) < 1e-4 * max(1.0, found[name.replace("_std_", "_max_")]))
        assert is_same, f"{name}: kernel {got}, definition {value}"


@given(entity=ENTITIES, items=histories(), maturity=st.sampled_from([1, 7, 40]))
def test_the_kernel_agrees_with_the_definition(entity, items, maturity):
    found = kernel_features(entity, items, maturity_days=maturity)

    for place, item in enumerate(items):
        if item.kind == "transaction":
            expected = features_before(entity, items[:place], item, maturity_days=maturity)
            assert_close(found[place], {name: float(expected[name]) for name in names_of(entity)})


@given(entity=ENTITIES, items=histories())
def test_a_checkpoint_at_any_place_changes_no_bit(entity, items):
    plain, recoded = kernel_features(entity, items), kernel_features(entity, items, recode=True)

    for a, b in zip(plain, recoded, strict=True):
        if a is not None:
            assert np.array_equal(np.array(list(a.values())).view(np.int64), np.array(list(b.values())).view(np.int64))


@given(entity=ENTITIES, items=histories(), cuts=st.lists(st.integers(0, 40), max_size=6), above=st.integers(0, 6), keep=st.integers(0, 6))
def test_online_chunks_with_checkpoints_give_the_bits_of_one_run(entity, items, cuts, above, keep):
    records = records_of(items)
    whole, whole_folded, _, _ = fold_once(entity, b"", records, above=1 << 30)
    blob = b""
    edges = sorted({0, len(items), *(c for c in cuts if c < len(items))})
    for a, b in pairwise(edges):
        vectors, folded, content, used = fold_once(entity, blob, records[a:b], above=max(above, keep), keep=keep)
        assert np.array_equal(vectors.view(np.int32), whole[a:b].view(np.int32))
        assert np.array_equal(folded.positions, whole_folded.positions[a:b])
        assert np.array_equal(folded.lateness, whole_folded.lateness[a:b])
        blob += records[a:b].tobytes()
        if content is not None:
            blob = content + blob[used:]


@given(entity=ENTITIES, items=histories(most=20), start=st.integers(0, 19))
def test_a_redelivered_chunk_is_evaluated_at_its_first_place(entity, items, start):
    start = min(start, len(items) - 1)
    records = records_of(items)
    before, tail = records[:start].tobytes(), records[start:]
    first, first_folded, _, _ = fold_once(entity, before, tail)

    again, again_folded, _, _ = fold_once(entity, before + tail.tobytes(), tail)

    assert np.array_equal(first.view(np.int32), again.view(np.int32))
    assert np.array_equal(first_folded.positions, again_folded.positions)


@given(entity=ENTITIES, items=histories(most=12), data=st.binary(min_size=1, max_size=4), place=st.integers(0, 10_000))
def test_a_damaged_checkpoint_is_never_decoded(entity, items, data, place):
    records = records_of(items)
    _, _, content, used = fold_once(entity, b"", records, above=0, keep=0)
    assert content is not None
    assert used == 32 * len(items)
    at_byte = place % len(content)
    damaged = content[:at_byte] + bytes(x ^ (y or 1) for x, y in zip(content[at_byte : at_byte + len(data)], data, strict=False))
    damaged += content[len(damaged) :]
    damaged = damaged[: len(damaged) // 8 * 8]

    _, folded, _, _ = fold_once(entity, damaged, records[:1])

    header_survives = damaged[6:8] == content[6:8]
    is_generation_only = damaged[8:] == content[8:] and header_survives
    if header_survives and not is_generation_only:
        assert folded.status[0] == 3


def test_the_largest_state_stays_within_12_kilobytes():
    fixed = 8 * (at.HEADER_WORDS + at.FIXED_WORDS + 4 * at.N_TILES + 1 + 2 * at.N_DAYS)
    eight_sources = 8 * 8
    raw = 64 * at.RECORD_BYTES

    assert fixed + 8 * at.MAX_SLOTS + eight_sources + raw <= 12 * 1024


@pytest.mark.parametrize("entity", spec.ENTITIES)
def test_columns_of_an_entity_lie_side_by_side(entity):
    places = [spec.COLUMN[name] for name in names_of(entity)]

    assert places == list(range(places[0], places[0] + len(places)))

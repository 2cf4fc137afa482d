"""Bytes that are kept: checksum, states, index entries, feature rows."""

import base64
import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decision import FLAG_BITS, Flag, Tier
from domain.errors import HistoryError, MalformedRecord
from features import layout as at
from features import spec
from features.codec import checksum, encode
from features.feature_row import KINDS, FeatureRow, decode_row, encode_row, read_lines, to_json
from features.index import Entry, FirstAnswer, decode_entry, encode_entry, encode_label
from features.kernel import apply

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TIMES_MS = st.integers(0, 253_402_300_799_999)
IDS = st.text(min_size=1, max_size=64)


def plain_checksum(words: list[int]) -> int:
    """The checksum in plain Python, on unsigned numbers of 64 bits."""
    low, factor = (1 << 64) - 1, 0x9E3779B97F4A7C15
    lanes = [0x5745_4952, ~0x5745_4952 & low]
    for place, word in enumerate(words):
        mixed = (lanes[place % 2] ^ word & low) * factor & low
        lanes[place % 2] = mixed ^ mixed >> 29
    even, odd = lanes
    mixed = (even ^ (odd << 17 & low | odd >> 47)) * factor & low
    return (mixed >> 32 ^ mixed) & 0xFFFFFFFF


@given(words=st.lists(INT64, max_size=200), start=st.integers(0, 3), less=st.integers(0, 3))
def test_the_checksum_is_that_of_its_words_alone(words, start, less):
    array = np.array(words, np.int64)
    start = min(start, len(words))
    end = max(len(words) - less, start)

    assert checksum(array, start, end) == plain_checksum(words[start:end])


@given(words=st.lists(INT64, min_size=2, max_size=40), place=st.integers(0, 39), bit=st.integers(0, 63), other=st.integers(0, 39))
def test_a_flipped_bit_and_an_exchange_of_words_change_the_checksum(words, place, bit, other):
    array = np.array(words, np.int64)
    place, other = place % len(words), other % len(words)
    flipped, exchanged = array.copy(), array.copy()
    flipped.view(np.uint64)[place] ^= np.uint64(1 << bit)
    exchanged[[place, other]] = array[[other, place]]

    assert checksum(flipped, 0, len(words)) != checksum(array, 0, len(words))
    assert (checksum(exchanged, 0, len(words)) == checksum(array, 0, len(words))) == (words[place] == words[other])


def state_bytes(entity: int, n: int, *, sources: int = 4, every_ms: int = 0, counterparties: int = 1) -> int:
    """Return the length of the checkpoint of an entity after n transactions."""
    ints, floats = np.zeros(at.N_INTS, np.int64), np.zeros(at.N_FLOATS)
    records = np.zeros(n, at.RECORD)
    records["source"] = ((2 + np.arange(n) % sources) << at.OFFSET_BITS) + np.arange(n) + 1
    records["time_ms"] = 1_700_000_000_000 + np.arange(n) * every_ms
    records["amount"] = 1_000
    records["counterparty"] = np.arange(n) % counterparties
    for record in records.view(np.int64).reshape(-1, 4):
        apply(ints, floats, entity, 100, record)
    words = np.zeros(at.HEADER_WORDS + at.SNAPSHOT_WORDS, np.int64)
    return 8 * encode(ints, floats, entity, 1, words, words.view(np.float64), 0)


@pytest.mark.parametrize(("entity", "most"), [(0, 450), (1, 280), (2, 250), (3, 250)], ids=spec.ENTITIES)
def test_the_state_of_a_rarely_seen_entity_is_small(entity, most):
    assert state_bytes(entity, 1, sources=1) <= most
    assert state_bytes(entity, 3, sources=1) <= most


@pytest.mark.parametrize("entity", range(at.N_ENTITIES), ids=spec.ENTITIES)
def test_the_hottest_entity_with_64_raw_records_stays_within_12_kilobytes(entity):
    every_ms = 30_000  # every tile of every level is filled
    checkpoint = state_bytes(entity, 75 * 86_400_000 // every_ms, sources=256, every_ms=every_ms, counterparties=1_024)

    assert checkpoint > 8 * 4 * at.N_TILES * 0.9
    assert checkpoint + 64 * at.RECORD_BYTES <= 12 * 1024


ANSWERS = st.builds(
    FirstAnswer, st.sampled_from(Tier), st.sampled_from(["approve", "review", "decline"]), st.integers(0, (1 << 16) - 1),
    st.integers(0, (1 << 32) - 1), st.floats(0, 1),
)  # fmt: skip
ENTRIES = st.builds(
    Entry, INT64, TIMES_MS, TIMES_MS, st.tuples(IDS, IDS, st.none() | IDS, st.none() | IDS) | st.just(("\U0001f600" * 64,) * 4),
    answer=st.none() | ANSWERS,
)  # fmt: skip


@given(entry=ENTRIES, labels=st.lists(st.tuples(INT64, TIMES_MS, st.booleans(), st.sampled_from([-1, 0, 1])), max_size=8))
def test_an_index_entry_comes_back_whatever_labels_follow_it(entry, labels):
    content = b"".join(encode_label(source, when, is_fraud=value, change=change) for source, when, value, change in labels)

    found = encode_entry(entry, content)

    assert decode_entry(found) == entry
    assert found.startswith(encode_entry(entry))
    assert len(found) == len(encode_entry(entry)) + 24 * len(labels)


ROWS = st.builds(
    FeatureRow,
    transaction_id=IDS | st.just("\U0001f600" * 64),
    kind=st.integers(0, 2),
    flags=st.integers(0, (1 << len(Flag)) - 1),
    partition=st.integers(0, 1000),
    offset=st.integers(0, (1 << 48) - 1),
    time_ms=TIMES_MS,
    spec=st.binary(min_size=8, max_size=8).map(bytes.hex),
    positions=st.tuples(*[st.integers(-1, (1 << 31) - 1)] * 4),
    vector=st.just(b"") | st.binary(min_size=4 * spec.N_FEATURES, max_size=4 * spec.N_FEATURES),
)


@given(row=ROWS)
def test_a_feature_row_comes_back_bit_for_bit(row):
    assert decode_row(encode_row(row)) == row


@given(row=ROWS.filter(lambda row: max(row.positions) >= 0))
def test_a_feature_row_survives_its_line_of_json(row):
    line = msgspec.json.encode(to_json(row))

    found = read_lines([line])

    assert (found.transaction_id, found.vectors, found.specs) == ([row.transaction_id], [row.vector], {row.spec})
    assert (found.kind.tolist(), found.time_ms.tolist(), found.positions.tolist()) == ([row.kind], [row.time_ms], [list(row.positions)])
    assert found.is_exact.tolist() == [not row.flags & FLAG_BITS[Flag.REPLAY_APPROX]]
    assert json.loads(line)["kind"] == KINDS[row.kind]


ROW = FeatureRow("t1", 0, 0, 1, 2, 3, "0" * 16, (0, 1, 2, -1), bytes(8))
GOOD = encode_row(ROW)


@pytest.mark.parametrize(
    "data",
    [b"", GOOD[:10], GOOD[:-1], GOOD + b"\0", b"\2" + GOOD[1:], b"\1\3" + GOOD[2:], b"{}" * 40, GOOD.replace(b"t1", b"\xff\xff")],
    ids=["empty", "short", "cut off", "too long", "another version", "unknown kind", "json", "id is no utf-8"],
)
def test_bytes_that_are_no_feature_row_are_refused(data):
    with pytest.raises(MalformedRecord):
        decode_row(data)


@given(data=st.binary(max_size=200) | st.builds(lambda tail: GOOD[:40] + tail, st.binary(max_size=60)))
def test_any_bytes_are_a_row_or_refused(data):
    try:
        row = decode_row(data)
    except MalformedRecord:
        return
    assert decode_row(encode_row(row)) == row


def line(**changes) -> bytes:
    return json.dumps(to_json(ROW) | changes).encode()


def vector(value: float) -> str:
    return base64.b64encode(np.array([value], "<f4").tobytes()).decode()


@pytest.mark.parametrize("first_is_exact", [True, False])
def test_of_repeated_rows_the_exact_one_is_kept(first_is_exact):
    exact, approximate = line(vector=vector(1)), line(vector=vector(2), flags=["replay_approx"], positions=[9, 9, 9, 9])
    pair = (exact, approximate) if first_is_exact else (approximate, exact)

    found = read_lines([*pair, line(source=["transactions.v1", 1, 3], transaction_id="t2"), b"\n"])

    assert found.transaction_id == ["t1", "t2"]
    assert found.vectors[0] == np.float32(1).tobytes()
    assert found.positions[0].tolist() == list(ROW.positions)
    assert found.is_exact.tolist() == [True, True]
    assert found.n_repeated == 1


def test_rows_that_used_no_state_are_counted_and_left_out():
    nowhere = [-1, -1, -1, -1]
    duplicate = line(source=["transactions.v1", 1, 3], flags=["duplicate"], positions=nowhere)
    degraded = line(source=["transactions.v1", 1, 4], flags=["degraded"], positions=nowhere)
    caught_up = [line(source=["transactions.v1", 1, 5], flags=["degraded"], positions=nowhere), line(source=["transactions.v1", 1, 5])]

    found = read_lines([line(), duplicate, duplicate, degraded, *caught_up, caught_up[0]])

    assert len(found.transaction_id) == 2
    assert (found.n_duplicates, found.n_degraded, found.n_repeated) == (1, 1, 0)


def test_rows_of_transactions_and_labels_of_the_same_place_are_two():
    found = read_lines([line(), line(kind="fraud", source=["labels.v1", 1, 2], vector=None)])

    assert (found.n_repeated, found.kind.tolist(), found.vectors[1]) == (0, [0, 1], b"")


def test_no_rows_are_no_rows():
    found = read_lines([])

    assert found.positions.shape == (0, 4)
    assert found.n_repeated == 0


@pytest.mark.parametrize(
    "wrong", [b"{}", b"not json", line(kind="gift"), line(vector="not base64!"), line(positions=[1]), line(source=["a"])],
    ids=["no fields", "no json", "unknown kind", "no base64", "too few places", "half a source"],
)  # fmt: skip
def test_a_line_that_is_no_row_is_named(wrong):
    with pytest.raises(HistoryError, match="line 2 of the order"):
        read_lines([line(), wrong])

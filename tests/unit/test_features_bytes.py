"""Bytes that are kept: CRC, states, index entries, feature rows."""

import base64
import json
import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decision import FLAG_BITS, Flag
from domain.errors import HistoryError, MalformedRecord
from features import layout as at
from features import spec
from features.codec import crc32, encode
from features.feature_row import KINDS, FeatureRow, decode_row, encode_row, read_lines, to_json
from features.index import Entry, decode_entry, encode_entry, encode_label
from features.kernel import apply

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TIMES_MS = st.integers(0, 253_402_300_799_999)
IDS = st.text(min_size=1, max_size=64)


@given(words=st.lists(INT64, max_size=200), start=st.integers(0, 3), less=st.integers(0, 3))
def test_the_crc_is_that_of_zlib(words, start, less):
    array = np.array(words, np.int64)
    start, end = min(start, len(words)), max(len(words) - less, min(start, len(words)))

    assert crc32(array, start, end) == zlib.crc32(array[start:end].tobytes())


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


ENTRIES = st.builds(
    Entry, INT64, TIMES_MS, TIMES_MS, st.tuples(IDS, IDS, st.none() | IDS, st.none() | IDS) | st.just(("\U0001f600" * 64,) * 4)
)


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


@given(row=ROWS)
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

"""Transactions as columns, and the names of keys."""

import fnmatch
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decision import FLAG_BITS, Flag
from domain.transaction import CHANNELS, Transaction
from features import layout as at
from features.batch import CHANNEL_CODES, batch_of, counterparty_hash, country_code, places
from features.currency import Rates
from features.keys import N_BUCKETS, Keys
from features.spec import ENTITIES

NOW_MS = 1_767_225_600_000
IDS = st.text(min_size=1, max_size=64)


def transaction(**changes) -> Transaction:
    fields = {
        "transaction_id": "t", "card_id": "c", "merchant_id": "m", "amount_minor": 100, "currency": "EUR", "event_time_ms": NOW_MS,
    } | changes  # fmt: skip
    return Transaction(**fields)


def batch(*transactions, append_ms=NOW_MS):
    n = len(transactions)
    return batch_of(transactions, np.arange(n), np.full(n, append_ms), Rates("EUR"))


@pytest.mark.parametrize(("ahead_ms", "is_future"), [(-(10**10), False), (0, False), (300_000, False), (300_001, True), (10**12, True)])
def test_an_event_more_than_5_minutes_ahead_gets_the_append_time_and_the_flag(ahead_ms, is_future):
    found = batch(transaction(event_time_ms=NOW_MS + ahead_ms))

    assert found.time_ms.tolist() == [NOW_MS if is_future else NOW_MS + ahead_ms]
    assert found.flags.tolist() == [FLAG_BITS[Flag.FUTURE] if is_future else 0]


def test_a_currency_without_a_rate_leaves_the_amount_unknown_and_sets_the_flag():
    found = batch(transaction(), transaction(currency="USD"), transaction(currency="USD", event_time_ms=NOW_MS + 10**9))

    assert found.amount.tolist() == [100, -1, -1]
    assert found.flags.tolist() == [0, FLAG_BITS[Flag.CURRENCY_UNKNOWN], FLAG_BITS[Flag.CURRENCY_UNKNOWN] | FLAG_BITS[Flag.FUTURE]]


def test_an_amount_beyond_32_bits_is_capped():
    assert batch(transaction(amount_minor=(1 << 40) - 1)).amount.tolist() == [at.LARGEST_AMOUNT]


def test_codes_are_minus_one_where_nothing_was_sent():
    found = batch(transaction(), transaction(channel="other", mcc=0, country="ZZ"))

    assert found.codes.tolist() == [[-1, -1, -1], [CHANNEL_CODES["other"], 0, 675]]
    assert list(CHANNEL_CODES) == list(CHANNELS)


def test_every_country_has_its_own_code():
    letters = [chr(65 + i) for i in range(26)]

    assert sorted(country_code(a + b) for a in letters for b in letters) == list(range(676))


@given(lat=st.floats(-90, 90) | st.just(np.nan), lon=st.floats(-180, 180) | st.just(np.nan))
def test_a_place_is_known_whole_or_not_at_all_and_within_half_a_hundredth(lat, lon):
    north, east = (int(found[0]) for found in places(np.array([lat]), np.array([lon])))

    if np.isnan(lat) or np.isnan(lon):
        assert (north, east) == (at.NO_PLACE, at.NO_PLACE)
    else:
        assert abs(north / 100 - lat) <= 0.005 + 1e-9
        assert abs(east / 100 - lon) <= 0.005 + 1e-9


@given(kind=st.integers(0, len(ENTITIES) - 1), entity_id=IDS, other=IDS)
def test_keys_differ_by_entity_and_share_a_slot_with_their_place_for_bad_states(kind, entity_id, other):
    keys = Keys("w:", "0123456789abcdef")

    state = keys.state(kind, entity_id)
    bad = keys.bad + state.removeprefix(keys.states)

    assert (state == keys.state(kind, other)) == (entity_id == other)
    assert state != keys.state((kind + 1) % len(ENTITIES), entity_id)
    assert state.startswith(keys.states)
    assert not bad.startswith(keys.states)
    assert hash_tag(bad) == hash_tag(state)
    assert 0 <= int(hash_tag(state)) < N_BUCKETS
    assert hash_tag(keys.index(entity_id)) == str(crc32(entity_id.encode()) % N_BUCKETS).encode()


def hash_tag(key: bytes) -> bytes:
    """What a Redis cluster hashes: between the first { and the next }."""
    return key.partition(b"{")[2].partition(b"}")[0]


@given(
    prefix=st.text("ab*?[]\\^-:", max_size=8), other=st.text("ab*?[]\\^-:", max_size=8), fingerprint=st.sampled_from(["0" * 16, "1" * 16])
)
def test_the_pattern_of_states_matches_those_of_its_own_prefix_and_spec_only(prefix, other, fingerprint):
    keys = Keys(prefix, "0" * 16)
    # fnmatch has no backslash: the same glob with one-character classes
    escaped = keys.state_pattern
    glob, i = "", 0
    while i < len(escaped):
        if escaped[i] == "\\":
            glob, i = f"{glob}[{escaped[i + 1]}]" if escaped[i + 1] != "\\" else glob + "\\", i + 2
        else:
            glob, i = glob + escaped[i], i + 1

    state = Keys(other, fingerprint).state(0, "c").decode()

    assert fnmatch.fnmatchcase(keys.state(0, "c").decode(), glob)
    assert fnmatch.fnmatchcase(state, glob) == (other == prefix and fingerprint == "0" * 16)


@given(entity_id=IDS)
def test_a_counterparty_hash_fits_32_bits(entity_id):
    assert counterparty_hash(entity_id) == crc32(entity_id.encode()) < 1 << 32

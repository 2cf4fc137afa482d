"""Commands packed by hand are the bytes that hiredis would make."""

import hiredis
from hypothesis import given
from hypothesis import strategies as st

from features.redis_node import pack, pack_append, pack_expire

KEYS = st.binary(min_size=1, max_size=300)
VALUES = st.binary(max_size=2_000)


@given(KEYS, VALUES)
def test_an_append_is_packed_as_hiredis_packs_it(key, value):
    assert pack_append(key, value) == hiredis.pack_command((b"APPEND", key, value))


@given(KEYS, st.integers(1, 1 << 40))
def test_an_expiry_is_packed_as_hiredis_packs_it(key, ttl_s):
    assert pack_expire(key, ttl_s) == hiredis.pack_command((b"EXPIRE", key, ttl_s))


def test_packed_and_other_commands_go_out_in_their_order():
    assert pack([("MULTI",), pack_append(b"k", b"v"), ("EXEC",)]) == b"".join(
        hiredis.pack_command(c) for c in [("MULTI",), ("APPEND", "k", "v"), ("EXEC",)]
    )

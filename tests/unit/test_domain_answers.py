"""Flags, masks and the texts of errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import errors
from domain.card_number import has_card_number, mask_card_number
from domain.decision import FLAG_BITS, Flag, flag_names
from domain.wire import shown

NUMBER = "4111111111111111"


def test_every_flag_has_its_own_bit_within_16():
    bits = list(FLAG_BITS.values())

    assert len(set(bits)) == len(Flag)
    assert all(bit.bit_count() == 1 and bit < 1 << 16 for bit in bits)


def test_the_flags_are_those_of_the_contract():
    names = "late stale future currency_unknown duplicate degraded restated replay_approx control"

    assert [flag.value for flag in Flag] == names.split()


@given(flags=st.sets(st.sampled_from(list(Flag))))
def test_bits_and_names_say_the_same_in_the_order_of_the_contract(flags):
    names = flag_names(sum(FLAG_BITS[flag] for flag in flags))

    assert names == tuple(flag.value for flag in Flag if flag in flags)


@pytest.mark.parametrize("found", [NUMBER, "4111 1111 1111 1111", "4111-1111-1111-1111"])
def test_the_mask_leaves_the_last_four_digits_however_the_number_is_grouped(found):
    masked = mask_card_number(f'{{"card_id":"{found}","again":["{NUMBER}"]}}'.encode(), found)

    assert masked == b'{"card_id":"%b1111","again":["************1111"]}' % (b"*" * (len(found) - 4))


def test_the_mask_leaves_other_bytes_alone():
    data = b'\xff{"transaction_id":"4111111111111112"}'

    assert mask_card_number(data, NUMBER) == data


def test_a_card_number_is_found_beside_other_digits():
    assert has_card_number(f"12 {NUMBER}")
    assert has_card_number(f"{NUMBER}\u0664")
    assert has_card_number(f"n={NUMBER}000000")
    assert not has_card_number("4111.1111.1111.1111")
    assert not has_card_number("411111111111")


@given(value=st.text(max_size=200) | st.integers() | st.lists(st.text(max_size=30)))
def test_a_shown_value_is_short_and_printable(value):
    text = shown(value)

    assert text.isprintable()
    assert text.isascii()
    assert len(text) <= 10 * 40 + 5


def test_the_end_of_a_long_value_cannot_hide_the_beginning_of_a_card_number():
    assert NUMBER[:4] not in shown("x" * 30 + NUMBER + "x" * 100)


def test_every_error_has_one_root():
    found = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]

    assert all(issubclass(error, errors.WeirError) for error in found)


def test_an_error_of_a_card_number_does_not_print_it():
    error = errors.CardNumberRejected(NUMBER)

    assert NUMBER not in str(error)
    assert NUMBER not in repr(error)


def test_an_unknown_transaction_says_so_in_the_word_of_the_contract():
    assert errors.UnknownTransaction().reason.startswith("unknown_transaction")


def test_a_mismatch_of_features_names_both():
    error = errors.FeatureSpecMismatch(trained_on="aaaa", built_with="bbbb")

    assert (error.trained_on, error.built_with) == ("aaaa", "bbbb")
    assert "aaaa" in str(error)
    assert "bbbb" in str(error)

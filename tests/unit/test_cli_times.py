import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.times import format_time, parse_time_ms


@pytest.mark.parametrize("text", ["", "yesterday", "12", "2026-13-01", "99999999999999999", "1e12", "2026-01-01T25:00:00"])
def test_what_is_no_time_is_refused_with_examples(text):
    with pytest.raises(ValueError, match="2026-01-31"):
        parse_time_ms(text)


@given(st.integers(100_000_000_000, 253_402_300_799_999))
def test_a_printed_time_is_read_back_to_the_second(time_ms):
    assert parse_time_ms(format_time(time_ms)) == time_ms // 1000 * 1000
    assert parse_time_ms(str(time_ms)) == time_ms


def test_a_time_without_an_offset_is_utc():
    assert parse_time_ms("2026-01-01T01:00:00") == parse_time_ms("2026-01-01T02:00:00+01:00")

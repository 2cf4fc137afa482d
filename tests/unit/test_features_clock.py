"""Local time by table, and the features of the event itself."""

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.errors import ConfigError
from features.clock import offsets
from features.event import evaluate_events
from features.spec import COLUMN, N_FEATURES

#: Summer time in both hemispheres, half and quarter hours, a skipped day, a switch inside Ramadan, no switch at all.
ZONES = (
    "UTC", "Europe/Paris", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia",
    "Africa/Casablanca", "Africa/Monrovia", "Asia/Tehran",
)  # fmt: skip
END_S = 4_102_444_800
ZONE_NAMES = st.sampled_from(ZONES)


def offset_by_table(zone: str, second: int) -> int:
    table = offsets(zone)
    return int(table.offset_s[np.searchsorted(table.start_s, second, side="right") - 1])


def offset_by_zoneinfo(zone: str, second: int) -> int:
    return int(datetime.fromtimestamp(second, UTC).astimezone(ZoneInfo(zone)).utcoffset().total_seconds())


@given(zone=ZONE_NAMES, second=st.integers(0, END_S - 1))
@example(zone="Pacific/Apia", second=1_325_239_200)
def test_the_table_agrees_with_the_calendar_at_any_instant(zone, second):
    assert offset_by_table(zone, second) == offset_by_zoneinfo(zone, second)


@pytest.mark.parametrize("zone", ZONES)
def test_the_table_switches_at_the_very_second(zone):
    table = offsets(zone)

    assert len(table.start_s) > 1 or zone == "UTC"
    for switch in table.start_s[1:].tolist():
        for second in (switch - 1, switch, switch + 1):
            assert offset_by_table(zone, second) == offset_by_zoneinfo(zone, second)


@pytest.mark.parametrize("zone", ZONES)
def test_no_switch_of_a_long_time_is_missed(zone):
    for second in range(1_000_000_000, 2_000_000_000, 1_800 * 97):
        assert offset_by_table(zone, second) == offset_by_zoneinfo(zone, second)


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "", "../etc/passwd", "/etc/localtime", "Europe/Par\x00is"])
def test_an_unknown_zone_is_a_wrong_setting(zone):
    with pytest.raises(ConfigError, match=r"features\.time_zone"):
        offsets(zone)


def event_vector(zone: str, time_ms: int, *, amount: int = 100, codes=(-1, -1, -1)) -> np.ndarray:
    vectors = np.full((1, N_FEATURES), 7.0, np.float32)
    evaluate_events(
        np.array([time_ms]), np.array([amount]), np.array([codes], np.int32), offsets(zone), 100, np.zeros(1, np.int64), vectors
    )
    return vectors[0]


def point(share: float) -> tuple[float, float]:
    return float(np.float32(math.sin(2 * math.pi * share))), float(np.float32(math.cos(2 * math.pi * share)))


@given(zone=ZONE_NAMES, time_ms=st.integers(0, END_S * 1000 - 1))
@example(zone="Europe/Paris", time_ms=1_774_745_999_999)  # the last millisecond of winter time
@example(zone="Europe/Paris", time_ms=1_774_746_000_000)
@example(zone="UTC", time_ms=1_774_763_999_999)  # 05:59:59.999
@example(zone="UTC", time_ms=1_774_764_000_000)
def test_hour_weekday_and_night_are_those_of_the_local_clock(zone, time_ms):
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)).astimezone(ZoneInfo(zone))
    in_day = local.hour * 3600 + local.minute * 60 + local.second

    found = event_vector(zone, time_ms)

    hour = found[COLUMN["event_hour_sin"]], found[COLUMN["event_hour_cos"]]
    weekday = found[COLUMN["event_weekday_sin"]], found[COLUMN["event_weekday_cos"]]
    assert hour == pytest.approx(point(in_day / 86_400), abs=1e-6)
    assert weekday == pytest.approx(point(local.weekday() / 7), abs=1e-6)
    assert found[COLUMN["event_is_night"]] == (local.hour < 6)


@given(amount=st.integers(-1, (1 << 32) - 1), codes=st.tuples(st.integers(-1, 5), st.integers(-1, 9999), st.integers(-1, 675)))
def test_amount_and_codes_stand_in_their_columns_and_are_missing_where_not_sent(amount, codes):
    found = event_vector("UTC", 0, amount=amount, codes=codes)

    log_amount = np.float32(math.log(1 + amount / 100)) if amount >= 0 else np.float32(math.nan)
    expected = [log_amount, *(np.float32(c) if c >= 0 else np.float32(math.nan) for c in codes)]
    names = ("event_log_amount", "event_channel", "event_category", "event_country")
    assert np.array_equal(np.array([found[COLUMN[name]] for name in names]), np.array(expected), equal_nan=True)
    assert (found[9:] == 7.0).all()


def test_an_event_without_a_row_writes_nothing():
    vectors = np.full((1, N_FEATURES), 7.0, np.float32)

    evaluate_events(np.array([0, 0]), np.array([1, 1]), np.zeros((2, 3), np.int32), offsets("UTC"), 100, np.full(2, -1, np.int64), vectors)

    assert (vectors == 7.0).all()

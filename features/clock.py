"""Local time of a zone as a table of offsets, so that the kernel needs no calendar."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from domain.errors import ConfigError

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class Offsets(NamedTuple):
    """UTC offsets of a zone from 1970 to 2100; the last one holds on."""

    start_s: NDArray[np.int64]
    """From when on an offset holds, ascending; the first is far in the past."""
    offset_s: NDArray[np.int64]


@cache
def offsets(time_zone: str) -> Offsets:
    """Return the offsets of an IANA time zone.

    >>> offsets("UTC").offset_s.tolist()
    [0]

    Raises:
        ConfigError: There is no such zone.
    """
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError(f"features.time_zone: no such IANA time zone; found {time_zone!r}, use a name like Europe/Paris") from error
    starts, found = [-(1 << 60)], [_offset(_FIRST, zone)]
    day = _FIRST
    while day < _LAST:
        following = day + timedelta(days=7)
        if _offset(following, zone) != found[-1]:
            low, high = int(day.timestamp()), int(following.timestamp())
            while high - low > 1:
                middle = (low + high) // 2
                if _offset(datetime.fromtimestamp(middle, UTC), zone) == found[-1]:
                    low = middle
                else:
                    high = middle
            starts.append(high)
            found.append(_offset(datetime.fromtimestamp(high, UTC), zone))
        day = following
    return Offsets(np.array(starts, np.int64), np.array(found, np.int64))


def _offset(moment: datetime, zone: ZoneInfo) -> int:
    shift = moment.astimezone(zone).utcoffset()
    return int(shift.total_seconds()) if shift is not None else 0

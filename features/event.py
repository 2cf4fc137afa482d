"""The features of the event itself, by the same kernel online and offline."""

import math

import numpy as np
from numpy.typing import NDArray

from features.clock import Offsets
from features.compiled import compiled
from features.kernel import Ints

_TURN_DAY = 2.0 * math.pi / 86_400.0
_TURN_WEEK = 2.0 * math.pi / 7.0
_NIGHT_ENDS_S = 6 * 3_600
#: 1970-01-01 was a Thursday.
_FIRST_WEEKDAY = 3


@compiled
def evaluate_events(
    time_ms: Ints, amount: Ints, codes: NDArray[np.int32], offsets: Offsets, major: int, row: Ints, vectors: NDArray[np.float32]
) -> None:
    """Write the event's own features, the first columns of the vector.

    Args:
        time_ms: Event times, (n,).
        amount: Base minor units, -1 = unknown, (n,).
        codes: Channel, category, country, -1 = not sent, (n, 3).
        offsets: Of the zone that decides hour, weekday and night.
        major: Minor units of one major unit of the base currency.
        row: Row of `vectors` of each event, -1 = none, (n,).
        vectors: float32 (n_rows, N_FEATURES), written.
    """
    for i in range(len(time_ms)):
        if row[i] < 0:
            continue
        out = vectors[row[i]]
        second = time_ms[i] // 1000
        place = np.searchsorted(offsets.start_s, second, side="right") - 1
        local = second + offsets.offset_s[place]
        in_day = local % 86_400
        weekday = (local // 86_400 + _FIRST_WEEKDAY) % 7
        out[0] = math.log(1.0 + float(amount[i]) / major) if amount[i] >= 0 else math.nan
        out[1] = math.sin(in_day * _TURN_DAY)
        out[2] = math.cos(in_day * _TURN_DAY)
        out[3] = math.sin(weekday * _TURN_WEEK)
        out[4] = math.cos(weekday * _TURN_WEEK)
        out[5] = 1.0 if in_day < _NIGHT_ENDS_S else 0.0
        for j in range(3):
            out[6 + j] = float(codes[i, j]) if codes[i, j] >= 0 else math.nan

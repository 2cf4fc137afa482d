"""The windows that drift is judged over, and what they are compared with: sums over hours of event time."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from monitoring.packed import Counts

Window = Literal["1h", "24h", "7d"]
Reference = Literal["training", "past"]

WEEK_H: Final = 168
WINDOWS_H: Final[Mapping[Window, int]] = {"1h": 1, "24h": 24, "7d": WEEK_H}
"""Length of each window, in hours."""
REFERENCES: Final[tuple[Reference, ...]] = ("training", "past")
"""`training` is the profile of the model; `past` are the same hours of the last PAST_WEEKS weeks."""
PAST_WEEKS: Final = 4


def total(hours: Mapping[int, Counts], wanted: Iterable[int]) -> Counts | None:
    """Return the sum of the wanted hours that are there; None if none is.

    A missing hour counts as an hour without a transaction.
    """
    found = [hours[hour] for hour in wanted if hour in hours]
    if not found:
        return None
    bins = found[0].bins.copy()
    for one in found[1:]:
        bins += one.bins
    return Counts(sum(one.n_rows for one in found), sum(one.n_alerts for one in found), bins)


def window_hours(end_hour: int, length_h: int) -> range:
    """Return the hours of the window that ends before `end_hour`: half-open `[end_hour - length_h, end_hour)`.

    >>> list(window_hours(100, 3))
    [97, 98, 99]
    """
    return range(end_hour - length_h, end_hour)


def past_hours(end_hour: int, length_h: int) -> list[int]:
    """Return the same hours of each of the last PAST_WEEKS weeks; none of them lies in the window itself.

    >>> past_hours(1000, 1)
    [831, 663, 495, 327]
    """
    return [hour - WEEK_H * week for week in range(1, PAST_WEEKS + 1) for hour in window_hours(end_hour, length_h)]

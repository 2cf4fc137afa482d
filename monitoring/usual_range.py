"""What is usual for each feature, by the training data that a model's profile remembers."""

import math
from typing import Final, NamedTuple

import numpy as np

from features.spec import CATEGORY_FEATURES
from monitoring.profile import N_BINS, Profile

#: What is rarer than this in training is unusual: the share outside a usual range.
_RARE: Final = 0.05


class UsualRange(NamedTuple):
    """19 of 20 known training values lie in `[low, high]`; of older profiles, which know deciles only, 8 of 10."""

    low: float | None
    """None: not known, as of codes, which have no order."""
    high: float | None
    missing_share: float
    """Share of the training rows in which the feature is missing."""

    def is_unusual(self, value: float) -> bool:
        """Tell whether a value lies outside, or is missing (NaN) where that is rare.

        >>> UsualRange(0.0, 3.0, 0.5).is_unusual(4.0), UsualRange(0.0, 3.0, 0.5).is_unusual(math.nan)
        (True, False)
        """
        if math.isnan(value):
            return self.missing_share < _RARE
        return (self.low is not None and value < self.low) or (self.high is not None and value > self.high)


def usual_ranges(profile: Profile) -> dict[str, UsualRange]:
    """Return the usual range of each row of the profile, by name."""
    found = {}
    for row, name in enumerate(profile.names):
        n = int(profile.counts[row].sum())
        missing_share = float(profile.counts[row, N_BINS]) / n if n else 1.0
        low, high = (None, None) if name in CATEGORY_FEATURES else _bounds(profile, row)
        found[name] = UsualRange(low, high, missing_share)
    return found


def _bounds(profile: Profile, row: int) -> tuple[float | None, float | None]:
    if profile.usual is not None:
        low, high = profile.usual[row].tolist()
        return (None, None) if math.isnan(low) else (low, high)
    edges = profile.edges[row][np.isfinite(profile.edges[row])]
    # With ties the first bin holds more than a tenth, and nothing is known about its lower end.
    first = int(profile.counts[row, 0])
    is_tenth = len(edges) > 0 and first <= 0.11 * max(int(profile.counts[row, :N_BINS].sum()), 1)
    return (float(edges[0]) if is_tenth else None, float(edges[-1]) if len(edges) == N_BINS - 1 else None)

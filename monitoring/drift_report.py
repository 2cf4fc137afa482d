"""What an evaluation found: values, to be shown, kept and folded into incidents."""

from collections.abc import Mapping, Sequence

import msgspec

from monitoring.drift_windows import Reference, Window


class LargestMove(msgspec.Struct, frozen=True):
    """The bin that gained most rows: `low < x <= high`."""

    low: float | None
    """None: the bin is open below."""
    high: float | None
    """None: the bin is open above."""
    share_before: float
    share_now: float


class FeatureDrift(msgspec.Struct, frozen=True):
    """One feature (or the score) in one window against one reference."""

    feature: str
    window: Window
    reference: Reference
    importance: float
    """Share of the model's, in [0, 1]; 0 if unknown."""
    n_rows: int
    """Transactions in the window."""
    psi: float | None
    """Of the known values; None where a side has none."""
    psi_limit: float | None
    """Noise band: chance alone passes it in one of thousands of evaluations; None before there is a baseline."""
    p_value: float | None
    is_significant: bool
    """The values differ by more than noise and by enough to matter."""
    missing_rate: float | None
    missing_rate_reference: float | None
    is_missing_significant: bool
    js: float | None
    ks: float | None
    w1: float | None
    """In bins of the training distribution."""
    is_alarmable: bool
    """Whether a difference of the values may raise an alarm."""
    why_not: str
    """Why it may not; empty if it may."""
    move: LargestMove | None


class RateDrift(msgspec.Struct, frozen=True):
    """The share of alerts in one window against the same hours of the last weeks."""

    window: Window
    n_rows: int
    rate: float | None
    rate_past: float | None
    p_value: float | None
    is_significant: bool
    why_not: str


class DriftReport(msgspec.Struct, frozen=True):
    """One evaluation: all windows that end before `now_hour`."""

    now_hour: int
    """Hours since the epoch; the windows are half-open `[now_hour - length, now_hour)`."""
    has_baseline: bool
    baseline_days: int
    n_rows: Mapping[Window, int]
    features: Sequence[FeatureDrift]
    """One row for each feature x window x reference, the score last within each."""
    alert_rate: Sequence[RateDrift]
    """One row for each window."""

    def row(self, feature: str, window: Window, reference: Reference) -> FeatureDrift | None:
        """Return one row; None if the profile does not know the feature."""
        for row in self.features:
            if row.feature == feature and row.window == window and row.reference == reference:
                return row
        return None

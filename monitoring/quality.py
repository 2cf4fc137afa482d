"""How good the answers were, as far as labels tell: the report by event-time day that page, API and file share.

Frauds are those that get reported. Fraud that nobody ever reports cannot be seen by any number here but `control`.
"""

from typing import Final

import msgspec

MISSED: Final = "missed"
"""Stratum of the frauds that were approved: they come back by charge-backs, after weeks."""
ALERTED: Final = "alerted"
"""Stratum of the frauds that were reviewed or declined: they are looked at within days."""
STRATA: Final = (MISSED, ALERTED)


class Estimate(msgspec.Struct, frozen=True):
    """One quantity of one day, while its labels are still coming in."""

    value: float | None
    """Corrected for labels that are still to come; None = too few can be known yet."""
    low: float | None
    """Lower end of the 95 % interval for the final value among reported frauds; None with `value`."""
    high: float | None
    """Upper end."""
    raw: float | None
    """From the labels known so far, uncorrected; None = not defined yet, as recall without a fraud."""
    label_free: float | None = None
    """From the calibrated scores alone: what is expected if the concept is unchanged. None = not defined."""


class QualityDay(msgspec.Struct, frozen=True, kw_only=True):
    """One UTC day of event time. Money is in minor units of the base currency."""

    day_ms: int
    """Its midnight: UTC, milliseconds since the epoch."""
    n: int
    """Transactions answered, each once."""
    n_alerts: int
    """Of them reviewed or declined."""
    is_provisional: bool
    """Whether more than a twentieth of the labels of a stratum is expected to be missing still."""
    is_incomplete: bool
    """Whether records of this day are missing in the archive; `note` says so."""
    note: str
    """One sentence on what is unusual about this day's numbers; empty = nothing."""
    maturity: dict[str, float]
    """Stratum (STRATA) -> expected share of its reported frauds that are known by now, 0 to 1; empty = no curve yet."""
    n_frauds: int
    """Known so far."""
    caught_minor: int
    """Amount of the known frauds that were alerts."""
    missed_minor: int
    """Amount of the known frauds that were approved."""
    frauds: Estimate
    """Number of frauds; `raw` is `n_frauds`."""
    caught: Estimate
    """Amount of frauds that were alerts; `raw` is `caught_minor`."""
    missed: Estimate
    """Amount of frauds that were approved; `raw` is `missed_minor`."""
    precision: Estimate | None
    """Share of the alerts that are frauds; None = no alert."""
    recall: Estimate | None
    """Share of the frauds that were alerts; None = nothing was answered."""
    ap: float | None
    """Average precision; None = provisional, or no fraud."""
    brier: float | None
    """Brier score; None = provisional."""


class ControlRecall(msgspec.Struct, frozen=True):
    """Recall by the random control sample of the matured days: the only number that unreported fraud cannot spoil."""

    n: int
    """Transactions drawn."""
    n_frauds: int
    recall: float | None
    """Weighted by 1 / probability of being drawn; None below 10 frauds."""
    low: float | None
    """Lower end of the 95 % interval."""
    high: float | None
    """Upper end."""


class ThresholdRow(msgspec.Struct, frozen=True):
    """What the matured days would have been with another threshold of alerts."""

    threshold: float
    """Alert from this probability on (>=)."""
    alerts_per_day: float
    precision: float | None
    """None = no transaction at or above it."""
    recall: float | None
    """None = no fraud is known."""
    caught_minor: int
    """Mean amount of frauds caught a day, in minor units of the base currency."""
    missed_minor: int
    """Mean amount of frauds missed a day."""


class CalibrationPoint(msgspec.Struct, frozen=True):
    """Transactions of the matured days with neighbouring probabilities."""

    mean_p: float
    """Their mean probability."""
    share: float
    """Share of them that are frauds."""
    n: int


class QualityReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole page."""

    at_ms: int
    """The archive's own time: its newest event or label, not beyond the clock. Ages count to this moment."""
    days: list[QualityDay]
    """Ascending; days without transactions are left out."""
    delay_curve: dict[str, list[tuple[float, float]]]
    """Stratum -> (age in days, share of its reported frauds that are known at that age), ascending. No key = too few frauds."""
    control: ControlRecall | None
    """None = no control sample in the matured days."""
    thresholds: list[ThresholdRow]
    """Ascending by threshold; empty = no matured day."""
    calibration: list[CalibrationPoint]
    """Ten groups of equal predicted fraud, ascending; empty = no matured day."""
    n_matured_days: int
    """Days that `thresholds`, `calibration` and `control` are made of."""
    sentence: str
    """What the page says, in words."""
    notes: list[str]
    """What is unusual, a sentence each."""

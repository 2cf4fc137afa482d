"""What an evaluation found: the answer of `weir evaluate HISTORY --json`; keys are part of the contract."""

from collections.abc import Mapping

import msgspec

from models.folds import Plan
from models.leakage import LeakageReport
from models.options import TrainingOptions
from models.paired import Paired


class Summary(msgspec.Struct, frozen=True):
    """A metric over the folds; null where fewer folds than it takes have it."""

    mean: float | None
    sd: float | None
    """Sample standard deviation (ddof 1)."""


class FoldResult(msgspec.Struct, frozen=True, kw_only=True):
    """One fold; times in ms, half-open."""

    name: str
    """First test day (UTC)."""
    from_ms: int
    as_of_ms: int
    test_to_ms: int
    n_train: int
    n_train_frauds: int
    """Known at T."""
    n_test: int
    n_test_frauds: int
    n_known_card_rows: int
    """Test rows of cards with a known fraud; dropped or not."""
    skipped: str = ""
    """Why the fold does not count; empty = it does."""
    models: Mapping[str, Mapping[str, float | None]] = {}
    thresholds: Mapping[str, float] = {}
    """Set before the test, by model."""
    weights: Mapping[str, Mapping[str, float]] = {}
    """Of the members, by configuration."""


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the test rows of all folds together."""

    kind: str
    """`channel`, `country`, `mcc_group` or `story`."""
    value: str
    n: int
    """For a story: its frauds and all good rows."""
    n_frauds: int
    average_precision: Mapping[str, float | None]
    """By model; null below the plan's fewest frauds."""
    recall: float | None
    """Of the ensemble at its thresholds."""
    precision: float | None
    """Null for a story."""


class ThresholdRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a threshold would have meant on the test days of all folds together."""

    threshold: float
    alert_rate: float
    alerts_per_day: float
    precision: float | None
    recall: float | None
    caught_per_day: float
    """Amounts of alerted frauds, major units of the base currency."""
    missed_per_day: float
    cost_per_1000: float
    is_cheapest: bool = False


class Bin(msgspec.Struct, frozen=True):
    """Rows of about equal predicted fraud."""

    predicted: float
    observed: float
    n: int


class DayGain(msgspec.Struct, frozen=True, kw_only=True):
    """One test day at the thresholds set before it, ensemble and rival."""

    day_ms: int
    n_frauds: int
    amount: float
    """Of the frauds, major units of the base currency."""
    caught: float
    caught_by_rival: float


class Curves(msgspec.Struct, frozen=True, kw_only=True):
    """Points to plot, of all folds together."""

    precision_recall: Mapping[str, list[tuple[float, float]]]
    """By model: (recall, precision), recall rising."""
    calibration: list[Bin]
    histogram: list[tuple[float, int, int]]
    """(lower end of the probability, good rows, frauds), bins of a quarter power of ten."""
    days: list[DayGain]
    rival: str
    """The model that `days` compares with."""


class CurvePoint(msgspec.Struct, frozen=True):
    """The ensemble with another length of training or another delay, on the same test windows."""

    days: int
    models: Mapping[str, Mapping[str, Summary]]
    n_folds: int


class EvaluationResult(msgspec.Struct, frozen=True, kw_only=True):
    """The whole evaluation."""

    plan: Plan
    base_currency: str
    configurations: Mapping[str, TrainingOptions]
    """The first one's models have plain names, those of the others `<configuration>/<model>`."""
    folds: list[FoldResult]
    models: Mapping[str, Mapping[str, Summary]]
    paired: Mapping[str, Mapping[str, Paired]]
    """`<a>_minus_<b>`."""
    best_member: str
    """By mean average precision."""
    segments: list[Segment]
    thresholds: list[ThresholdRow]
    curves: Curves
    learning_curve: list[CurvePoint] = []
    delay_curve: list[CurvePoint] = []
    leakage: LeakageReport | None = None
    notes: list[str] = []
    seconds: Mapping[str, float] = {}
    """Wall-clock time of each stage."""

"""What one day of answers and the labels known of it come down to: all that the quality report is made of."""

from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitoring.label_free import LabelFree

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
UNKNOWN: Final = -1
"""Amount of a transaction that is not known, or not in the base currency."""
#: Lower edges of the probability bins (the first bin begins at 0): a tenth of a logit wide, so that a bin's edge is a threshold.
EDGES: Final = 1.0 / (1.0 + np.exp(-np.arange(-120, 121) / 10))
N_BINS: Final = len(EDGES) + 1


class Answers(NamedTuple):
    """The answers of one day, each transaction once."""

    ids: NDArray[np.uint64]
    """Hashes of the transaction ids, ascending."""
    event_ms: NDArray[np.int64]
    probability: NDArray[np.float64]
    is_alert: NDArray[np.bool_]
    control_pi: NDArray[np.float64]
    """Probability with which it was drawn for the control sample; 0 = not drawn."""


class Amounts(NamedTuple):
    """Amounts of a day's transactions."""

    ids: NDArray[np.uint64]
    """Ascending."""
    amount_minor: NDArray[np.int64]
    """Base currency; UNKNOWN without a rate."""


class Verdicts(NamedTuple):
    """What is known about transactions, of any day."""

    ids: NDArray[np.uint64]
    """Ascending, each once."""
    is_fraud: NDArray[np.bool_]
    known_ms: NDArray[np.int64]
    """Since when this is the verdict: UTC, milliseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class DayFacts:
    """One UTC day of event time.

    Attributes:
        day_ms: Its midnight.
        n: Answers.
        n_alerts: Of them reviewed or declined.
        expected: Sum of the probabilities.
        expected_alerted: Sum of the alerts' probabilities.
        per_hour: int64 (24,): answers by hour.
        n_in_bin: int64 (N_BINS,): answers by probability; bin i holds EDGES[i - 1] <= p < EDGES[i].
        p_in_bin: float64 (N_BINS,): sums of their probabilities.
        event_ms, known_ms, is_alert, amount_minor, fraud_p: One entry a known fraud; `fraud_p` is its probability.
        control_pi, control_is_alert, control_is_fraud: One entry a transaction drawn for control.
        ap: Average precision against the labels known; NaN without a fraud.
        brier: Brier score against them; NaN without an answer.
    """

    day_ms: int
    n: int
    n_alerts: int
    expected: float
    expected_alerted: float
    per_hour: NDArray[np.int64]
    n_in_bin: NDArray[np.int64]
    p_in_bin: NDArray[np.float64]
    event_ms: NDArray[np.int64]
    known_ms: NDArray[np.int64]
    is_alert: NDArray[np.bool_]
    amount_minor: NDArray[np.int64]
    fraud_p: NDArray[np.float64]
    control_pi: NDArray[np.float64]
    control_is_alert: NDArray[np.bool_]
    control_is_fraud: NDArray[np.bool_]
    ap: float
    brier: float

    @property
    def label_free(self) -> LabelFree:
        """What the probabilities alone promise."""
        return LabelFree(self.expected, self.expected_alerted, self.n_alerts)

    def encode(self) -> bytes:
        """Return the facts as MessagePack, arrays as their bytes."""
        return msgspec.msgpack.encode({
            field.name: (value.dtype.str, value.tobytes()) if isinstance(value := getattr(self, field.name), np.ndarray) else value
            for field in fields(self)
        })  # fmt: skip

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Return the facts that `encode` wrote.

        Raises:
            msgspec.MsgspecError, KeyError, TypeError, ValueError: It did not write them.
        """
        found: dict[str, Any] = msgspec.msgpack.decode(content)
        values: dict[str, Any] = {
            field.name: np.frombuffer(value[1], value[0]) if isinstance(value := found[field.name], list) else value
            for field in fields(cls)
        }  # fmt: skip
        return cls(**values)


def facts_of(day_ms: int, answers: Answers, amounts: Amounts, verdicts: Verdicts) -> DayFacts:
    """Return the facts of a day. Frauds that became known at or before their event do not count, as in training."""
    p = answers.probability
    verdict, has_verdict = _places(verdicts.ids, answers.ids)
    is_fraud = np.zeros(len(p), np.bool_)
    is_fraud[has_verdict] = verdicts.is_fraud[verdict] & (verdicts.known_ms[verdict] > answers.event_ms[has_verdict])
    known_ms = np.zeros(len(p), np.int64)
    known_ms[has_verdict] = verdicts.known_ms[verdict]
    bins = bins_of(p)
    expected = LabelFree.of(p, answers.is_alert)
    drawn = answers.control_pi > 0.0
    return DayFacts(
        day_ms=day_ms,
        n=len(p),
        n_alerts=expected.n_alerts,
        expected=expected.frauds,
        expected_alerted=expected.frauds_alerted,
        per_hour=np.bincount((answers.event_ms - day_ms) // HOUR_MS, minlength=24).astype(np.int64),
        n_in_bin=np.bincount(bins, minlength=N_BINS).astype(np.int64),
        p_in_bin=np.bincount(bins, weights=p, minlength=N_BINS).astype(np.float64),
        event_ms=answers.event_ms[is_fraud],
        known_ms=known_ms[is_fraud],
        is_alert=answers.is_alert[is_fraud],
        amount_minor=_amounts(amounts, answers.ids[is_fraud]),
        fraud_p=p[is_fraud],
        control_pi=answers.control_pi[drawn],
        control_is_alert=answers.is_alert[drawn],
        control_is_fraud=is_fraud[drawn],
        ap=average_precision(p, p[is_fraud]),
        brier=float(np.mean((p - is_fraud) ** 2)) if len(p) else float("nan"),
    )


def bins_of(p: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the bin of each probability."""
    return np.searchsorted(EDGES, p, side="right")


def average_precision(p: NDArray[np.float64], p_frauds: NDArray[np.float64]) -> float:
    """Return the mean over the frauds of the precision at their probability; NaN without a fraud.

    The same number as scikit-learn's average_precision_score, ties included, sorting no labels.

    >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([0.9, 0.7]))
    0.8333333333333333
    """
    if not len(p_frauds):
        return float("nan")
    rows, frauds = np.sort(p), np.sort(p_frauds)
    at_or_above = len(rows) - np.searchsorted(rows, frauds, side="left")
    hits = len(frauds) - np.searchsorted(frauds, frauds, side="left")
    return float(np.mean(hits / at_or_above))


def _amounts(amounts: Amounts, ids: NDArray[np.uint64]) -> NDArray[np.int64]:
    found = np.full(len(ids), UNKNOWN, np.int64)
    place, is_known = _places(amounts.ids, ids)
    found[is_known] = amounts.amount_minor[place]
    return found


def _places(known: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return places in `known` and in `wanted` of the ids that are in both; `known` ascends."""
    if not len(known):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    is_known = np.flatnonzero(known[place] == wanted)
    return place[is_known], is_known

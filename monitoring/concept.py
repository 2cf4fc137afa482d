"""Whether alerts are still right: ADWIN on the outcomes of alerts (Bifet and Gavalda, 2007)."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

DELTA: Final = 0.002
"""Bound of the probability of a false alarm at each test."""


class ConceptChange(NamedTuple):
    """The share of right alerts has changed."""

    time_ms: int
    """Event time of the alert that showed it."""
    since_ms: int
    """Event time of the first alert after the change, as far as can be told."""
    precision_before: float
    precision_now: float
    n_alerts: int
    """Alerts since the change."""


class Alerts(NamedTuple):
    """Alerts of one model and policy, one row each."""

    time_ms: NDArray[np.int64]
    """Event time."""
    fraud_label_ms: NDArray[np.int64]
    """When it was reported as fraud; -1: it was not."""


def matured_outcomes(alerts: Alerts, *, maturity_ms: int, now_ms: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (event times, outcomes) of the alerts at least `maturity_ms` old, by event time: int64 (n,) each.

    The outcome is 1 if the alert was reported as fraud within `maturity_ms` of its event, else 0: an alert that nobody
    labelled counts as wrong at maturity, never earlier, and a later report changes nothing. So the same alerts give the
    same outcomes whenever one looks.

    >>> alerts = Alerts(np.array([20, 10, 95]), np.array([-1, 30, 96]))
    >>> [column.tolist() for column in matured_outcomes(alerts, maturity_ms=50, now_ms=100)]
    [[10, 20], [1, 0]]
    """
    is_mature = alerts.time_ms + maturity_ms <= now_ms
    time_ms, label_ms = alerts.time_ms[is_mature], alerts.fraud_label_ms[is_mature]
    order = np.argsort(time_ms, kind="stable")
    is_fraud = (label_ms >= 0) & (label_ms <= time_ms + maturity_ms)
    return time_ms[order], is_fraud[order].astype(np.int64)


def concept_changes(time_ms: NDArray[np.int64], outcomes: NDArray[np.int64], *, delta: float = DELTA) -> Iterator[ConceptChange]:
    """Yield every change of the share of ones, in order, as the outcomes are gone through one by one.

    Begin with the first outcome of a model and policy: another model's alerts have another precision.

    Args:
        time_ms: Event times, ascending.
        outcomes: 0 or 1, as `matured_outcomes` returns them.
        delta: ADWIN's confidence.
    """
    from river.drift import ADWIN

    adwin = ADWIN(delta=delta)  # type: ignore[no-untyped-call] # river's types are partial
    for place, outcome in enumerate(outcomes.tolist()):
        n_before = int(adwin.width)
        adwin.update(outcome)  # type: ignore[no-untyped-call] # river's types are partial
        if adwin.drift_detected:
            window = outcomes[place - n_before : place + 1]
            cut = _cut(window)
            since = place - n_before + cut
            before, now = float(window[:cut].mean()), float(window[cut:].mean())
            yield ConceptChange(int(time_ms[place]), int(time_ms[since]), before, now, len(window) - cut)


def _cut(window: NDArray[np.int64]) -> int:
    """Return where the share most likely changed, in [1, len - 1]: the farthest point of the cumulative sum (Page, 1954).

    ADWIN forgets in steps, so that what it keeps still holds much of the past.
    """
    drawn = np.cumsum(window - window.mean())[:-1]
    return int(np.argmax(np.abs(drawn))) + 1

"""An incident in words: what changed, by how much, what it weighs, what it does to the score, what to do."""

from collections.abc import Iterable
from typing import Final, Literal, TypedDict

from monitoring.concept import ConceptChange
from monitoring.drift_report import DriftReport, FeatureDrift
from monitoring.profile import SCORE
from monitoring.rate_test import rate_sentence

Kind = Literal["feature_drift", "missing", "score_drift", "alert_rate", "concept"]
Severity = Literal["attention", "alarm"]

HEAVY: Final = 0.1
"""Share of the model that makes a change of its features an alarm by itself."""
_MOST_NAMED: Final = 3
_ADVICE: Final = {
    "feature_drift": "Find out whether the world or a sender has changed; if it stays, train a candidate on days after the change.",
    "missing": "Ask the sender of the field: the model decides without it meanwhile.",
    "score_drift": "Look at the features that changed with it and at the alert rate; check precision as labels arrive.",
    "alert_rate": "Look at the newest alerts: an attack, or harmless traffic that the model does not know? Mind the reviewers' load.",
    "concept": "Fraud or customers behave differently: train a candidate on the newest matured days.",
}


class Told(TypedDict):
    """The words of an incident."""

    severity: Severity
    sentence: str
    advice: str


class Words:
    """Tells incidents from the evaluation that raised them."""

    def __init__(self, report: DriftReport, concept: ConceptChange | None) -> None:
        self._report = report
        self._concept = concept
        self._weight = {row.feature: row.importance for row in report.features}

    def by_importance(self, features: Iterable[str]) -> tuple[str, ...]:
        """Return the named features, the weightiest first."""
        return tuple(sorted((name for name in features if name), key=lambda name: (-self._weight.get(name, 0.0), name)))

    def tell(self, kind: Kind, features: Iterable[str]) -> Told:
        """Return severity, sentence and advice of an incident with these features."""
        names = self.by_importance(features)
        weight = sum(self._weight.get(name, 0.0) for name in names)
        is_alarm = kind in {"score_drift", "alert_rate", "concept"} or weight >= HEAVY or self._score_row(is_significant=True) is not None
        return Told(severity="alarm" if is_alarm else "attention", sentence=self._sentence(kind, names, weight), advice=_ADVICE[kind])

    def _sentence(self, kind: Kind, names: tuple[str, ...], weight: float) -> str:
        if kind == "concept":
            return self._concept_sentence()
        if kind == "alert_rate":
            return self._rate_sentence()
        row = self._strongest(names, kind)
        told = _listed(names) + (" has" if len(names) == 1 else " have")
        what = told + (" gone missing more often or less often. " if kind == "missing" else " changed. ")
        if row is not None:
            what += _missing(row) if kind == "missing" else _moved(row)
        return what + ("" if kind == "score_drift" else self._effect(weight))

    def _strongest(self, names: tuple[str, ...], kind: Kind) -> FeatureDrift | None:
        """Return the row that shows the change most clearly, a significant one before others."""

        def clarity(row: FeatureDrift) -> tuple[bool, bool, float]:
            if kind == "missing":
                return row.is_missing_significant, True, abs((row.missing_rate or 0.0) - (row.missing_rate_reference or 0.0))
            return row.is_significant, row.is_alarmable, (row.psi or 0.0) / (row.psi_limit or 1.0)

        return max((row for row in self._report.features if row.feature in names), key=clarity, default=None)

    def _score_row(self, *, is_significant: bool) -> FeatureDrift | None:
        rows = [row for row in self._report.features if row.feature == SCORE and row.psi is not None]
        rows = [row for row in rows if row.is_significant or not is_significant]
        return max(rows, key=lambda row: (row.psi or 0.0) / (row.psi_limit or 1.0), default=None)

    def _effect(self, weight: float) -> str:
        """Return what the features weigh and whether the score moved with them."""
        known = f" {weight:.0%} of the model rests on what changed.".replace("%", " %", 1) if weight else ""
        moved, still = self._score_row(is_significant=True), self._score_row(is_significant=False)
        if moved is not None:
            return f"{known} The score has moved, too (PSI {moved.psi:.2f} over the last {moved.window})."
        return known + (" The score has not moved beyond its noise." if still is not None else "")

    def _rate_sentence(self) -> str:
        rates = [rate for rate in self._report.alert_rate if rate.rate is not None and rate.rate_past]
        if not rates:
            return "The alert rate has changed."
        rate = min(rates, key=lambda one: (not one.is_significant, one.p_value if one.p_value is not None else 1.0))
        return f"The alert rate has changed: {rate_sentence(rate.window, rate.rate or 0.0, rate.rate_past or 0.0)}."

    def _concept_sentence(self) -> str:
        found = self._concept
        if found is None:
            return "Alerts are right less often, or more often, than before."
        word = "less" if found.precision_now < found.precision_before else "more"
        shares = f"{found.precision_now:.0%} of the last {found.n_alerts} matured alerts, {found.precision_before:.0%} before"
        return f"Alerts are right {word} often than before: {shares}.".replace("%", " %")


def _listed(names: tuple[str, ...]) -> str:
    """Return the first names, and how many more there are.

    >>> _listed(("a", "b", "c", "d", "e"))
    'a, b, c and 2 more'
    """
    if len(names) <= 1:
        return "".join(names)
    if len(names) <= _MOST_NAMED:
        return f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{', '.join(names[:_MOST_NAMED])} and {len(names) - _MOST_NAMED} more"


def _against(row: FeatureDrift) -> str:
    return "in training" if row.reference == "training" else "in the same hours of the last 4 weeks"


def _missing(row: FeatureDrift) -> str:
    now, before = row.missing_rate or 0.0, row.missing_rate_reference or 0.0
    found = f"{row.feature} is missing in {now:.1%} of the transactions of the last {row.window}, {before:.1%} {_against(row)}."
    return found.replace("%", " %")


def _moved(row: FeatureDrift) -> str:
    limit = f", noise up to {row.psi_limit:.2f}" if row.psi_limit is not None else ""
    found = f"{row.feature} over the last {row.window}: PSI {row.psi or 0.0:.2f}{limit}"
    move = row.move
    if move is None:
        return found + "."
    low, high = move.low, move.high
    where = f"above {low:.4g}" if high is None else f"up to {high:.4g}" if low is None else f"above {low:.4g} up to {high:.4g}"
    return f"{found}; {move.share_now:.0%} of its values are {where}, {move.share_before:.0%} {_against(row)}.".replace("%", " %")

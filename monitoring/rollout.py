"""A challenger against the champion while both score all traffic: frauds that only one of them catches, at equal alert rates.

The unit is a day (UTC) of event time, counted once, when it has matured; so the evidence depends on the answers and labels
alone, never on when somebody looked. At most COMPARED_DAYS looks are taken: with both models equally good a comparison
stops, for whichever, in less than 5 % of cases (`monitoring.sequential.chance_of_stopping`).
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitoring.sequential import ENOUGH, e_value

COMPARED_DAYS: Final = 28
"""Days after which an undecided comparison ends."""
MOST_UNEQUAL: Final = 0.05
"""Largest relative difference of the numbers of alerts at which a day is compared."""
Verdict = Literal["running", "promote", "roll_back", "inconclusive"]


class BothScored(NamedTuple):
    """The transactions of one day that both models scored in tier full, one row each."""

    champion: NDArray[np.float64]
    """Probability, (n,)."""
    challenger: NDArray[np.float64]
    """Probability, (n,)."""
    card: NDArray[np.uint64]
    """A number that stands for the card, (n,)."""
    event_ms: NDArray[np.int64]
    is_fraud: NDArray[np.bool_]
    """Known as fraud when it had matured."""


class ComparedDay(msgspec.Struct, frozen=True):
    """What one matured day adds."""

    day_ms: int
    """Its midnight, UTC, ms since the epoch."""
    n_rows: int
    n_champion_alerts: int
    n_challenger_alerts: int
    """As many as the champion's, up to equal scores."""
    n_frauds: int
    """Known ones, alerted by either model or by none."""
    n_both: int
    """Frauds that both caught."""
    n_champion_only: int
    """Cards with a fraud that the champion alone caught; a card counts once in a comparison, by its first such fraud."""
    n_challenger_only: int
    is_comparable: bool = True
    """The alert rates could be made equal; else nothing of the day counts."""


class Comparison(msgspec.Struct, frozen=True):
    """The days compared so far, oldest first."""

    days: tuple[ComparedDay, ...] = ()
    cards: frozenset[int] = frozenset()
    """Those that have counted."""

    def add(self, day_ms: int, rows: BothScored, threshold: float) -> "Comparison":
        """Return the comparison with another day.

        Args:
            day_ms: Its midnight; later than those before.
            rows: Of that day, matured.
            threshold: From which on the champion alerts; the challenger's is where it alerts as often on this day.
        """
        day, cards = compared(day_ms, rows, threshold, self.cards)
        return Comparison((*self.days, day), self.cards | cards)

    def evidence(self) -> "Evidence":
        """Return what the days say together."""
        return evidence_of(self.days)


class Evidence(msgspec.Struct, frozen=True):
    """Sums of the comparable days, and what they are worth."""

    n_days: int
    """Compared or not: looks taken."""
    n_rows: int
    n_champion_alerts: int
    n_challenger_alerts: int
    n_frauds: int
    n_both: int
    n_champion_only: int
    n_challenger_only: int
    e_promote: float
    """E-value that the challenger is better."""
    e_roll_back: float
    """E-value that the champion is."""
    verdict: Verdict


def compared(day_ms: int, rows: BothScored, threshold: float, counted: AbstractSet[int]) -> tuple[ComparedDay, frozenset[int]]:
    """Return what a day adds, and the cards that count for the first time.

    Both models get the same number of alerts: each its own highest scores of the day.

    Args:
        day_ms: Its midnight.
        rows: Of that day, matured.
        threshold: From which on the champion alerts.
        counted: Cards that have counted before.
    """
    by_champion = rows.champion >= threshold
    by_challenger = highest(rows.challenger, int(by_champion.sum()))
    n_champion, n_challenger = int(by_champion.sum()), int(by_challenger.sum())
    is_comparable = abs(n_challenger - n_champion) <= MOST_UNEQUAL * n_champion
    one_only = np.flatnonzero(rows.is_fraud & (by_champion != by_challenger)) if is_comparable else np.empty(0, np.intp)
    first: dict[int, bool] = {}
    for row in one_only[np.argsort(rows.event_ms[one_only], kind="stable")].tolist():
        card = int(rows.card[row])
        if card not in counted:
            first.setdefault(card, bool(by_challenger[row]))
    n_for = sum(first.values())
    n_both = int((rows.is_fraud & by_champion & by_challenger).sum())
    day = ComparedDay(
        day_ms, len(rows.champion), n_champion, n_challenger, int(rows.is_fraud.sum()), n_both, len(first) - n_for, n_for, is_comparable
    )
    return day, frozenset(first)


def highest(scores: NDArray[np.float64], n: int) -> NDArray[np.bool_]:
    """Return which rows are the `n` highest; equal scores stay together, on the side that comes nearer to `n`.

    >>> highest(np.array([0.1, 0.9, 0.5]), 2).tolist()
    [False, True, True]
    """
    if n <= 0 or not len(scores):
        return np.zeros(len(scores), np.bool_)
    cut = np.partition(scores, -min(n, len(scores)))[-min(n, len(scores))]
    with_ties, without = scores >= cut, scores > cut
    found: NDArray[np.bool_] = with_ties if int(with_ties.sum()) - n <= n - int(without.sum()) else without
    return found


def evidence_of(days: Sequence[ComparedDay]) -> Evidence:
    """Return the evidence of some days; days after the one that decided change nothing."""
    found = _sums(())
    for n_days in range(1, len(days) + 1):
        found = _sums(days[:n_days])
        if found.verdict != "running":
            break
    return found


def evidence_sentence(found: Evidence) -> str:
    """Return the evidence in words, without a verdict."""
    alerts = f"{found.n_champion_alerts:,} alerts each" if found.n_champion_alerts else "no alert yet"
    return (
        f"{found.n_days} matured {'day' if found.n_days == 1 else 'days'} of {found.n_rows:,} transactions that both scored, {alerts}: "
        f"the challenger alone caught fraud on {found.n_challenger_only} {_cards(found.n_challenger_only)}, "
        f"the champion alone on {found.n_champion_only}, both caught {found.n_both} of {found.n_frauds} frauds"
    )


def verdict_sentence(found: Evidence) -> str:
    """Return the evidence and what follows from it, in words."""
    said = evidence_sentence(found)
    match found.verdict:
        case "promote":
            return f"{said}; the evidence for the challenger is {shown(found.e_promote)} to 1 ({ENOUGH:g} is enough)"
        case "roll_back":
            return f"{said}; the evidence for the champion is {shown(found.e_roll_back)} to 1 ({ENOUGH:g} is enough)"
        case "inconclusive":
            return (
                f"{said}; after {found.n_days} days neither is shown to be better "
                f"(evidence {shown(found.e_promote)} to 1 for the challenger, {shown(found.e_roll_back)} to 1 for the champion)"
            )
        case "running":
            return (
                f"{said}; the evidence is {shown(found.e_promote)} to 1 for the challenger, "
                f"{shown(found.e_roll_back)} to 1 for the champion; {ENOUGH:g} decides"
            )


def shown(e: float) -> str:
    """Return an E-value as people read it.

    >>> [shown(0.0123), shown(3.14159), shown(57.3), shown(1234567.0), shown(1e20)]
    ['0.01', '3.14', '57', '1,234,567', 'over a billion']
    """
    if e > 1e9:
        return "over a billion"
    return f"{e:.2f}" if e < 10 else f"{e:,.0f}"


def _cards(n: int) -> str:
    return "card" if n == 1 else "cards"


def _sums(days: Sequence[ComparedDay]) -> Evidence:
    good = [day for day in days if day.is_comparable]
    n_champion, n_challenger = sum(day.n_champion_only for day in good), sum(day.n_challenger_only for day in good)
    e_promote, e_roll_back = e_value(n_challenger, n_champion), e_value(n_champion, n_challenger)
    verdict: Verdict = "running"
    if e_promote >= ENOUGH:
        verdict = "promote"
    elif e_roll_back >= ENOUGH:
        verdict = "roll_back"
    elif len(days) >= COMPARED_DAYS:
        verdict = "inconclusive"
    return Evidence(
        n_days=len(days), n_rows=sum(day.n_rows for day in good), n_champion_alerts=sum(day.n_champion_alerts for day in good),
        n_challenger_alerts=sum(day.n_challenger_alerts for day in good), n_frauds=sum(day.n_frauds for day in good),
        n_both=sum(day.n_both for day in good), n_champion_only=n_champion, n_challenger_only=n_challenger, e_promote=e_promote,
        e_roll_back=e_roll_back, verdict=verdict,
    )  # fmt: skip

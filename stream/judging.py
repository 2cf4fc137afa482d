"""What a lineup says about a chunk: probabilities, outcomes, and what the model that does not decide would have said. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.decision import Outcome, Reason, Shadow, Tier
from features.batch import Batch
from stream.lineup import Lineup, Release, Scorer, model_of, release_of

_NOBODY: Final = np.empty(0, np.intp)


class Judged(NamedTuple):
    """One entry for each row."""

    probabilities: NDArray[np.float64]
    """(n,), calibrated, of the model that answers the row."""
    outcomes: list[Outcome]
    challenged: NDArray[np.intp]
    """Rows that the challenger answers, ascending."""
    shadows: list[Shadow] | None = None
    """What the other model says; None: it was not asked."""
    shadow_outcomes: list[Outcome] | None = None


def judge(lineup: Lineup, card_ids: Sequence[str | None], vectors: NDArray[np.float32], tier: Tier) -> Judged:
    """Let a lineup answer a chunk in one tier.

    In the full tier both models of a rollout score every row, so that they can be compared; in the others, where time or
    state is short, each row is scored by the model that answers it and by no other.

    Args:
        lineup: Who answers.
        card_ids: Of the rows.
        vectors: float32 (n, n_features).
        tier: Of every answer.
    """
    champion, challenger = lineup.champion, lineup.challenger
    if challenger is None:
        probabilities = champion.score(vectors, tier=tier)
        return Judged(probabilities, champion.decide(probabilities, tier), _NOBODY)
    challenged = lineup.challenged(card_ids)
    if tier is not Tier.FULL:
        return _apart(champion, challenger, challenged, vectors, tier)
    ours, theirs = champion.score(vectors), challenger.score(vectors)
    outcomes, others = champion.decide(ours, tier), challenger.decide(theirs, tier)
    names = [model_of(challenger)] * len(ours)
    if len(challenged):
        ours[challenged], theirs[challenged] = theirs[challenged], ours[challenged]
        for row in challenged.tolist():
            outcomes[row], others[row], names[row] = others[row], outcomes[row], model_of(champion)
    shadows = [Shadow(name, probability) for name, probability in zip(names, theirs.tolist(), strict=True)]
    return Judged(ours, outcomes, challenged, shadows, others)


def _apart(champion: Scorer, challenger: Scorer, challenged: NDArray[np.intp], vectors: NDArray[np.float32], tier: Tier) -> Judged:
    probabilities = np.empty(len(vectors))
    is_theirs = np.zeros(len(vectors), np.bool_)
    is_theirs[challenged] = True
    found: dict[int, Outcome] = {}
    for scorer, rows in ((champion, np.flatnonzero(~is_theirs)), (challenger, challenged)):
        probabilities[rows] = scored = scorer.score(vectors[rows], tier=tier)
        found.update(zip(rows.tolist(), scorer.decide(scored, tier), strict=True))
    return Judged(probabilities, [found[row] for row in range(len(vectors))], challenged)


def releases_of(lineup: Lineup, judged: Judged, batch: Batch, vectors: NDArray[np.float32]) -> dict[int, Release]:
    """Apply the rules to the outcomes; return by what the rows are answered that the champion's model does not answer alone.

    Args:
        lineup: That judged.
        judged: Its outcomes are changed where a rule decides.
        batch: The transactions as columns.
        vectors: float32 (n, n_features).
    """
    found: dict[int, Release] = {}
    if lineup.challenger is not None and len(judged.challenged):
        found = dict.fromkeys(judged.challenged.tolist(), release_of(lineup.challenger, "challenger"))
    theirs = frozenset(found)
    for variant, scorer in lineup.scorers:
        if not scorer.rules:
            continue
        ruled = scorer.rules.apply(batch, vectors, judged.outcomes)
        for row, rule in ruled.rules.items():
            if (row in theirs) == (variant == "challenger"):
                judged.outcomes[row] = ruled.outcomes[row]
                found[row] = release_of(scorer, variant, rule)
    return found


def reasons_of(
    lineup: Lineup, judged: Judged, vectors: NDArray[np.float32], rows: Sequence[int], *, budget_ms: float
) -> dict[int, tuple[Reason, ...]]:
    """Return the reasons of rows, each by the model that answered it; the models share the budget."""
    theirs = set(judged.challenged.tolist())
    found: dict[int, tuple[Reason, ...]] = {}
    for variant, scorer in lineup.scorers:
        mine = [row for row in rows if (row in theirs) == (variant == "challenger")]
        if mine:
            share_ms = budget_ms * len(mine) / len(rows)
            found.update(zip(mine, scorer.reasons(vectors[mine], budget_ms=share_ms), strict=True))
    return found

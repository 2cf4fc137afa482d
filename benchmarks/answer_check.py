"""Proof that no answer mixes models: each is computed again from the logged vector by the model that it names."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.sibling import scorer_of
from domain.decision import Score
from service.settings import Settings
from service.wiring import registry_of, verifying_key_of

Place = tuple[int, int]
"""Partition and offset of a transaction."""


class Checked(NamedTuple):
    """What was found."""

    n_answers: int
    n_repeated: int
    """Answers that came a second time, to the last byte but the time: after a lost connection that is allowed."""
    n_different: int
    """Second answers that are not the first one, nor make good one of an outage (flag `restated`)."""
    n_mixed: int
    """Answers whose probability is not that of the model, in the tier, that they name: to the last bit."""
    sequences: dict[int, list[str]]
    """Partition -> the models that answered it, in the order of their first answers after one another."""


def check_answers(settings: Settings, scores: Iterable[Score], vectors: dict[Place, NDArray[np.float32]]) -> Checked:
    """Check the answers of a stream in which every vector was logged and no transaction was sent twice.

    Args:
        settings: Of the installation.
        scores: As on the topic.
        vectors: As logged, by place.
    """
    answers: dict[Place, Score] = {}
    n_repeated = n_different = 0
    for score in scores:
        first = answers.setdefault(score.source, score)
        if first is not score and "restated" not in score.flags:
            is_same = msgspec.structs.replace(first, scored_at_ms=score.scored_at_ms) == score
            n_repeated, n_different = n_repeated + is_same, n_different + (not is_same)
    parts: dict[tuple[str, str], list[Score]] = {}
    for score in answers.values():
        parts.setdefault((score.model, score.tier), []).append(score)
    n_mixed = sum(_n_other(settings, part, vectors) for part in parts.values())
    return Checked(len(answers), n_repeated, n_different, n_mixed, _sequences(answers))


def _n_other(settings: Settings, part: Sequence[Score], vectors: dict[Place, NDArray[np.float32]]) -> int:
    """Return how many answers of one model and tier it does not give."""
    scorer = scorer_of(registry_of(settings), part[0].model, verifying_key_of(settings))
    expected = scorer.score(np.stack([vectors[score.source] for score in part]), tier=part[0].tier)
    return int((np.array([score.probability for score in part]) != expected).sum())


def _sequences(answers: dict[Place, Score]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for partition in {partition for partition, _ in answers}:
        models = [answers[place].model for place in sorted(answers) if place[0] == partition]
        found[partition] = models[:1] + [after for before, after in pairwise(models) if before != after]
    return found

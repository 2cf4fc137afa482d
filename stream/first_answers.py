"""First answers: noted for duplicates that come later, and given to them again."""

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from domain.decision import FLAG_BITS, Flag
from features.batch import Batch
from features.index import ANSWER, OUTCOME_CODES, TIER_CODES, FirstAnswer, decode_answer, split_answers
from features.store import Observed
from stream.answered import Answered
from stream.control import Control
from stream.lineup import Lineup, Release

#: Chunks whose answers are known here before the decision index tells them.
_RECENT_CHUNKS: Final = 64


class Index(Protocol):
    """The decision index; see `features.store.FeatureStore`."""

    async def release(self, name: str) -> int:
        """Return the number of a release."""
        ...

    def answered(self, claims: Sequence[bytes], sources: NDArray[np.int64], answers: Sequence[bytes]) -> None:
        """Note first answers."""
        ...


class FirstAnswers:
    """Notes what a chunk was answered, here and in the decision index.

    Guarantee: a producer's duplicate gets the first answer with everything that gave it (model, policy, variant, rule), also
    when another lineup answers by then.
    """

    def __init__(self, index: Index, control: Control) -> None:
        self._index = index
        self._control = control
        self._numbers: dict[Release, int] = {}
        self._names: dict[int, Release] = {}
        self._prepared: Lineup | None = None
        self._recent: deque[tuple[NDArray[np.int64], list[bytes]]] = deque(maxlen=_RECENT_CHUNKS)

    async def prepare(self, lineup: Lineup) -> None:
        """Learn the numbers of what a lineup's answers are given by; at once if that is known.

        Raises:
            Unavailable: Prepare again.
        """
        if lineup is self._prepared:
            return
        for release in lineup.releases:
            if release not in self._numbers:
                number = await self._index.release(release.encode())
                self._numbers[release], self._names[number] = number, release
        self._prepared = lineup

    def note(self, batch: Batch, observed: Observed, answers: Answered) -> None:
        """Remember the first answers of a chunk; duplicates are none."""
        table = np.zeros(len(answers.outcomes), ANSWER)
        table["tier"] = TIER_CODES[answers.tiers[0]]
        table["outcome"] = [OUTCOME_CODES[outcome] for outcome in answers.outcomes]
        table["flags"], table["release"], table["probability"] = observed.flags, self._numbers[answers.release], answers.probabilities
        for row, release in answers.releases.items():
            table["release"][row] = self._numbers[release]
        sources, claims, content = batch.source, observed.claims, split_answers(table)
        if observed.duplicates:
            first = [i for i in range(len(claims)) if i not in observed.duplicates]
            sources, claims, content = sources[first], [claims[i] for i in first], [content[i] for i in first]
        self._index.answered(claims, sources, content)
        self._recent.append((sources, content))

    def repeat(self, observed: Observed, answers: Answered) -> None:
        """Give duplicates the first answer, without another alert; where it is lost, they keep one without state."""
        for row, duplicate in observed.duplicates.items():
            first = duplicate.first.answer or self._recent_answer(duplicate.first.source)
            if first is None:
                answers.flags[row] |= FLAG_BITS[Flag.REPLAY_APPROX]
                continue
            answers.probabilities[row], answers.outcomes[row], answers.tiers[row] = first.probability, first.outcome, first.tier
            answers.flags[row] = first.flags | FLAG_BITS[Flag.DUPLICATE]
            self._control.draw_again(answers.drawn, row, first)
            release = Release.decode(duplicate.release) if duplicate.release else self._names.get(first.release)
            if release is not None:
                answers.releases[row] = release

    def _recent_answer(self, source: int) -> FirstAnswer | None:
        for sources, content in reversed(self._recent):
            found = np.flatnonzero(sources == source)
            if len(found):
                return decode_answer(content[found[0]])
        return None

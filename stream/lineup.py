"""Who answers: the champion, perhaps a challenger beside it, and for which cards. Pure."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from domain.decision import Outcome, Reason, Tier, Variant
from models.rules import Rules
from monitoring.control_sample import uniform
from monitoring.profile import Profile

Mode = Literal["shadow", "canary"]


class Scorer(Protocol):
    """What scores vectors and decides under one policy; see `models.scorer.Scorer`."""

    @property
    def name(self) -> str: ...  # noqa: D102 - of the model

    @property
    def version(self) -> str: ...  # noqa: D102 - of the model

    @property
    def spec(self) -> str:
        """Feature fingerprint."""
        ...

    @property
    def policy_version(self) -> str:
        """Version of the policy that decides."""
        ...

    @property
    def rules(self) -> Rules:
        """Lists and limits of that policy."""
        ...

    @property
    def profile(self) -> Profile:
        """Of its training: what monitoring compares with."""
        ...

    def score(self, vectors: NDArray[np.float32], *, tier: Tier = Tier.FULL) -> NDArray[np.float64]:
        """Return calibrated probabilities, (n,)."""
        ...

    def decide(self, probabilities: NDArray[np.float64], tier: Tier) -> list[Outcome]:
        """Return the outcome of each."""
        ...

    def reasons(self, vectors: NDArray[np.float32], *, budget_ms: float) -> list[tuple[Reason, ...]]:
        """Return the reasons of alerts."""
        ...


class Release(NamedTuple):
    """By what an answer was given. Noted with it in the decision index, so that a duplicate of it says the same."""

    model: str
    """`name@version`."""
    policy: str
    variant: Variant = "champion"
    rule: str = ""
    """The list or limit that decided; empty: none did."""

    def encode(self) -> str:
        """Return it as one line; the champion without a rule is `model policy`, as it always was.

        >>> Release.decode(Release("m@1", "p", "challenger", "night limit").encode()).rule
        'night limit'
        """
        return " ".join(self[:2] if self[2:] == ("champion", "") else self)

    @classmethod
    def decode(cls, line: str) -> "Release":
        """Return what `encode` wrote."""
        model, policy, *rest = line.split(" ", 3)
        if not rest:
            return cls(model, policy)
        return cls(model, policy, "challenger" if rest[0] == "challenger" else "champion", rest[1] if len(rest) > 1 else "")


class Lineup(NamedTuple):
    """Who answers a chunk. A chunk is answered by one lineup from end to end."""

    champion: Scorer
    challenger: Scorer | None = None
    mode: Mode = "shadow"
    """Shadow: the challenger decides nothing. Canary: it answers `percent` of the cards."""
    percent: float = 0.0
    started_ms: int = 0
    """When the rollout began: other cards are drawn for each rollout, and the same cards, and more, when its share grows."""

    @property
    def scorers(self) -> tuple[tuple[Variant, Scorer], ...]:
        """Who may answer, by variant."""
        if self.challenger is None or self.mode == "shadow":
            return (("champion", self.champion),)
        return ("champion", self.champion), ("challenger", self.challenger)

    @property
    def releases(self) -> Iterator[Release]:
        """Everything that an answer may be given by."""
        for variant, scorer in self.scorers:
            yield release_of(scorer, variant)
            rules = scorer.rules
            names = [rule.name for rule in rules.lists]
            names += [rule.name for rule in rules.amounts] + [rule.name for rule in rules.velocities]
            yield from (release_of(scorer, variant, name) for name in names)

    def challenged(self, card_ids: Sequence[str | None]) -> NDArray[np.intp]:
        """Return the rows that the challenger answers, ascending. A card's transactions have one answerer as long as the rollout lasts.

        >>> Lineup(None, None).challenged(["a", "b"]).tolist()
        []
        """
        if self.challenger is None or self.mode == "shadow":
            return np.empty(0, np.intp)
        drawn = uniform([card_id or "" for card_id in card_ids], b"weir canary %d" % self.started_ms)
        return np.flatnonzero(drawn * 100.0 < self.percent)


def release_of(scorer: Scorer, variant: Variant = "champion", rule: str = "") -> Release:
    """Return by what a scorer's answers are given."""
    return Release(model_of(scorer), scorer.policy_version, variant, rule)


def model_of(scorer: Scorer) -> str:
    """Return `name@version`."""
    return f"{scorer.name}@{scorer.version}"

"""Readable reasons: contributions grouped into families, each with a stable code and one sentence."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.decision import Reason
from features.spec import FEATURES
from models.vocabulary import CODES, Facts, sentence

MOST_REASONS: Final = 5
_FAMILIES: Final = tuple(dict.fromkeys(CODES))
_FAMILY_OF_COLUMN: Final = np.array([_FAMILIES.index(code) for code in CODES])


class Reasons:
    """Turns contributions into reasons.

    Args:
        major: Minor units of one major unit of the base currency.
        maturity_days: Age at which a transaction counts as good; label windows reach that much further back.
    """

    def __init__(self, major: int, maturity_days: int) -> None:
        self._major, self._maturity_days = major, maturity_days

    def of(self, vector: NDArray[np.float32], contributions: NDArray[np.float32]) -> tuple[Reason, ...]:
        """Return at most five reasons, the strongest first; only what raised the score.

        Features that say the same are one reason: its contribution is their sum, its feature the strongest known one.

        Args:
            vector: Raw vector, float32 (N_FEATURES,).
            contributions: In log odds, float32 (N_FEATURES,).
        """
        totals = np.bincount(_FAMILY_OF_COLUMN, weights=contributions, minlength=len(_FAMILIES))
        strongest = np.argsort(-totals, kind="stable")[:MOST_REASONS]
        return tuple(self._reason(int(family), vector, contributions, float(totals[family])) for family in strongest if totals[family] > 0)

    def _reason(self, family: int, vector: NDArray[np.float32], contributions: NDArray[np.float32], total: float) -> Reason:
        columns = np.flatnonzero(family == _FAMILY_OF_COLUMN)
        order = columns[np.argsort(-contributions[columns], kind="stable")]
        known = [column for column in order if not math.isnan(vector[column]) and contributions[column] > 0]
        column = int(known[0] if known else order[0])
        facts = Facts(vector, self._major, self._maturity_days)
        said = sentence(column, facts)
        value = float(vector[column])
        return Reason(
            code=_FAMILIES[family],
            text=said.text,
            feature=FEATURES[column].name,
            value=None if math.isnan(value) else value,
            usual=said.usual,
            contribution=round(total, 4),
        )

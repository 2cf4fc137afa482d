"""Are good customers of one group stopped more often than the others? False-positive rates, group against rest.

Groups are columns of the history, also fields of `extra` (`extra.region`); they never enter a model. Measured at the threshold
that was set before the rows. Errors by bootstrap of cards, the same draws for both models.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from domain.errors import ConfigError
from models.gate import Check, Figure
from models.gate_evidence import Evidence

MIN_GOOD: Final = 10_000
"""Good rows that group and rest need."""
MIN_FALSE: Final = 50
"""False positives that group and rest need."""
LARGEST_RATIO: Final = 1.25
"""Of the group's false-positive rate to the rest's; likewise of that ratio to the champion's."""
_RESAMPLES: Final = 1_000
_SEED: Final = 20_260_101
_EXTRA: Final = "extra."


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """One group against all rows of other groups."""

    value: str
    n_good: int
    n_good_rest: int
    n_false: int
    """Good rows with an alert."""
    n_false_rest: int
    ratio: float | None = None
    """Of the false-positive rates; None: too little data, and so are the following."""
    lower: float | None = None
    """One-sided 95 % bound of `ratio`."""
    over_champion: float | None = None
    """`ratio` over the champion's; None also if the champion has too few false positives."""
    over_champion_lower: float | None = None
    """Lower end of its 95 % interval."""

    @property
    def is_unfair(self) -> bool:
        """Tell whether the group is stopped too often for certain, or more than under the champion."""
        if self.ratio is None or self.lower is None:
            return False
        is_more = self.over_champion is not None and self.over_champion_lower is not None
        return self.lower > LARGEST_RATIO or (is_more and (self.over_champion or 0) > LARGEST_RATIO and (self.over_champion_lower or 0) > 1)


def column_of(history: pl.DataFrame, name: str) -> pl.Series:
    """Return the groups of every row as text, null where unknown.

    Args:
        history: With the column, or with a column `extra` of JSON objects.
        name: Of a column, or `extra.<key>`; keys of objects within objects with further dots.

    Raises:
        ConfigError: The history has neither.

    >>> column_of(pl.DataFrame({"extra": ['{"age": "60+"}', None]}), "extra.age").to_list()
    ['60+', None]
    """
    if name in history.columns:
        return history[name].cast(pl.String)
    if name.startswith(_EXTRA) and "extra" in history.columns:
        return history["extra"].cast(pl.String).str.json_path_match("$." + name.removeprefix(_EXTRA))
    raise ConfigError(f"gate.fairness: the history has no column {name!r}; it has {', '.join(history.columns)}")


def fairness(evidence: Evidence, values: pl.Series) -> list[Group]:
    """Compare every group with the rest.

    Args:
        evidence: What both models said.
        values: Group of every row of the evidence; rows with null belong to no group.
    """
    known = values.is_not_null().to_numpy() & ~evidence.judged.target
    card = np.unique(evidence.judged.card[known], return_inverse=True)[1]
    models = [evidence.candidate] if evidence.champion is None else [evidence.candidate, evidence.champion]
    alerts = [model.is_alert[known] for model in models]
    texts = values.to_numpy()[known]
    return [_group(str(value), texts == value, alerts, card) for value in sorted(set(texts.tolist()))]


def fairness_check(column: str, groups: Sequence[Group]) -> Check:
    """Return the check of one column."""
    name = f"fairness {column}"
    assessed = [group for group in groups if group.ratio is not None]
    figures: dict[str, Figure] = {}
    for group in groups:
        figures |= {f"{group.value} {key}": value for key, value in msgspec.structs.asdict(group).items() if key != "value"}
    if unfair := [group for group in assessed if group.is_unfair]:
        return Check(name, "refused", "; ".join(_accusation(group) for group in unfair), figures)
    if not assessed:
        wanted = f"{MIN_GOOD:,} good transactions and {MIN_FALSE} false alarms on both sides are wanted"
        return Check(name, "not assessed", f"no group has enough data; {wanted}", figures)
    largest = max(assessed, key=lambda group: group.ratio or 0)
    said = f"of {len(groups)} groups, {len(assessed)} with enough data: most false alarms for {largest.value}, x {largest.ratio:.2f}"
    return Check(name, "passed", f"{said} (at least {largest.lower:.2f})", figures)


def _accusation(group: Group) -> str:
    said = f"good customers of {group.value} are stopped {group.ratio:.2f} x as often as others (at least {group.lower:.2f}, 95 %)"
    if group.over_champion is None:
        return f"{said}; {LARGEST_RATIO} is allowed"
    return f"{said}, {group.over_champion:.2f} x the champion's ratio; {LARGEST_RATIO} is allowed"


def _group(value: str, inside: NDArray[np.bool_], alerts: Sequence[NDArray[np.bool_]], card: NDArray[np.int64]) -> Group:
    """Count a group; `alerts` of the candidate first, then perhaps of the champion; all rows are good."""
    n_false = [(int((alert & inside).sum()), int((alert & ~inside).sum())) for alert in alerts]
    counts = {
        "n_good": int(inside.sum()), "n_good_rest": int((~inside).sum()), "n_false": n_false[0][0], "n_false_rest": n_false[0][1],
    }  # fmt: skip
    if min(counts["n_good"], counts["n_good_rest"]) < MIN_GOOD or min(n_false[0]) < MIN_FALSE:
        return Group(value=value, **counts)
    is_compared = len(alerts) > 1 and min(n_false[1]) >= MIN_FALSE
    columns = [inside, ~inside, *(alert & side for alert in alerts for side in (inside, ~inside))]
    by_card = np.stack([np.bincount(card, weights=column) for column in columns], axis=1).astype(np.float64)
    drawn, own = _resampled(by_card), by_card.sum(axis=0)[None]
    ratio, ratios = _ratio(own, 0), _ratio(drawn, 0)
    found = Group(value=value, **counts, ratio=float(ratio[0]), lower=float(np.quantile(ratios, 0.05)))
    if not is_compared:
        return found
    over = float(ratio[0] / _ratio(own, 1)[0])
    return msgspec.structs.replace(found, over_champion=over, over_champion_lower=float(np.quantile(ratios / _ratio(drawn, 1), 0.025)))


def _ratio(sums: NDArray[np.float64], model: int) -> NDArray[np.float64]:
    """Return the ratio of false-positive rates from sums (n, columns): good rows inside and outside, then alerts of each model."""
    found: NDArray[np.float64] = (sums[:, 2 + 2 * model] / sums[:, 0]) / (np.maximum(sums[:, 3 + 2 * model], 0.5) / sums[:, 1])
    return found


def _resampled(by_card: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of 1,000 draws of the cards, (1000, columns)."""
    random, n = np.random.default_rng(_SEED), len(by_card)
    return np.stack([np.bincount(random.integers(0, n, n), minlength=n) @ by_card for _ in range(_RESAMPLES)])

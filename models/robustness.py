"""Does a model hold when its inputs are not as usual? Blocks that are missing, amounts that change a little, purchases that are split.

A limit that is broken refuses a candidate only if the champion breaks it less: what the champion cannot do either is no reason
to keep the champion.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from domain.decision import Tier
from features.history import SCHEMA
from features.spec import block
from models.gate import Check, Figure, Outcome
from models.scorer import Scorer

ALERT_BAND: Final = (0.5, 2.0)
"""Alerts with a block missing, over alerts without."""
LARGEST_FLIP_SHARE: Final = 0.1
"""Decisions that change with 1 % of the amount, over the alerts."""
SMALLEST_CAUGHT_SHARE: Final = 0.8
"""Frauds that are still caught when bought in two parts, over those caught at once."""
FEWEST: Final = 20
"""Alerts, or caught frauds, that a share needs."""
_MISSING: Final = ("merchant_labels", "device_ip", "place")
_CHANGE: Final = 0.01
_APART_MS: Final = 60_000
_MOST_PROBES: Final = 4_000
_MOST_ROWS: Final = 50_000
_BLOCK: Final = 4_096


@dataclass(frozen=True, slots=True)
class Probes:
    """A history in which single purchases are not as they were.

    Attributes:
        history: The altered one.
        keep: Rows whose vectors are wanted, of the altered history: one or two for each probe.
        origin: For each kept row, which probe it belongs to.
        rows: For each probe, its row in the original history.
        is_split: For each probe: bought in two parts; else with another amount.
    """

    history: pl.DataFrame
    keep: NDArray[np.bool_]
    origin: NDArray[np.int64]
    rows: NDArray[np.int64]
    is_split: NDArray[np.bool_]


def missing_blocks(candidate: Scorer, champion: Scorer | None, vectors: NDArray[np.float32]) -> Check:
    """Return whether about as many alerts come when a block is missing; without any state the degraded tier answers.

    Args:
        candidate: On trial.
        champion: To compare with.
        vectors: Of ordinary rows, float32 (n, N_FEATURES).
    """
    vectors = vectors[:: max(1, len(vectors) // _MOST_ROWS)]
    own = _alert_ratios(candidate, vectors)
    figures: dict[str, Figure] = {**own}
    others = {} if champion is None else _alert_ratios(champion, vectors)
    figures |= {f"champion {name}": ratio for name, ratio in others.items()}
    broken = [
        f"without {name} alerts become {ratio:.2f} x as many"
        for name, ratio in own.items()
        if ratio is not None and not ALERT_BAND[0] <= ratio <= ALERT_BAND[1] and _distance(ratio) > _distance(others.get(name))
    ]
    if broken:
        return Check("missing blocks", "refused", f"{'; '.join(broken)}; {ALERT_BAND[0]} to {ALERT_BAND[1]} x are wanted", figures)
    if all(ratio is None for ratio in own.values()):
        return Check("missing blocks", "not assessed", f"fewer than {FEWEST} alerts", figures)
    said = ", ".join(f"{name} {ratio:.2f}" for name, ratio in own.items() if ratio is not None)
    return Check("missing blocks", "passed", f"alerts with a block missing, over alerts without: {said}", figures)


def probes(history: pl.DataFrame, row: NDArray[np.int64], is_alert: NDArray[np.bool_], is_fraud: NDArray[np.bool_], *, seed: int) -> Probes:
    """Alter single purchases, at most one of a card: alerted frauds are split in two, alerted others change by 1 % of the amount.

    Args:
        history: Normalised.
        row: Rows that may be altered, (n,).
        is_alert: Of these, which some model alerts: they come first; unalerted ones fill up to 4,000.
        is_fraud: Their truth.
        seed: Of the choice.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(row))
    order = order[np.argsort(~is_alert[order], kind="stable")]
    card = history["card_id"].gather(pl.Series(row[order])).rank("dense").to_numpy()
    order = order[np.sort(np.unique(card, return_index=True)[1])][:_MOST_PROBES]
    rows, is_split = row[order], is_alert[order] & is_fraud[order]
    altered = history.select(*SCHEMA).with_columns(probe=pl.lit(None, pl.Int64), second=pl.lit(value=False))
    chosen = altered[rows].with_columns(probe=pl.Series(np.arange(len(rows))), sign=pl.Series(np.where(np.arange(len(rows)) % 2, 1, -1)))
    others = altered[np.delete(np.arange(len(history)), rows)]
    moved = (pl.col("amount_minor") * _CHANGE).round().cast(pl.Int64).clip(1) * pl.col("sign")
    amounts = chosen.filter(pl.Series(~is_split)).with_columns((pl.col("amount_minor") + moved).clip(0).alias("amount_minor"))
    whole = chosen.filter(pl.Series(is_split))
    first = whole.with_columns(pl.col("amount_minor") // 2)
    second = whole.with_columns(
        pl.col("amount_minor") - pl.col("amount_minor") // 2, pl.col("event_time_ms") + _APART_MS,
        transaction_id="~" + pl.col("transaction_id").str.slice(0, 63), second=pl.lit(value=True),
        label_time_ms=pl.max_horizontal("label_time_ms", pl.col("event_time_ms") + _APART_MS + 1),
    )  # fmt: skip
    parts = [others, *(part.drop("sign") for part in (amounts, first, second))]
    found = pl.concat(parts).sort("event_time_ms", "transaction_id")
    keep = found["probe"].is_not_null().to_numpy()
    return Probes(found.select(*SCHEMA), keep, found["probe"].drop_nulls().to_numpy(), rows, is_split)


def small_changes(
    candidate: Scorer, champion: Scorer | None, tried: Probes, before: NDArray[np.float32], after: NDArray[np.float32]
) -> list[Check]:
    """Return whether decisions survive 1 % of the amount, and whether frauds bought in two parts are still caught.

    Args:
        candidate: On trial.
        champion: To compare with.
        tried: What was altered.
        before: Vector of each probe as it was.
        after: Vectors of the kept rows of the altered history.
    """
    models = [candidate] if champion is None else [candidate, champion]
    flips = [_flip_share(_alerts(model, before), _after(model, tried, after), ~tried.is_split) for model in models]
    caught = [_caught_share(_alerts(model, before), _after(model, tried, after), tried.is_split) for model in models]
    return [
        _judged("small amount changes", flips, lambda share: share > LARGEST_FLIP_SHARE, lambda own, other: own > other,
                f"decisions that change with {_CHANGE:.0%} of the amount, over alerts: {{}}", f"at most {LARGEST_FLIP_SHARE}"),
        _judged("split purchases", caught, lambda share: share < SMALLEST_CAUGHT_SHARE, lambda own, other: own < other,
                "caught frauds that are still caught in two parts: {}", f"at least {SMALLEST_CAUGHT_SHARE}"),
    ]  # fmt: skip


def _judged(
    name: str, shares: list[float | None], is_broken: Callable[[float], bool], is_worse: Callable[[float, float], bool], said: str,
    wanted: str,
) -> Check:  # fmt: skip
    own, other = shares[0], shares[1] if len(shares) > 1 else None
    figures: dict[str, Figure] = {"share": own, "champion": other}
    if own is None:
        return Check(name, "not assessed", f"fewer than {FEWEST} alerts to try it on", figures)
    outcome: Outcome = "refused" if is_broken(own) and (other is None or is_worse(own, other)) else "passed"
    sentence = said.format(f"{own:.2f}") + ("" if other is None else f", the champion's {other:.2f}")
    return Check(name, outcome, f"{sentence}; {wanted} is wanted" if outcome == "refused" else sentence, figures)


def _alert_ratios(scorer: Scorer, vectors: NDArray[np.float32]) -> dict[str, float | None]:
    n_alerts = int(_alerts(scorer, vectors).sum())
    if n_alerts < FEWEST:
        return dict.fromkeys((*_MISSING, "state"))
    found: dict[str, float | None] = {}
    for name in _MISSING:
        without = vectors.copy()
        without[:, block(name)] = np.nan
        found[name] = float(_alerts(scorer, without).sum()) / n_alerts
    found["state"] = float(_alerts(scorer, vectors, Tier.DEGRADED).sum()) / n_alerts
    return found


def _distance(ratio: float | None) -> float:
    """Return how far a ratio is from 1, either way; nothing to compare with is no distance."""
    return 0.0 if ratio is None else abs(float(np.log(max(ratio, 1e-9))))


def _alerts(scorer: Scorer, vectors: NDArray[np.float32], tier: Tier = Tier.FULL) -> NDArray[np.bool_]:
    parts = [scorer.score(np.ascontiguousarray(vectors[first : first + _BLOCK]), tier=tier) for first in range(0, len(vectors), _BLOCK)]
    found: NDArray[np.bool_] = np.concatenate([np.empty(0), *parts]) >= scorer.manifest.policy.thresholds[tier].review
    return found


def _after(scorer: Scorer, tried: Probes, after: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell for each probe whether one of its rows is alerted in the altered history."""
    found: NDArray[np.bool_] = np.bincount(tried.origin, weights=_alerts(scorer, after), minlength=len(tried.rows)) > 0
    return found


def _flip_share(before: NDArray[np.bool_], after: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> float | None:
    n_alerts = int((before & chosen).sum())
    return float(((before != after) & chosen).sum()) / n_alerts if n_alerts >= FEWEST else None


def _caught_share(before: NDArray[np.bool_], after: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> float | None:
    n_caught = int((before & chosen).sum())
    return float((before & after & chosen).sum()) / n_caught if n_caught >= FEWEST else None

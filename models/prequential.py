"""Prequential evaluation: features once, then fold by fold train as of T, test on what comes after, and compare.

Memory: one vector (188 x 4 bytes) for each row that some fold trains or tests on, and twice more for the rows of one fold.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
import polars as pl

from domain.errors import TrainingRefused
from features.currency import Rates
from features.spec import FeatureSettings
from models.evaluation_curves import curves, threshold_table
from models.evaluation_result import EvaluationResult, FoldResult, Summary
from models.fold_metrics import Prices
from models.folds import Plan, folds_of
from models.judged import Judged
from models.options import DAY_MS, TrainingOptions
from models.paired import METRICS, Paired, Resamples, card_precision_at
from models.played import Played, play
from models.prepared import prepare
from models.segments import segments

Progress = Callable[[str, float], None]
"""Told a stage and its finished share."""
ENSEMBLE: Final = "ensemble"
SMALL: Final = "small"
RIVAL: Final = "baseline_xgboost"
_LATE_REPORTS_DAYS: Final = 45


def evaluate(
    history: pl.DataFrame,
    features: FeatureSettings,
    rates: Rates,
    plan: Plan,
    configurations: Mapping[str, TrainingOptions],
    progress: Progress = lambda _stage, _share: None,
) -> EvaluationResult:
    """Evaluate configurations and baselines on a history, fold by fold.

    Args:
        history: Normalised, see `features.history`; optional columns may be absent or null throughout.
        features: What the features depend on; their maturity is replaced by the plan's delay.
        rates: Of the base currency.
        plan: How.
        configurations: By name; the first is the main one, whose models have plain names.
        progress: Told the stage that begins (`features`, `fold 1 of 4`, ..., `comparisons`), and its finished share where known.

    Raises:
        HistoryError: The history is too short for the plan.
        TrainingRefused: No fold can be trained and tested; the sentence says why the first cannot.
    """
    folds = folds_of(plan, history)
    matured = msgspec.structs.replace(features, maturity_days=plan.delay_days)
    newest_days = max(options.threshold_days for options in configurations.values())
    progress("features", 0.0)
    prepared = prepare(history, matured, rates, plan, folds, newest_days=newest_days, progress=lambda share: progress("features", share))
    found: list[Played | FoldResult] = []
    for number, fold in enumerate(folds, start=1):
        progress(f"fold {number} of {len(folds)}", 0.0)
        found.append(play(prepared, fold, configurations))
    played = _counted(found)
    progress("comparisons", 0.0)
    return _result(prepared.history, features.base_currency, plan, configurations, found, played)


def summary(values: Sequence[float | None]) -> Summary:
    """Return mean and sample standard deviation of the folds that have the metric.

    >>> summary([1.0, 3.0, None])
    Summary(mean=2.0, sd=1.4142135623730951)
    """
    known = [value for value in values if value is not None]
    mean = float(np.mean(known)) if known else None
    return Summary(mean, float(np.std(known, ddof=1)) if len(known) > 1 else None)


def summaries(folds: Sequence[FoldResult]) -> dict[str, dict[str, Summary]]:
    """Return every metric of every model over the folds."""
    return {
        model: {metric: summary([fold.models[model][metric] for fold in folds]) for metric in metrics}
        for model, metrics in folds[0].models.items()
    }  # fmt: skip


def _counted(found: Sequence[Played | FoldResult]) -> list[Played]:
    played = [one for one in found if isinstance(one, Played)]
    if not played:
        first = next(one for one in found if isinstance(one, FoldResult))
        raise TrainingRefused(f"no fold can be evaluated; the one of {first.name}: {first.skipped}")
    return played


def _result(
    history: pl.DataFrame, currency: str, plan: Plan, configurations: Mapping[str, TrainingOptions],
    found: Sequence[Played | FoldResult], played: Sequence[Played],
) -> EvaluationResult:  # fmt: skip
    results = [one.result(plan) if isinstance(one, Played) else one for one in found]
    models = summaries([one for one in results if not one.skipped])
    best = _best_member(models)
    judged = Judged.joined([one.judged for one in played])
    probability = {name: np.concatenate([one.contenders[name].probability for one in played]) for name in models}
    is_alert = {name: np.concatenate([one.is_alert(name) for one in played]) for name in (ENSEMBLE, RIVAL)}
    shown = {name: probability[name] for name in (ENSEMBLE, best, *(name for name in models if name.startswith("baseline_")))}
    return EvaluationResult(
        plan=plan,
        base_currency=currency,
        configurations=configurations,
        folds=results,
        models=models,
        paired=_paired(played, plan, best),
        best_member=best,
        segments=segments(history, judged.row, judged.target, is_alert[ENSEMBLE], shown, min_frauds=plan.min_frauds),
        thresholds=threshold_table(probability[ENSEMBLE], judged, Prices(plan.alert_price, plan.loss_share)),
        curves=curves(judged, shown, is_alert, rival=RIVAL),
        notes=_notes(history, results),
    )


def _best_member(models: Mapping[str, Mapping[str, Summary]]) -> str:
    members = [name for name in models if "/" not in name and name not in (ENSEMBLE, SMALL) and not name.startswith("baseline_")]
    return max(members, key=lambda name: models[name]["average_precision"].mean or 0.0)


def _paired(played: Sequence[Played], plan: Plan, best: str) -> dict[str, dict[str, Paired]]:
    """Return the ensemble against everybody and the other configurations' ensembles, and its best member against the library's own."""
    others = [name for name in played[0].contenders if name != ENSEMBLE and ("/" not in name or name.endswith(f"/{ENSEMBLE}"))]
    pairs = [*((ENSEMBLE, name) for name in others), (best, RIVAL)]
    names = [ENSEMBLE, *others]
    fold = np.concatenate([np.full(len(one.judged.target), number) for number, one in enumerate(played)])
    judged = Judged.joined([one.judged for one in played])
    probability = {name: np.concatenate([one.contenders[name].probability for one in played]) for name in names}
    metrics = {**METRICS}
    if plan.k != 100:
        metrics.pop("card_precision_at_100")
        metrics[f"card_precision_at_{plan.k}"] = card_precision_at(plan.k)
    found: dict[str, dict[str, Paired]] = {f"{a}_minus_{b}": {} for a, b in pairs}
    for key, metric in metrics.items():
        rows = ~judged.is_known if key.startswith("card_precision") else np.ones(len(fold), np.bool_)
        chosen = judged.take(rows)
        resamples = Resamples(chosen.target, chosen.card, chosen.day, fold[rows], n_resamples=plan.n_resamples, seed=plan.seed)
        spreads = {name: resamples.spread(metric, probability[name][rows]) for name in names}
        for a, b in pairs:
            found[f"{a}_minus_{b}"][key] = spreads[a].minus(spreads[b])
    return found


def _notes(history: pl.DataFrame, folds: Sequence[FoldResult]) -> list[str]:
    notes = [f"fold {fold.name} does not count: {fold.skipped}" for fold in folds if fold.skipped]
    newest = history["event_time_ms"].max()
    assert isinstance(newest, int)
    young = [fold.name for fold in folds if not fold.skipped and fold.test_to_ms > newest - _LATE_REPORTS_DAYS * DAY_MS]
    if young and "story" not in history.columns:
        days = f"the last {_LATE_REPORTS_DAYS} days of the history"
        notes.append(f"the folds {', '.join(young)} test on {days}: frauds that are reported later count as good there")
    return notes

"""Beside the folds: how much more days of training bring, what late labels cost, and whether anything leaks."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import polars as pl
from sklearn.metrics import average_precision_score

from features.currency import Rates
from features.spec import FeatureSettings
from models.evaluation_result import CurvePoint, FoldResult
from models.folds import Fold, Plan, folds_of
from models.leakage import LeakageReport, changed_by_future, permuted_labels, suspicious_features
from models.options import DAY_MS, TrainingOptions
from models.played import Played, play
from models.prepared import Prepared, prepare
from models.prequential import Progress, summaries

TRAIN_DAYS: Final = (7, 14, 28, 56)
DELAY_DAYS: Final = (1, 3, 7, 14)


def learning_curve(
    history: pl.DataFrame, features: FeatureSettings, rates: Rates, plan: Plan, options: TrainingOptions,
    days: Sequence[int] = TRAIN_DAYS, progress: Progress = lambda _stage, _share: None,
) -> list[CurvePoint]:  # fmt: skip
    """Return the ensemble with other lengths of training, on the plan's own test windows.

    A length that reaches into the history's warm-up in some fold is left out: its features would know too little.
    """
    first = history["event_time_ms"].min()
    assert isinstance(first, int)
    own_start = min(fold.from_ms for fold in folds_of(plan, history))
    earliest = min(own_start, first + (plan.warm_up_days - 1) * DAY_MS)
    plans = [_with_same_tests(plan, history, train_days=n) for n in days]
    fitting = [one for one in plans if min(one.starts_ms) >= earliest]
    folds = [fold for one in fitting for fold in folds_of(one, history)]
    progress("learning curve", 0.0)
    prepared = _prepared(history, features, rates, plan, folds, options)
    found = []
    for place, one in enumerate(fitting):
        progress("learning curve", place / len(fitting))
        found.append(_point(one.train_days, prepared, folds_of(one, history), options))
    return found


def delay_curve(
    history: pl.DataFrame, features: FeatureSettings, rates: Rates, plan: Plan, options: TrainingOptions,
    days: Sequence[int] = DELAY_DAYS, progress: Progress = lambda _stage, _share: None,
) -> list[CurvePoint]:  # fmt: skip
    """Return the ensemble as if every fraud became known exactly so many days after it happened, on the plan's own test windows."""
    found = []
    for place, n in enumerate(days):
        progress("delay curve", place / len(days))
        delayed = msgspec.structs.replace(_with_same_tests(plan, history, delay_days=n), is_delay_fixed=True)
        folds = folds_of(delayed, history)
        found.append(_point(n, _prepared(history, features, rates, delayed, folds, options), folds, options))
    return found


def check_leakage(
    history: pl.DataFrame, features: FeatureSettings, rates: Rates, plan: Plan, options: TrainingOptions,
    progress: Progress = lambda _stage, _share: None,
) -> LeakageReport:  # fmt: skip
    """Run the checks of `models.leakage` on the newest fold.

    Raises:
        TrainingRefused: The fold cannot be trained.
    """
    matured = msgspec.structs.replace(features, maturity_days=plan.delay_days)
    fold = folds_of(plan, history)[-1]
    compared, changed = changed_by_future(
        history, matured, rates, cut_ms=fold.as_of_ms, seed=plan.seed, progress=lambda share: progress("leaks from the future", share)
    )
    progress("permuted labels", 0.0)
    found = _prepared(history, features, rates, plan, [fold], options).material(fold, options.threshold_days)
    suspicious = suspicious_features(found.tests, found.judged.target)
    del found
    permuted = _prepared(permuted_labels(history, plan.seed), features, rates, plan, [fold], options)
    played = play(permuted, fold, {"permuted": options}, with_baselines=False)
    precision = prevalence = None
    if isinstance(played, Played):
        target = played.judged.target
        precision = float(average_precision_score(target, played.contenders["ensemble"].probability))
        prevalence = float(np.mean(target))
    return LeakageReport(
        n_vectors_compared=compared, n_changed_by_future=changed, permuted_average_precision=precision, permuted_prevalence=prevalence,
        suspicious_features=suspicious,
    )  # fmt: skip


def _with_same_tests(plan: Plan, history: pl.DataFrame, *, train_days: int | None = None, delay_days: int | None = None) -> Plan:
    """Return the plan with another length of training or delay, its folds starting so that the test windows stay."""
    other = msgspec.structs.replace(plan, train_days=train_days or plan.train_days, delay_days=delay_days or plan.delay_days)
    before_ms = (other.train_days + other.delay_days) * DAY_MS
    return msgspec.structs.replace(other, starts_ms=tuple(fold.as_of_ms - before_ms for fold in folds_of(plan, history)))


def _prepared(
    history: pl.DataFrame, features: FeatureSettings, rates: Rates, plan: Plan, folds: Sequence[Fold], options: TrainingOptions
) -> Prepared:
    matured = msgspec.structs.replace(features, maturity_days=plan.delay_days)
    return prepare(history, matured, rates, plan, folds, newest_days=options.threshold_days)


def _point(days: int, prepared: Prepared, folds: Sequence[Fold], options: TrainingOptions) -> CurvePoint:
    played = [play(prepared, fold, {"main": options}, with_baselines=False) for fold in folds]
    results: list[FoldResult] = [one.result(prepared.plan) for one in played if isinstance(one, Played)]
    return CurvePoint(days, summaries(results) if results else {}, len(results))

"""An evaluation as tables for a terminal."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from models.evaluation_result import EvaluationResult, Summary

_COLUMNS: Final = {
    "average_precision": "AP",
    "roc_auc": "ROC AUC",
    "card_precision_at_100": "card prec. @100",
    "recall_at_fpr_0.001": "recall @0.1%",
    "recall_at_fpr_0.01": "recall @1%",
    "brier": "Brier",
    "calibration_error": "calib. error",
    "cost_per_1000": "cost/1000",
}
_THRESHOLD_COLUMNS: Final = {
    "threshold": 12, "alert rate": 12, "alerts/day": 12, "precision": 12, "recall": 10, "caught": 12, "missed": 12, "cost/1000": 12,
}  # fmt: skip
_CURVE_METRIC: Final = "average_precision"


def result_text(result: "EvaluationResult") -> str:
    """Return the whole result as text: folds, models, differences, thresholds, segments, curves, leakage, notes."""
    parts = [_folds(result), _models(result), _pairs(result), _thresholds(result), _segments(result), _curves(result), _leakage(result)]
    notes = [f"note: {note}" for note in result.notes]
    return "\n\n".join([*(part for part in parts if part), *notes])


def _folds(result: "EvaluationResult") -> str:
    plan = result.plan
    lines = [
        f"train {plan.train_days} days, delay {plan.delay_days}, test {plan.test_days}; folds by first test day:",
        f"{'fold':<14}{'train rows':>12}{'frauds':>9}{'test rows':>12}{'frauds':>9}",
    ]
    for fold in result.folds:
        tail = f"  skipped: {fold.skipped}" if fold.skipped else ""
        lines.append(f"{fold.name:<14}{fold.n_train:>12,}{fold.n_train_frauds:>9,}{fold.n_test:>12,}{fold.n_test_frauds:>9,}{tail}")
    return "\n".join(lines)


def _models(result: "EvaluationResult") -> str:
    width = max(len(name) for name in result.models) + 2
    lines = ["mean of the folds (sd)", "".join([f"{'model':<{width}}", *(f"{title:>18}" for title in _COLUMNS.values())])]
    for name, metrics in result.models.items():
        lines.append(f"{name:<{width}}" + "".join(f"{_summary(metrics.get(key)):>18}" for key in _COLUMNS))
    return "\n".join(lines)


def _pairs(result: "EvaluationResult") -> str:
    width = max(len(name) for name in result.paired) + 2
    lines = [
        f"paired differences (standard error), folds in which the first is better; best member: {result.best_member}",
        f"{'':<{width}}{'AP':>24}{'ROC AUC':>24}{'card prec.':>24}",
    ]
    for name, found in result.paired.items():
        cells = (f"{one.mean:+.4f} ({one.se:.4f}) {one.better_folds}/{one.n_folds}" for one in found.values())
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)


def _thresholds(result: "EvaluationResult") -> str:
    lines = [
        f"thresholds on the test days (amounts in {result.base_currency} a day; an alert costs {result.plan.alert_price:g}); * = cheapest",
        "".join(f"{title:>{width}}" for title, width in _THRESHOLD_COLUMNS.items()),
    ]
    for row in result.thresholds:
        mark = " *" if row.is_cheapest else ""
        lines.append(
            f"{row.threshold:>12.5f}{row.alert_rate:>12.3%}{row.alerts_per_day:>12.1f}{_number(row.precision):>12}{_number(row.recall):>10}"
            f"{row.caught_per_day:>12,.0f}{row.missed_per_day:>12,.0f}{row.cost_per_1000:>12,.1f}{mark}"
        )
    return "\n".join(lines)


def _segments(result: "EvaluationResult") -> str:
    if not result.segments:
        return ""
    lines = [f"{'segment':<12}{'':<26}{'rows':>12}{'frauds':>9}{'AP':>9}{'recall':>9}{'precision':>11}"]
    for one in result.segments:
        ap = _number(one.average_precision["ensemble"])
        lines.append(
            f"{one.kind:<12}{one.value:<26}{one.n:>12,}{one.n_frauds:>9,}{ap:>9}{_number(one.recall):>9}{_number(one.precision):>11}"
        )
    return "\n".join(lines)


def _curves(result: "EvaluationResult") -> str:
    lines = []
    for title, points in (("training days", result.learning_curve), ("label delay, days", result.delay_curve)):
        if points:
            lines.append(f"{title:<20}{'ensemble AP':>18}{'xgboost AP':>18}")
            for point in points:
                cells = (_summary(point.models.get(name, {}).get(_CURVE_METRIC)) for name in ("ensemble", "xgboost"))
                lines.append(f"{point.days:<20}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines)


def _leakage(result: "EvaluationResult") -> str:
    found = result.leakage
    if found is None:
        return ""
    lines = [f"leakage: {'; '.join(found.failures) or 'none found'}"]
    lines.append(f"  {found.n_changed_by_future} values of {found.n_vectors_compared:,} vectors changed with another future")
    if found.permuted_average_precision is not None and found.permuted_prevalence is not None:
        lines.append(f"  permuted labels: AP {found.permuted_average_precision:.4f}, prevalence {found.permuted_prevalence:.4f}")
    lines += [f"  warning: {name} alone separates frauds with AUC {area:.4f}" for name, area in found.suspicious_features]
    return "\n".join(lines)


def _summary(found: "Summary | None") -> str:
    if found is None or found.mean is None:
        return "-"
    digits = 1 if found.mean >= 10 else 4
    return f"{found.mean:,.{digits}f}" + ("" if found.sd is None else f" ({found.sd:.{digits}f})")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"

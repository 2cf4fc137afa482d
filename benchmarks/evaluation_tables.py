"""Tables of docs/evaluation.md from the answer of `weir evaluate --json`: `python -m benchmarks.evaluation_tables found.json`."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from models.evaluation_result import CurvePoint, EvaluationResult, Summary

_COLUMNS: Final = (
    ("average_precision", "average precision", 4), ("roc_auc", "ROC AUC", 4), ("card_precision_at_100", "card precision @100", 4),
    ("recall_at_fpr_0.001", "recall at 0.1 % FPR", 3), ("calibration_error", "calibration error", 2),
    ("observed_over_expected", "observed/expected", 2),
)  # fmt: skip
_PAIRED: Final = _COLUMNS[:3]
_RIVAL: Final = "baseline_xgboost"


def tables(found: EvaluationResult) -> str:
    """Return everything as Markdown, one table after the other."""
    parts = [_head(found), _models(found.models), _pairs(found), _stories(found)]
    parts += [_curve("days of training", found.learning_curve), _curve("label delay, days", found.delay_curve)]
    if found.leakage is not None:
        parts.append(f"Leakage: {msgspec.json.encode(found.leakage).decode()}")
    parts.append("seconds: " + ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in found.seconds.items()))
    return "\n\n".join(part for part in parts if part)


def _head(found: EvaluationResult) -> str:
    counted = [fold for fold in found.folds if not fold.skipped]
    skipped = [f"{fold.name}: {fold.skipped}" for fold in found.folds if fold.skipped]
    trains = [fold.n_train for fold in counted]
    n_frauds, n_test = sum(fold.n_test_frauds for fold in counted), sum(fold.n_test for fold in counted)
    return (
        f"{len(counted)} folds (test weeks from {', '.join(fold.name for fold in counted)}), "
        f"{min(trains):,} to {max(trains):,} rows that train, "
        f"{n_frauds:,} frauds in {n_test:,} test rows. {' '.join(skipped)} Best member: {found.best_member}."
    )


def _models(models: Mapping[str, Mapping[str, Summary]]) -> str:
    rows = [[name, *(_summary(metrics.get(key), digits) for key, _, digits in _COLUMNS)] for name, metrics in models.items()]
    return _table(["model", *(title for _, title, _ in _COLUMNS)], rows)


def _pairs(found: EvaluationResult) -> str:
    rows = []
    for name, metrics in found.paired.items():
        cells = [
            f"{one.mean:+.4f} ({one.se:.4f}), {one.better_folds} of {one.n_folds}" if (one := metrics.get(key)) else ""
            for key, _, _ in _PAIRED
        ]
        rows.append([name.replace("_minus_", " - "), *cells])
    return _table(["paired difference (standard error), folds in which the first is better", *(title for _, title, _ in _PAIRED)], rows)


def _stories(found: EvaluationResult) -> str:
    rows = []
    for one in found.segments:
        if one.kind == "story" and one.average_precision:
            worths = [one.average_precision.get(model) for model in ("ensemble", _RIVAL)]
            rows.append([one.value, str(one.n_frauds), *("" if worth is None else f"{worth:.3f}" for worth in [*worths, one.recall])])
    return _table(["fraud story", "frauds", "average precision of the ensemble", "of the default XGBoost", "recall at the threshold"], rows)


def _curve(title: str, points: Sequence[CurvePoint]) -> str:
    names = list(points[0].models) if points else []
    rows = [[str(p.days), str(p.n_folds), *(_summary(p.models[name].get("average_precision"), 4) for name in names)] for p in points]
    return _table([title, "folds", *(f"average precision of {name}" for name in names)], rows)


def _summary(found: Summary | None, digits: int) -> str:
    if found is None or found.mean is None:
        return ""
    return f"{found.mean:.{digits}f}" + (f" ({found.sd:.{digits}f})" if found.sd is not None else "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    rule = "|" + "---|" * len(head)
    return "\n".join(["| " + " | ".join(head) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows)])


if __name__ == "__main__":
    sys.stdout.write(tables(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=EvaluationResult)) + "\n")

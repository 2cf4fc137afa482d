"""A training or an evaluation as trackers of experiments take it: settings, results, and lines over steps. Knows no tracker."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from models.evaluation_result import CurvePoint, EvaluationResult
    from models.fitted import Trained
    from models.training_curves import RoundPoint


class Point(NamedTuple):
    """One value of one line; lines of one metric belong into one chart."""

    metric: str
    line: str
    step: int
    value: float


class Tracked(NamedTuple):
    """One run."""

    name: str
    """Of letters, digits, `@`, `.`, `_` and `-`."""
    settings: Mapping[str, str]
    """Every choice, flat."""
    results: Mapping[str, float]
    """`<model>.<metric>`."""
    points: list[Point]
    text: str
    """Markdown."""


def of_training(reference: str, trained: "Trained", curve: "Iterable[RoundPoint]") -> Tracked:
    """Return a training: the options and the window, the metrics of the calibration slice, boosting round by round."""
    from models.bundle import CARD

    manifest = trained.manifest
    choices = {"spec": manifest.spec, "window": msgspec.to_builtins(manifest.window), "options": msgspec.to_builtins(manifest.options)}
    points = []
    for point in curve:
        points += [
            Point("xgboost_log_loss", "learnt_days", point.n_rounds, point.learnt_log_loss),
            Point("xgboost_log_loss", "unseen_days", point.n_rounds, point.unseen_log_loss),
        ]
        if point.unseen_average_precision is not None:
            points.append(Point("xgboost_average_precision", "unseen_days", point.n_rounds, point.unseen_average_precision))
    results = {f"{model}.{key}": value for model, found in manifest.metrics.items() for key, value in found.items() if value is not None}
    return Tracked(reference, _texts(choices), results, points, trained.files[CARD].decode())


def of_evaluation(name: str, result: "EvaluationResult") -> Tracked:
    """Return an evaluation: the plan and the options, means over the folds, and lines over folds, days and recall.

    Steps: the number of the fold, from 1; days of training or delay; recall in percent.
    """
    choices = {"plan": msgspec.to_builtins(result.plan), "options": msgspec.to_builtins(result.configurations)}
    results = {f"{model}.{key}": one.mean for model, found in result.models.items() for key, one in found.items() if one.mean is not None}
    points = [
        Point(metric, _line(model), number, value)
        for number, fold in enumerate(result.folds, 1)
        for model, found in fold.models.items()
        for metric, value in found.items()
        if value is not None
    ]
    points += _over_days("by_training_days", result.learning_curve)
    points += _over_days("by_delay_days", result.delay_curve)
    for model, curve in result.curves.precision_recall.items():
        by_percent = {round(recall * 100): precision for recall, precision in curve}
        points += [Point("precision_by_recall_percent", _line(model), step, by_percent[step]) for step in sorted(by_percent)]
    folds = [f"{number}. {fold.name}{': skipped, ' + fold.skipped if fold.skipped else ''}" for number, fold in enumerate(result.folds, 1)]
    text = "\n".join([f"# {name}", "", *folds, "", *(f"* {note}" for note in result.notes)])
    return Tracked(name, _texts(choices), results, points, text)


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give the leaves of nested mappings, their names joined by dots.

    >>> dict(flat({"a": 1, "b": {"c": 2}}))
    {'a': 1, 'b.c': 2}
    """
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _texts(choices: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in flat(choices) if value is not None}


def _line(model: str) -> str:
    """Return a model's name as a line's: those of further configurations hold a slash."""
    return model.replace("/", ".")


def _over_days(prefix: str, curve: "Iterable[CurvePoint]") -> list[Point]:
    return [
        Point(f"{metric}_{prefix}", _line(model), point.days, one.mean)
        for point in curve
        for model, found in point.models.items()
        for metric, one in found.items()
        if one.mean is not None
    ]

"""An evaluation as one HTML page that needs nothing else, and as the JSON that `weir evaluate --json` prints."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec

from domain.errors import ConfigError
from models.evaluation_result import CurvePoint, EvaluationResult, Summary
from models.paired import Paired
from monitoring.figures import UNKNOWN, count, date, figure, index, share
from service.report_html import Child, Markup, element, joined, table
from service.report_svg import Bar, Point, bars, lines

PAGE: Final = "evaluation.html"
RESULT: Final = "evaluation.json"
_RANKING: Final = {
    "average_precision": "Average precision", "roc_auc": "ROC AUC", "card_precision_at_100": "Card precision @100",
    "recall_at_fpr_0.001": "Recall @0.1 % FPR", "recall_at_fpr_0.01": "Recall @1 % FPR",
}  # fmt: skip
_PROBABILITY: Final = {
    "brier": "Brier", "calibration_error": "Calibration error", "observed_over_expected": "Observed/expected", "slope": "Slope",
    "cost_per_1000": "Cost per 1,000",
}  # fmt: skip
_POINTS_APART: Final = 5


def write_report(result: EvaluationResult, folder: Path) -> list[Path]:
    """Write the page and the result into `folder`; return what was written.

    Raises:
        ConfigError: The folder cannot be written to.
    """
    content = {PAGE: page(result).encode(), RESULT: msgspec.json.format(msgspec.json.encode(result))}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, written in content.items():
            (folder / name).write_bytes(written)
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}; choose another folder with --report") from error
    return [folder / name for name in content]


def page(result: EvaluationResult) -> str:
    """Return the page: a complete HTML document, every text escaped."""
    counted = [fold for fold in result.folds if not fold.skipped]
    title = f"weir evaluation, test days {date(counted[0].as_of_ms)} to {date(counted[-1].test_to_ms - 1)}"
    style = files("service").joinpath("report.css").read_text("utf-8")
    head = element("head", element("meta", charset="utf-8"),
                   element("meta", name="viewport", content="width=device-width, initial-scale=1"),
                   element("title", title), element("style", Markup(style)))  # fmt: skip
    body = element(
        "body",
        element("h1", title),
        element("p", headline(result), class_="headline"),
        *(element("p", note, class_="attention") for note in result.notes),
        _folds(result),
        _models(result),
        _pairs(result),
        _plots(result),
        _thresholds(result),
        _segments(result),
        _curves(result),
        _leakage(result),
    )
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


def headline(result: EvaluationResult) -> str:
    """Return what the evaluation comes to, in two sentences."""
    mean = {name: metrics["average_precision"].mean for name, metrics in result.models.items()}
    member = result.paired[f"ensemble_minus_{result.best_member}"]["average_precision"]
    rival = result.paired[f"ensemble_minus_{result.curves.rival}"]["average_precision"]
    return (
        f"The ensemble's average precision is {index(mean['ensemble'])}. Against its best member ({result.best_member}) that is "
        f"{member.mean:+.4f} with a standard error of {member.se:.4f}, against {result.curves.rival} {rival.mean:+.4f} ({rival.se:.4f})."
    )


def _folds(result: EvaluationResult) -> Markup:
    plan = result.plan
    rows: list[list[Child]] = [
        [fold.name, count(fold.n_train), count(fold.n_train_frauds), count(fold.n_test), count(fold.n_test_frauds), fold.skipped]
        for fold in result.folds
    ]
    caption = f"{plan.train_days} days train, {plan.delay_days} days pass for labels to come, {plan.test_days} days test."
    headings = [("First test day", "day"), ("Rows that train", "number"), ("known frauds", "number"), ("Rows that test", "number"),
                ("frauds", "number"), ("does not count because", "")]  # fmt: skip
    return _section("Folds", table(headings, rows, caption=caption))


def _models(result: EvaluationResult) -> Markup:
    caption = "Mean of the folds, in brackets the standard deviation."
    priced = f"{caption} Cost in {result.base_currency} at thresholds set before the test."
    return _section("Models", _metrics(result, _RANKING, caption), _metrics(result, _PROBABILITY, priced))


def _metrics(result: EvaluationResult, titles: Mapping[str, str], caption: str) -> Markup:
    rows: list[list[Child]] = [[name, *(_summary(found.get(key)) for key in titles)] for name, found in result.models.items()]
    return table([("Model", "name"), *((title, "number") for title in titles.values())], rows, caption=caption)


def _pairs(result: EvaluationResult) -> Markup:
    metrics = list(next(iter(result.paired.values())))
    rows: list[list[Child]] = [
        [name.replace("_minus_", " minus "), *(_difference(one) for one in found.values())] for name, found in result.paired.items()
    ]
    headings = [("Pair", "name"), *((_RANKING.get(key, key.replace("_", " ")), "number") for key in metrics)]
    caption = "Paired difference, its standard error (the larger of resampling cards and days), folds in which the first is better."
    return _section("Differences", table(headings, rows, caption=caption))


def _difference(found: Paired) -> str:
    return f"{found.mean:+.4f} ({found.se:.4f}), {found.better_folds} of {found.n_folds}"


def _plots(result: EvaluationResult) -> Markup:
    found = result.curves
    order = [("a", "ensemble"), ("b", found.rival)]
    curve = [
        (kind, [Point(f"{recall:.2f}", precision) for recall, precision in found.precision_recall[name][::_POINTS_APART]])
        for kind, name in order
    ]
    bins = [(f"{one.predicted:.3f}", one) for one in found.calibration]
    calibration = [
        ("a", [Point(label, one.observed) for label, one in bins]),
        ("b", [Point(label, one.predicted) for label, one in bins]),
    ]  # fmt: skip
    days = [
        ("a", [Point(date(day.day_ms), day.caught / day.amount if day.amount else None) for day in found.days]),
        ("b", [Point(date(day.day_ms), day.caught_by_rival / day.amount if day.amount else None) for day in found.days]),
    ]
    good = [Bar(f"{edge:.0e}", n) for edge, n, _ in found.histogram]
    frauds = [Bar(f"{edge:.0e}", n) for edge, _, n in found.histogram]
    return _section(
        "Curves",
        _figure(lines(curve, title="Precision by recall", shown=share), f"Precision by recall: ensemble (blue), {found.rival} (brown)."),
        _figure(
            lines(calibration, title="Calibration", shown=share),
            "Calibration: observed share of frauds (blue) and predicted (brown) in ten groups of equal predicted fraud.",
        ),
        _figure(
            lines(days, title="Share of the frauds' money caught, by day", shown=share),
            f"Share of the frauds' money caught each test day: ensemble (blue), {found.rival} (brown), each at its own threshold.",
        ),
        _figure(bars(good, title="Good transactions by probability", shown=figure), "Good transactions by probability, 4 bars a decade."),
        _figure(bars(frauds, title="Frauds by probability", shown=figure), "Frauds by probability, four bars a decade."),
    )  # fmt: skip


def _thresholds(result: EvaluationResult) -> Markup:
    rows: list[list[Child]] = [
        [
            joined(f"{row.threshold:.5f}", element("span", " cheapest", class_="well") if row.is_cheapest else None), share(row.alert_rate),
            figure(row.alerts_per_day), share(row.precision), share(row.recall), count(row.caught_per_day), count(row.missed_per_day),
            figure(row.cost_per_1000),
        ]
        for row in result.thresholds
    ]  # fmt: skip
    headings = [("Threshold", ""), ("Alert rate", "number"), ("Alerts a day", "number"), ("Precision", "number"), ("Recall", "number"),
                ("Caught a day", "number"), ("Missed a day", "number"), ("Cost per 1,000", "number")]  # fmt: skip
    caption = (
        f"On all test days, money in {result.base_currency}; an alert costs {result.plan.alert_price:g}, of missed fraud "
        f"{share(result.plan.loss_share)} is lost. Read off with the truth at hand: what a threshold would have meant, not what it will."
    )
    return _section("Thresholds and cost", table(headings, rows, caption=caption))


def _segments(result: EvaluationResult) -> Markup:
    rows: list[list[Child]] = [
        [one.kind, one.value, count(one.n), count(one.n_frauds), index(one.average_precision["ensemble"]),
         index(one.average_precision[result.curves.rival]), share(one.recall), share(one.precision)]
        for one in result.segments
    ]  # fmt: skip
    headings = [("Segment", ""), ("", ""), ("Rows", "number"), ("Frauds", "number"), ("Average precision", "number"),
                (result.curves.rival, "number"), ("Recall", "number"), ("Precision", "number")]  # fmt: skip
    caption = f"Test rows of all folds together; a story's rows are its frauds and all good ones. {UNKNOWN}: too few frauds."
    return _section("Segments", table(headings, rows, caption=caption)) if rows else _section("Segments", element("p", "There are none."))


def _curves(result: EvaluationResult) -> Markup | None:
    parts: list[Child] = []
    for title, points in (("Days that train", result.learning_curve), ("Days until a fraud is known", result.delay_curve)):
        if points:
            rows: list[list[Child]] = [[str(one.days), str(one.n_folds), _point(one, "ensemble"), _point(one, "xgboost")] for one in points]
            headings = [(title, ""), ("Folds", "number"), ("Ensemble", "number"), ("xgboost", "number")]
            parts.append(table(headings, rows, caption=f"Average precision by {title.lower()}, on the same test windows."))
    return _section("Learning and delay", *parts) if parts else None


def _leakage(result: EvaluationResult) -> Markup | None:
    found = result.leakage
    if found is None:
        return None
    precision, prevalence = found.permuted_average_precision, found.permuted_prevalence
    facts = [
        f"{count(found.n_changed_by_future)} values of {count(found.n_vectors_compared)} vectors changed with another future.",
        f"Labels permuted within days: average precision {index(precision)}, prevalence {index(prevalence)}.",
        *(f"Warning: {name} alone separates frauds with AUC {index(area)}." for name, area in found.suspicious_features),
    ]
    verdict = "; ".join(found.failures) or "No leak was found."
    return _section("Leakage", element("p", verdict), element("ul", *(element("li", fact) for fact in facts)))


def _point(point: CurvePoint, model: str) -> str:
    return _summary(point.models.get(model, {}).get("average_precision"))


def _summary(found: Summary | None) -> str:
    if found is None or found.mean is None:
        return UNKNOWN
    digits = 1 if found.mean >= 10 else 4
    return f"{found.mean:,.{digits}f}" + ("" if found.sd is None else f" ({found.sd:.{digits}f})")


def _section(title: str, *children: Child) -> Markup:
    return element("section", element("h2", title), *children)


def _figure(chart: Markup, caption: str) -> Markup:
    return element("figure", chart, element("figcaption", caption))

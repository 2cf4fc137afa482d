"""The curves of an evaluation as PNG files, by Matplotlib (an extra: serving and training do without it)."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from domain.errors import ConfigError
from models.evaluation_result import EvaluationResult
from monitoring.figures import day

_INCHES: Final = (7.2, 4.2)
_DPI: Final = 120
_N_LABELS: Final = 8
_COLOURS: Final = ("#0b57a4", "#8a5000", "#17693c", "#b0211a", "#4a5866")


def write_plots(result: EvaluationResult, folder: Path) -> list[Path]:
    """Write precision_recall.png, calibration.png, scores.png, days.png and cost.png into `folder`; return their paths.

    Raises:
        ConfigError: Matplotlib is not installed, or the folder cannot be written to.
    """
    try:
        matplotlib: Any = import_module("matplotlib.figure")
    except ImportError as error:
        raise ConfigError(
            f"plots need Matplotlib ({error}); install it: pip install --require-hashes --no-deps -r requirements/plots.txt"
        ) from error
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in _PLOTS.items():
            # A Figure of its own has no window and no global state; savefig draws by Agg.
            figure = matplotlib.Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
            draw(figure.subplots(), result)
            figure.savefig(folder / f"{name}.png", metadata={"Software": None})
            written.append(folder / f"{name}.png")
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}; choose another folder with --plots") from error
    return written


def _precision_recall(axes: Any, result: EvaluationResult) -> None:
    for colour, (name, points) in zip(_COLOURS, result.curves.precision_recall.items(), strict=False):
        axes.plot([recall for recall, _ in points], [precision for _, precision in points], color=colour, label=name, drawstyle="steps-pre")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.01), title="Precision by recall, all test windows")
    axes.legend()


def _calibration(axes: Any, result: EvaluationResult) -> None:
    bins = result.curves.calibration
    low = min(min(one.predicted, one.observed or one.predicted) for one in bins) / 2
    axes.plot([low, 1], [low, 1], color=_COLOURS[4], linewidth=1)
    axes.plot([one.predicted for one in bins], [one.observed for one in bins], "o-", color=_COLOURS[0])
    axes.set(xscale="log", yscale="log", xlabel="mean predicted probability", ylabel="share of frauds",
             title="Calibration: ten groups of equal predicted fraud")  # fmt: skip


def _scores(axes: Any, result: EvaluationResult) -> None:
    edges = [edge for edge, _, _ in result.curves.histogram]
    width = [edge * (10**0.25 - 1) for edge in edges]
    for colour, place, name in ((_COLOURS[0], 1, "good"), (_COLOURS[3], 2, "fraud")):
        axes.bar(edges, [row[place] for row in result.curves.histogram], width, align="edge", color=colour, alpha=0.6, label=name)
    axes.set(xscale="log", yscale="log", xlabel="probability", ylabel="transactions", title="Scores of the ensemble")
    axes.legend()


def _days(axes: Any, result: EvaluationResult) -> None:
    found = result.curves
    places = range(len(found.days))
    axes.bar(places, [one.amount for one in found.days], color="#dfe5ea", label="fraud")
    axes.plot(places, [one.caught for one in found.days], "o-", color=_COLOURS[0], label="caught by the ensemble")
    axes.plot(places, [one.caught_by_rival for one in found.days], "o--", color=_COLOURS[1], label=f"caught by {found.rival}")
    shown = places[:: -(-len(places) // _N_LABELS)]
    axes.set_xticks(list(shown), [day(found.days[place].day_ms) for place in shown])
    axes.set(ylabel=result.base_currency, title="Money caught by day, at thresholds set before")
    axes.legend()


def _cost(axes: Any, result: EvaluationResult) -> None:
    rows = result.thresholds
    axes.plot([row.alert_rate for row in rows], [row.cost_per_1000 for row in rows], "o-", color=_COLOURS[0])
    axes.set(xscale="log", xlabel="share of transactions alerted", ylabel=f"{result.base_currency} per 1,000 transactions",
             title=f"Cost; an alert costs {result.plan.alert_price:g}")  # fmt: skip


_PLOTS: Final[dict[str, Callable[[Any, EvaluationResult], None]]] = {
    "precision_recall": _precision_recall,
    "calibration": _calibration,
    "scores": _scores,
    "days": _days,
    "cost": _cost,
}

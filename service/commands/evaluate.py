"""`weir evaluate`: how good models would have been on a history, or how good answers were."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.times import TIME_MS, parse_time_ms
from service.tracking_options import require_trackers, tracked, write_tracked

if TYPE_CHECKING:
    import polars as pl

    from models.answers import Evaluation
    from models.evaluation_result import EvaluationResult
    from models.folds import Plan
    from service.settings import Settings


class _Starts(click.ParamType):
    """Times with commas between them."""

    name = "times"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the times in ms."""
        try:
            return tuple(parse_time_ms(text.strip()) for text in str(value).split(","))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _KnownDays(click.ParamType):
    """A number of days, or `all`."""

    name = "days"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Return the number, or `all`."""
        return "all" if value == "all" else int(click.IntRange(min=1).convert(value, param, ctx))


@click.command(name="evaluate")
@click.argument("history", type=click.Path(exists=True, path_type=Path))
@click.option("--train-days", type=click.IntRange(min=2), default=28, show_default=True, help="Days that train.")
@click.option(
    "--delay-days", type=click.IntRange(1, 40), default=7, show_default=True, help="Days between training and test, for labels to come."
)
@click.option("--test-days", type=click.IntRange(min=1), default=7, show_default=True, help="Days that test.")
@click.option("--starts", type=_Starts(), help="First training days, comma-separated; default: the newest test windows.")
@click.option("--folds", "n_folds", type=click.IntRange(min=1), default=4, show_default=True, help="How many, without --starts.")
@click.option(
    "--known-days", type=_KnownDays(), default="30", show_default=True,
    help="A card with a fraud of so many days that was known by then leaves card precision; all: since the first training day.",
)  # fmt: skip
@click.option("--drop-known", is_flag=True, help="Known cards leave the whole test set.")
@click.option("--fixed-delay", is_flag=True, help="Every fraud becomes known exactly --delay-days after it happened.")
@click.option(
    "--configurations", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML: a table of training options for each configuration to compare; the first is the main one.",
)  # fmt: skip
@click.option("--without", multiple=True, metavar="BLOCK", help="Compare with a configuration that lacks these features. May be repeated.")
@click.option("--curves", is_flag=True, help="Also vary the training days (7, 14, 28, 56) and the label delay (1, 3, 7, 14).")
@click.option("--leakage", is_flag=True, help="Also check that nothing from the future leaks (two more replays, one more training).")
@click.option("--min-frauds", type=click.IntRange(min=5), default=100, show_default=True, help="Frauds that calibration needs.")
@click.option("--alert-price", type=click.FloatRange(min=0), default=5.0, show_default=True, help="Of looking at one alert.")
@click.option("--loss-share", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="Share of missed fraud that is lost.")
@click.option("--report", type=click.Path(file_okay=False, path_type=Path), help="Write an HTML page and the result to this folder.")
@click.option("--plots", type=click.Path(file_okay=False, path_type=Path), help="Write plots (PNG, needs Matplotlib) to this folder.")
@click.option(
    "--scores", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Evaluate these answers instead, one JSON object a line."
)
@click.option("--from", "from_ms", type=TIME_MS, help="With --scores: first event time that should be answered.")
@click.option("--to", "to_ms", type=TIME_MS, help="With --scores: end of it (not included).")
@tracked
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def command(
    context: click.Context, /, history: Path, scores: Path | None, from_ms: int | None, to_ms: int | None, *, as_json: bool, **choices: Any
) -> None:
    """Train and test on HISTORY again and again as time goes on: how good would the models have been?

    Each fold trains on a window with the labels that were known at its end, waits --delay-days, and tests on the days after it. The table
    has the ensemble, its members, the small model and three baselines; differences come with their errors. docs/evaluation.md defines
    every number. With --scores: how good were answers that were given?

    \b
    Examples:
      weir evaluate var/history.parquet
      weir evaluate var/history.parquet --starts 2026-01-05,2026-01-12 --without merchant_labels --report var/evaluation
      weir evaluate var/history.parquet --train-days 7 --delay-days 7 --test-days 7 --known-days all --drop-known --json
      weir tail scores --json --from-beginning --until-end > scores.jsonl
      weir evaluate var/history.parquet --scores scores.jsonl
    """  # noqa: D301 - click's mark for lines that stay as they are
    import msgspec

    from features.history import read_history

    frame = read_history(history)
    if scores is not None:
        found = _of_answers(scores, frame, from_ms, to_ms)
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode() if as_json else _text(found))
        return
    from service.context import settings_of

    _of_models(settings_of(context).settings, history, frame, choices, as_json=as_json)


def _of_models(settings: "Settings", history: Path, frame: "pl.DataFrame", choices: Mapping[str, Any], *, as_json: bool) -> None:
    import msgspec

    from service.evaluation_running import configurations_of, run_evaluation
    from service.evaluation_text import result_text
    from service.model_training import options_of
    from service.progress import stage_progress
    from service.tracking import of_evaluation

    require_trackers(choices)
    plan = _plan(choices)
    base = msgspec.structs.replace(options_of(settings), min_calibration_frauds=choices["min_frauds"])
    configurations = configurations_of(base, choices["configurations"], choices["without"])
    with stage_progress() as show:
        result = run_evaluation(
            frame, settings, plan, configurations, with_curves=choices["curves"], with_leakage=choices["leakage"], progress=show
        )
    for path in _written(result, choices["report"], choices["plots"]):
        click.echo(f"wrote {path}", err=True)
    write_tracked(of_evaluation(f"evaluation-{history.stem}", result), choices)
    click.echo(msgspec.json.format(msgspec.json.encode(result)).decode() if as_json else result_text(result))


def _written(result: "EvaluationResult", report: Path | None, plots: Path | None) -> list[Path]:
    from service.evaluation_plots import write_plots
    from service.evaluation_report import write_report

    pages = [] if report is None else write_report(result, report)
    return pages if plots is None else [*pages, *write_plots(result, plots)]


def _plan(choices: Mapping[str, Any]) -> "Plan":
    from models.folds import Plan

    same = ("train_days", "delay_days", "test_days", "n_folds", "alert_price", "loss_share")
    return Plan(
        **{name: choices[name] for name in same},
        starts_ms=choices["starts"] or (),
        known_days=None if choices["known_days"] == "all" else choices["known_days"],
        is_known_dropped=choices["drop_known"],
        is_delay_fixed=choices["fixed_delay"],
    )


def _of_answers(scores: Path, frame: "pl.DataFrame", from_ms: int | None, to_ms: int | None) -> "Evaluation":
    from models.answers import evaluate_answers, read_answers

    return evaluate_answers(read_answers(scores), frame, from_ms=from_ms, to_ms=to_ms)


def _text(found: "Evaluation") -> str:
    counts = {
        "answers": found.answers,
        "distinct transactions": found.distinct,
        "repeated answers": found.repeated,
        "of these different": found.repeated_different,
        "different without a flag": found.repeated_different_unflagged,
        "not answered": found.missing,
        "not in the history": found.unknown,
        "frauds": found.frauds,
        "alerts": found.alerts,
    }
    metrics = {"precision of alerts": found.precision, "recall of alerts": found.recall}
    metrics |= {name: value["mean"] for name, value in found.models["ensemble"].items()}
    lines = [f"{name:<26}{value:>12,}" for name, value in counts.items()]
    return "\n".join([*lines, "", *(f"{name:<26}{'-' if value is None else format(value, '.4f'):>12}" for name, value in metrics.items())])

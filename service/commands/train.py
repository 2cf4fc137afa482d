"""`weir train`: a model from a history, signed and registered."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.times import TIME_MS
from service.tracking_options import require_trackers, tracked, write_tracked

if TYPE_CHECKING:
    from models.fitted import Fitted
    from models.training_curves import RoundPoint


@click.command(name="train")
@click.argument("history", type=click.Path(exists=True, path_type=Path))
@click.option("--from", "from_ms", type=TIME_MS, help="First event time that trains; default: 28 days before the youngest matured one.")
@click.option("--to", "to_ms", type=TIME_MS, help="Train as of this moment (not included); default: the history's end.")
@click.option("--name", default="weir", show_default=True, help="Name of the model.")
@click.option("--min-frauds", type=click.IntRange(min=5), help="Frauds that calibration needs; default: 100.")
@click.option("--members", help="Members of the ensemble, separated by commas; default: xgboost and three more, see docs/training.md.")
@click.option("--options", "options_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Training options (TOML).")
@tracked
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def command(
    context: click.Context,
    /,
    history: Path,
    from_ms: int | None,
    to_ms: int | None,
    name: str,
    min_frauds: int | None,
    members: str | None,
    options_file: Path | None,
    *,
    as_json: bool,
    **trackers: Any,
) -> None:
    """Train a model on HISTORY (a Parquet file or a folder of them), sign it and register it.

    The first model of an empty registry becomes the champion; a later one waits for `weir models promote`.

    \b
    Examples:
      weir train var/history.parquet
      weir train var/history.parquet --to 2026-03-01 --json
      weir train var/history.parquet --members xgboost,mlp
      weir train var/history.parquet --tensorboard var/runs
    """  # noqa: D301 - click's mark for lines that stay as they are
    from features.history import read_history
    from service.context import settings_of
    from service.model_training import train_and_register
    from service.tracking import of_training
    from service.training_options import chosen_options
    from service.training_screen import show_trained, stages_shown

    curve: list[RoundPoint] = []

    def observe(fitted: "Fitted") -> None:
        from models.training_curves import boosting_curve

        curve.extend(boosting_curve(fitted))

    is_tracked = require_trackers(trackers)
    settings = settings_of(context).settings
    options = chosen_options(settings, options_file, members=members, min_frauds=min_frauds)
    frame = read_history(history)
    with stages_shown() as progress:
        found = train_and_register(
            frame, settings, options=options, name=name, from_ms=from_ms, to_ms=to_ms, observe=observe if is_tracked else None,
            progress=progress,
        )  # fmt: skip
    show_trained(found, as_json=as_json)
    write_tracked(of_training(found.reference, found.trained, curve), trackers)

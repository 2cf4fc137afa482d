"""The options of commands whose runs may be recorded for users of TensorBoard, Weights & Biases and MLflow."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from service.tracking import Tracked


def tracked(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--tensorboard`, `--wandb` and `--mlflow`; hand their values to `require_trackers` and `write_tracked`."""
    folder = click.Path(file_okay=False, path_type=Path)
    command = click.option("--mlflow", metavar="URI", help="Also record the run in MLflow at this address.")(command)
    command = click.option("--wandb", type=folder, help="Also record the run for Weights & Biases in this folder, offline.")(command)
    return click.option("--tensorboard", type=folder, help="Also write event files for TensorBoard into this folder.")(command)


def require_trackers(choices: Mapping[str, Any]) -> bool:
    """Return whether a tracker is wanted at all.

    Raises:
        ConfigError: One that is wanted is not installed: told before the long work.
    """
    from service.mlflow_mirror import require_mlflow
    from service.tensorboard_files import require_tensorboard
    from service.wandb_run import require_wandb

    needed = {"tensorboard": require_tensorboard, "wandb": require_wandb, "mlflow": require_mlflow}
    wanted = [require for name, require in needed.items() if choices[name] is not None]
    for require in wanted:
        require()
    return bool(wanted)


def write_tracked(run: Tracked, choices: Mapping[str, Any]) -> None:
    """Record a run wherever it is wanted; say so on stderr.

    Raises:
        ConfigError: A tracker does not take it.
    """
    from service.mlflow_run import write_mlflow
    from service.tensorboard_files import write_tensorboard
    from service.wandb_run import write_wandb

    if (folder := choices["tensorboard"]) is not None:
        click.echo(f"wrote {write_tensorboard(run, folder)}: tensorboard --logdir {folder}", err=True)
    if (folder := choices["wandb"]) is not None:
        click.echo(f"wrote {(place := write_wandb(run, folder))}: wandb sync {place}", err=True)
    if (uri := choices["mlflow"]) is not None:
        click.echo(f"recorded run {write_mlflow(run, uri)} in MLflow at {uri}", err=True)

"""Runs for Weights & Biases, recorded offline: nothing leaves the machine until somebody says `wandb sync`. An extra."""

from collections import defaultdict
from pathlib import Path
from types import ModuleType

from domain.errors import ConfigError
from service.settings import refuse_telemetry
from service.tracking import Tracked

_PROJECT = "weir"


def require_wandb() -> ModuleType:
    """Return the library.

    Raises:
        ConfigError: It is not installed.
    """
    refuse_telemetry()
    try:
        import wandb
    except ImportError as error:
        raise ConfigError(
            f"Weights & Biases is not installed ({error.name} is missing): pip install --require-hashes --no-deps -r requirements/wandb.txt"
        ) from error
    found: ModuleType = wandb
    return found


def write_wandb(run: Tracked, folder: Path) -> Path:
    """Record a run offline below `folder/wandb`; return its folder, which `wandb sync` uploads.

    A metric's lines have a step of their own (`<metric>/step`), as rounds, folds and days are different things.

    Raises:
        ConfigError: Weights & Biases is not installed or cannot record.
    """
    wandb = require_wandb()
    steps: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for point in run.points:
        steps[point.metric, point.step][f"{point.metric}/{point.line}"] = point.value
    try:
        folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(
            console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True, x_disable_meta=True,
            x_disable_machine_info=True, x_save_requirements=False,
        )  # fmt: skip
        recorded = wandb.init(
            project=_PROJECT, name=run.name, dir=str(folder), mode="offline", config=dict(run.settings), notes=run.text, settings=settings
        )
        for metric in dict.fromkeys(metric for metric, _ in steps):
            recorded.define_metric(f"{metric}/step", hidden=True)
            recorded.define_metric(f"{metric}/*", step_metric=f"{metric}/step")
        for (metric, step), values in steps.items():
            recorded.log({f"{metric}/step": step, **values})
        recorded.summary.update(dict(run.results))
        place = Path(recorded.dir).parent
        recorded.finish()
        wandb.teardown()  # its own process writes the last records when it ends
    except (OSError, wandb.Error) as error:
        raise ConfigError(f"Weights & Biases cannot record to {folder}: {error}") from error
    return place

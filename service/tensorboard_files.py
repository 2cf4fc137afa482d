"""Runs as event files that TensorBoard reads. An extra: tensorboardX writes them, TensorBoard itself is not needed for that."""

from pathlib import Path
from types import ModuleType

from domain.errors import ConfigError
from service.tracking import Tracked


def require_tensorboard() -> ModuleType:
    """Return the library that writes event files.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import tensorboardX
    except ImportError as error:
        raise ConfigError(
            f"event files for TensorBoard need tensorboardX ({error.name} is missing): "
            "pip install --require-hashes --no-deps -r requirements/tensorboard.txt"
        ) from error
    found: ModuleType = tensorboardX
    return found


def write_tensorboard(run: Tracked, folder: Path) -> Path:
    """Write a run into `folder/<its name>`, each line in a folder of its own, so that charts lay them over each other.

    A run of the same name that is there already is one that was recorded before: another number is added to the name.

    Raises:
        ConfigError: tensorboardX is not installed, or the folder cannot be written.
    """
    library = require_tensorboard()
    try:
        place = _new_folder(folder, run.name)
        with library.SummaryWriter(str(place), write_to_disk=True) as writer:
            writer.add_text("run", run.text)
            rows = [f"| {key} | {value} |" for key, value in run.settings.items()]
            writer.add_text("settings", "\n".join(["| setting | value |", "|---|---|", *rows]))
            for name, value in run.results.items():
                model, _, metric = name.rpartition(".")
                writer.add_scalar(f"results_{metric}/{model}", value, 0)
        for line in dict.fromkeys(point.line for point in run.points):
            with library.SummaryWriter(str(place / line), write_to_disk=True) as writer:
                for point in run.points:
                    if point.line == line:
                        writer.add_scalar(point.metric, point.value, point.step)
    except OSError as error:
        raise ConfigError(f"event files cannot be written to {folder}: {error}; give another folder") from error
    return place


def _new_folder(folder: Path, name: str) -> Path:
    number = 1
    while True:
        place = folder / (name if number == 1 else f"{name}-{number}")
        try:
            place.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return place

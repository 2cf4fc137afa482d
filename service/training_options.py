"""Training options as a person gives them: settings, a file, and the command line, the later before the earlier."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domain.errors import ConfigError
from service.model_training import options_of
from service.settings import Settings

if TYPE_CHECKING:
    from models.options import TrainingOptions


def chosen_options(
    settings: Settings, file: Path | None, *, members: str | None = None, min_frauds: int | None = None
) -> "TrainingOptions":
    """Return the options of a training.

    Args:
        settings: Give the policy's rates.
        file: TOML with names of `models.options.TrainingOptions`; None = none.
        members: Names separated by commas; None = the file's or the product's.
        min_frauds: Frauds that calibration needs; None likewise.

    Raises:
        ConfigError: The file cannot be read, or holds an unknown name or a value outside its range.
    """
    from models.options import options_from

    table = {} if file is None else read_toml(file)
    if members is not None:
        table["members"] = [name.strip() for name in members.split(",") if name.strip()]
    if min_frauds is not None:
        table["min_calibration_frauds"] = min_frauds
    return options_from(table, options_of(settings), str(file or "command line"))


def read_toml(file: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        ConfigError: It cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} cannot be read as TOML: {error}; correct it") from error

"""`weir evaluate HISTORY`: configurations from a file, the evaluation itself, curves and leakage checks."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import msgspec

from domain.errors import ConfigError
from service.settings import Settings
from service.wiring import rates_of

if TYPE_CHECKING:
    import polars as pl

    from models.evaluation_result import EvaluationResult
    from models.folds import Plan
    from models.options import TrainingOptions
    from models.prequential import Progress

MAIN: Final = "main"


def configurations_of(base: "TrainingOptions", file: Path | None, without: Sequence[str]) -> dict[str, "TrainingOptions"]:
    """Return the configurations to compare, the main one first.

    Args:
        base: The product's options with the settings' policy.
        file: TOML with a table of options for each configuration; None = `base` alone.
        without: Blocks or names of features that a further configuration lacks.

    Raises:
        ConfigError: The file cannot be read, holds no table, or names an option that does not exist.
    """
    from models.options import options_from

    found = {MAIN: base}
    if file is not None:
        found = {name: options_from(table, base, f"{file} [{name}]") for name, table in _tables(file).items()}
    if without:
        first = next(iter(found.values()))
        name = "without_" + "_".join(without)
        found[name] = msgspec.structs.replace(first, without=(*first.without, *without))
    return found


def run_evaluation(
    history: "pl.DataFrame",
    settings: Settings,
    plan: "Plan",
    configurations: Mapping[str, "TrainingOptions"],
    *,
    with_curves: bool = False,
    with_leakage: bool = False,
    progress: "Progress" = lambda _stage, _share: None,
) -> "EvaluationResult":
    """Evaluate configurations on a history, and what was asked for besides.

    Args:
        history: Normalised.
        settings: For the features and the rates.
        plan: How.
        configurations: By name, the main one first.
        with_curves: Vary training days and label delay.
        with_leakage: Check that nothing leaks.
        progress: Told the stage that begins and its finished share.

    Raises:
        HistoryError: The history is too short for the plan.
        TrainingRefused: No fold can be trained and tested.
    """
    from models.evaluation_extras import check_leakage, delay_curve, learning_curve
    from models.prequential import evaluate

    features, rates = settings.features.definition(), rates_of(settings)
    options, began = next(iter(configurations.values())), dict[str, float]()

    def tell(stage: str, share: float) -> None:
        began.setdefault(stage, perf_counter())
        progress(stage, share)

    result = evaluate(history, features, rates, plan, configurations, tell)
    if with_curves:
        result = msgspec.structs.replace(
            result,
            learning_curve=learning_curve(history, features, rates, plan, options, progress=tell),
            delay_curve=delay_curve(history, features, rates, plan, options, progress=tell),
        )
    if with_leakage:
        result = msgspec.structs.replace(result, leakage=check_leakage(history, features, rates, plan, options, progress=tell))
    ends = [*list(began.values())[1:], perf_counter()]
    return msgspec.structs.replace(result, seconds={stage: end - began[stage] for stage, end in zip(began, ends, strict=True)})


def _tables(file: Path) -> dict[str, dict[str, object]]:
    try:
        found = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} cannot be read as TOML: {error}") from error
    if not found or not all(isinstance(table, dict) and "/" not in name for name, table in found.items()):
        raise ConfigError(f"{file} must hold a table for each configuration, like [main] and [deeper], and nothing else")
    return found

"""How a model is trained: every number that is a choice, once."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from domain.errors import ConfigError

DAY_MS = 86_400_000

DEFAULT_MEMBERS: Final = ("xgboost", "random_forest", "extra_trees", "logistic_regression")


class Sizes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How large the members are. The defaults are the product's; tests take smaller ones."""

    boosting_rounds: Annotated[int, Meta(ge=1, le=5_000)] = 300
    forest_trees: Annotated[int, Meta(ge=1, le=2_000)] = 150
    extra_trees: Annotated[int, Meta(ge=1, le=2_000)] = 150
    small_rounds: Annotated[int, Meta(ge=1, le=1_000)] = 100
    isolation_trees: Annotated[int, Meta(ge=1, le=2_000)] = 100
    mlp_epochs: Annotated[int, Meta(ge=1, le=1_000)] = 20
    svm_components: Annotated[int, Meta(ge=16, le=4_096)] = 256


class BoostingOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Shape of the XGBoost member: what a search for better ones varies, besides `Sizes.boosting_rounds`."""

    depth: Annotated[int, Meta(ge=1, le=12)] = 4
    learning_rate: Annotated[float, Meta(gt=0, le=1)] = 0.04
    row_share: Annotated[float, Meta(gt=0, le=1)] = 0.8
    """Of the rows, for each tree."""
    feature_share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Of the features, for each tree."""
    min_child_weight: Annotated[float, Meta(ge=0)] = 2
    l2: Annotated[float, Meta(ge=0)] = 2


class TrainingOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `train` may be told; all of it stands in the manifest, so it is part of the digest."""

    days: int = 28
    """Days of the default training window."""
    warm_up_days: int = 30
    """History wanted before the first training day."""
    calibration_share: float = 0.25
    """Share of the eligible days that calibrate, the last ones."""
    min_calibration_frauds: int = 100
    threshold_days: int = 7
    """Newest days before T from which the thresholds are taken; they need no labels."""
    alert_rate: float = 0.005
    decline_share: float = 0.4
    most_good_rows: Annotated[int, Meta(ge=1)] = 50_000
    """Good rows that the members are fitted on; more are sampled down and the odds corrected."""
    tree_good_rows: Annotated[int, Meta(ge=1)] = 10_000
    """Good rows that one extremely randomised tree sees."""
    seed: int = 20_260_101
    n_jobs: int = 2
    """Threads; what is learnt does not depend on their number."""
    sizes: Sizes = Sizes()
    members: Annotated[tuple[str, ...], Meta(min_length=1)] = DEFAULT_MEMBERS
    """Names of `models.members.MEMBERS`."""
    boosting: BoostingOptions = BoostingOptions()
    without: tuple[str, ...] = ()
    """Features that the model may not use: names with `*`, or blocks of `features.spec.block`."""
    imbalance: Literal["none", "weights", "repeat", "smote"] = "none"
    """How frauds are made to count more, see `models.imbalance`; the odds are corrected for it."""
    fraud_factor: Annotated[int, Meta(ge=1, le=1_000)] = 10
    """As how many a fraud counts, unless `imbalance` is none."""
    variants: tuple[Literal["pruned", "int8-leaf"], ...] = ("pruned", "int8-leaf")
    """Compiled beside the full and the small graph, see `models.variants`."""


def options_from(table: Mapping[str, Any], base: TrainingOptions, origin: str) -> TrainingOptions:
    """Return `base` with the entries of `table` in place of its own; in `sizes` and `boosting` entry by entry.

    Args:
        table: As read from TOML.
        base: What holds where the table is silent.
        origin: Where the table came from, for the error.

    Raises:
        ConfigError: An unknown name, or a value of the wrong type or outside its range.

    >>> options_from({"sizes": {"boosting_rounds": 50}}, TrainingOptions(), "x").sizes.boosting_rounds
    50
    """
    known = msgspec.to_builtins(base)
    merged = {
        name: {**known[name], **value} if isinstance(known.get(name), dict) and isinstance(value, Mapping) else value
        for name, value in table.items()
    }
    try:
        return msgspec.convert({**known, **merged}, TrainingOptions)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: training options: {error}; docs/training.md lists them") from error

"""How a model is trained: every number that is a choice, once."""

import msgspec

DAY_MS = 86_400_000


class Sizes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How large the members are. The defaults are the product's; tests take smaller ones."""

    boosting_rounds: int = 300
    forest_trees: int = 150
    extra_trees: int = 150
    small_rounds: int = 100


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
    most_good_rows: int = 50_000
    """Good rows that the members are fitted on; more are sampled down and the odds corrected."""
    tree_good_rows: int = 10_000
    """Good rows that one extremely randomised tree sees."""
    seed: int = 20_260_101
    n_jobs: int = 2
    """Threads; what is learnt does not depend on their number."""
    sizes: Sizes = Sizes()

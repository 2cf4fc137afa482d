"""The demo's noise limits of drift: measured once on its own history and kept, so that drift is judged from the first minute."""

from collections.abc import Callable
from pathlib import Path

from service.settings import Settings
from service.web.baseline import measure_baseline
from service.web.evaluation import decoded_effects, keep_effects


def set_baseline(history: Path, settings: Settings, model: str, directory: Path, progress: Callable[[float], None]) -> None:
    """Give the dashboard of this run the noise limits of `model`, measuring them first if they were not yet.

    Args:
        history: The demo's.
        settings: Of the demo; its dashboard does not run yet.
        model: `name@version` of the champion.
        directory: Where they are kept for the next run.
        progress: Told the finished share, in [0, 1].

    Raises:
        HistoryError: The history holds too few days.
    """
    kept = directory / f"noise-{model}.npz"
    effects = decoded_effects(kept.read_bytes()) if kept.exists() else None
    if effects is None:
        effects = measure_baseline(settings, history, progress)
        kept.write_bytes(effects.encode())
    keep_effects(Path(settings.monitoring.directory), model, effects)

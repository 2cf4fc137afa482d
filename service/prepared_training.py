"""A history replayed once for what looks at training rows again and again: the search for options, the report on features."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from service.settings import Settings
from service.wiring import rates_of

if TYPE_CHECKING:
    from models.dataset import Dataset
    from models.options import TrainingOptions

#: Of the whole work, as a progress bar shows it.
_REPLAY_SHARE = 0.2


def training_rows(
    history: Path,
    settings: Settings,
    options: "TrainingOptions",
    *,
    from_ms: int | None,
    to_ms: int | None,
    progress: Callable[[float], None],
) -> "tuple[Dataset, Callable[[float], None]]":
    """Return the rows that `weir train` would fit on, and what is told the finished share of the work that follows.

    Args:
        history: A Parquet file or a folder of them.
        settings: Features and rates.
        options: Of the training.
        from_ms: See `models.training.train`.
        to_ms: See there.
        progress: Told the finished share of everything.

    Raises:
        HistoryError: The history cannot be read.
        TrainingRefused: It cannot carry a model.
    """
    from features.history import read_history
    from models.stages import Stages
    from models.training import prepare

    prepared = prepare(
        read_history(history), features=settings.features.definition(), rates=rates_of(settings), options=options, from_ms=from_ms,
        to_ms=to_ms, stages=Stages(lambda _stage, share: progress(_REPLAY_SHARE * share)),
    )  # fmt: skip
    return prepared.dataset, lambda share: progress(_REPLAY_SHARE + (1 - _REPLAY_SHARE) * share)

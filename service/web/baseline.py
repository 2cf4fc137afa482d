"""Noise limits from a history, so that drift is judged from the first day and not after four weeks of serving."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.decision import Tier
from domain.errors import HistoryError
from features.history import read_history
from features.offline import replay
from models.registry_history import CHAMPION
from models.scorer import Scorer
from monitoring.counters import Counters
from monitoring.design_effect import MIN_DAYS, DesignEffects, estimate
from monitoring.packed import HOUR_MS, Counts
from monitoring.profile import Profile
from service.settings import Settings
from service.web.shelf import Shelf
from service.wiring import load_champion, rates_of, registry_of, verifying_key_of

DAY_MS: Final = 24 * HOUR_MS
WARM_UP_DAYS: Final = 30
"""First days of the history, whose windows are not full yet."""
_MOST_DAYS: Final = 56
_BLOCK_ROWS: Final = 4_096


def measure_baseline(settings: Settings, history: Path, progress: Callable[[float], None]) -> DesignEffects:
    """Return the design effects of the champion, measured on a history.

    The history is replayed and scored as if it were served. Its first 30 days fill the windows, the days that the model was
    trained on are left out, and at most the newest 56 days count.

    Args:
        settings: In force.
        history: Parquet file or archive.
        progress: Told the finished share, in [0, 1].

    Raises:
        HistoryError: It holds too few days beside those of the training.
        ConfigError: There is no champion.
    """
    scorer = load_champion(settings)
    shelved = Shelf(registry_of(settings), verifying_key_of(settings)).get(CHAMPION)
    frame = read_history(history, with_further=False)
    times = frame["event_time_ms"].to_numpy()
    window = shelved.manifest.window
    first_ms = max(int(times[0]) + WARM_UP_DAYS * DAY_MS, int(times[-1]) - _MOST_DAYS * DAY_MS) if len(times) else 0
    keep = (times >= first_ms) & ~((times >= window.from_ms) & (times < window.to_ms))
    vectors = replay(frame, settings.features.definition(), rates_of(settings), keep=keep, progress=progress)
    found = estimate(_hours(shelved.profile, scorer, vectors, times[keep]), shelved.profile)
    if not found.is_enough:
        raise HistoryError(
            f"{history} holds {found.n_days} days beside the {WARM_UP_DAYS} that fill the windows and those that "
            f"{shelved.reference} was trained on; the baseline needs {MIN_DAYS}"
        )
    return found


def _hours(profile: Profile, scorer: Scorer, vectors: NDArray[np.float32], time_ms: NDArray[np.int64]) -> dict[int, Counts]:
    """Count as a worker does, and take what changed once a day."""
    counters, found = Counters(profile, f"{scorer.name}@{scorer.version}"), dict[int, Counts]()
    if not len(time_ms):
        return found
    days = np.arange(time_ms[0] // DAY_MS, time_ms[-1] // DAY_MS + 2) * DAY_MS
    for first, end in pairwise(np.searchsorted(time_ms, days).tolist()):
        for a in range(first, end, _BLOCK_ROWS):
            b = min(a + _BLOCK_ROWS, end)
            scores = scorer.score(vectors[a:b])
            counters.count(vectors[a:b], scores, time_ms[a:b], scorer.decide(scores, Tier.FULL))
        found.update(counters.take().hours)
    return found

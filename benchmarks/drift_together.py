"""Several features at once: what stationary days of simulated worlds show, and what changes do.

`python -m benchmarks.drift_together` prints one line for each day; it takes a minute and a half.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from features.currency import Rates
from features.history import normalised
from features.offline import replay
from features.spec import COLUMN, FEATURES, FeatureSettings
from models.options import DAY_MS
from monitoring.together import compare
from service.web.together import MOST_ROWS
from simulate.generate import START_MS, generate

_N_DAYS: Final = 100
_FULL_DAY: Final = 60
"""The windows are full."""
_DAYS: Final = (91.0, 93.0, 95.5, 97.0, 99.0)
_N_CARDS: Final = 2_500
_NAMES: Final = [feature.name for feature in FEATURES]

Vectors = NDArray[np.float32]
Change = Callable[[Vectors], None]


def _shift(feature: str, n_sd: float) -> Change:
    def apply(vectors: Vectors) -> None:
        vectors[:, COLUMN[feature]] += np.float32(n_sd * np.nanstd(vectors[:, COLUMN[feature]]))

    return apply


def _shuffle(*features: str) -> Change:
    def apply(vectors: Vectors) -> None:
        for feature in features:
            np.random.default_rng(1).shuffle(vectors[:, COLUMN[feature]])

    return apply


_CHANGES: Final[dict[str, Change]] = {
    "card_mean_7d + 0.25 sd": _shift("card_mean_7d", 0.25),
    "card_mean_7d + 0.5 sd": _shift("card_mean_7d", 0.5),
    "card_mean_7d, card_total_24h shuffled": _shuffle("card_mean_7d", "card_total_24h"),
    "merchant_total shuffled": _shuffle(*(name for name in _NAMES if name.startswith("merchant_total"))),
}


def main() -> None:
    for seed in (1, 2):
        history = normalised(generate(n_days=_N_DAYS, n_cards=_N_CARDS, seed=seed), "the simulator")
        days = (history["event_time_ms"].to_numpy() - START_MS) / DAY_MS
        keep = days >= _FULL_DAY
        vectors, days = replay(history, FeatureSettings(maturity_days=7), Rates("EUR"), keep=keep), days[keep]

        def day(from_day: float, vectors: Vectors = vectors, days: NDArray[np.float64] = days) -> Vectors:
            found = vectors[(days >= from_day) & (days < from_day + 1)]
            return np.random.default_rng(0).permutation(found)[:MOST_ROWS]

        for from_day in _DAYS:
            _say(f"world {seed}, day {from_day}", day(from_day), _earlier(day, from_day))
        for name, change in _CHANGES.items():
            changed = day(_DAYS[-1])
            change(changed)
            _say(f"world {seed}, {name}", changed, _earlier(day, _DAYS[-1]))


def _earlier(day: Callable[[float], Vectors], from_day: float) -> list[Vectors]:
    return [day(from_day - 7 * week) for week in (1, 2, 3, 4)]


def _say(what: str, recent: Vectors, earlier: list[Vectors]) -> None:
    with threadpool_limits(1, user_api="blas"):
        found = compare(recent, earlier, _NAMES, seed=1)
    told, error = found.told, found.error
    print(
        f"{what}: {len(recent)} rows, AUC {told.auc:.3f} ({told.low:.3f} to {told.high:.3f}, usual {found.usual_auc:.3f}), "
        f"error {error.times:.2f} ({error.low:.2f} to {error.high:.2f}, usual {found.usual_times:.2f})"
        f"{', told by ' + found.told_by[0] if found.is_told else ''}{', looser' if found.is_looser else ''}",
        flush=True,
    )


if __name__ == "__main__":
    main()

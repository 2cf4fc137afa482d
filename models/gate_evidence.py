"""What the gate judges on: the same rows, answered by the candidate and by the champion, which neither of them has learnt from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from domain.decision import Tier
from models.folds import Fold
from models.judged import Judged
from models.manifest import Manifest
from models.options import DAY_MS, TrainingOptions
from models.played import Played, play
from models.prepared import Prepared
from models.prequential import Progress
from models.scorer import Scorer

CANDIDATE: Final = "candidate"
CHAMPION: Final = "champion"
_ENSEMBLE: Final = "ensemble"
_BLOCK: Final = 4_096
_N_JOBS: Final = 2


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one model said, (n,) each.

    Attributes:
        probability: Of fraud.
        is_alert: At the threshold that was set before the rows.
    """

    probability: NDArray[np.float64]
    is_alert: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Rows with their truth, and what both models said of them.

    Attributes:
        judged: The rows.
        fold: Number of each row's fold.
        candidate: Its answers.
        champion: None: there is no champion to compare with.
    """

    judged: Judged
    fold: NDArray[np.int64]
    candidate: Opinion
    champion: Opinion | None

    @property
    def n_frauds(self) -> int:
        """Return how many frauds there are."""
        return int(self.judged.target.sum())

    @property
    def n_folds(self) -> int:
        """Return how many folds there are."""
        return len(np.unique(self.fold))


def is_trainable(manifest: Manifest) -> bool:
    """Tell whether the manifest's options say all of a model: no member of it comes from elsewhere, and the full graph serves."""
    return not manifest.foreign and manifest.graph == "full"


def by_folds(
    prepared: Prepared, folds: Sequence[Fold], candidate: Manifest, champion: Manifest | None, progress: Progress
) -> tuple[Evidence | None, str]:
    """Train both models' options again for every fold, as of its T, and let them answer its test rows.

    The same options are trained once: the answers are the same.

    Args:
        prepared: The history, with the rows of the folds.
        folds: In time order.
        candidate: Gives the options.
        champion: Likewise; None = no comparison.
        progress: Told the fold that begins.

    Returns:
        The folds that count, all together; None and why if none does.
    """
    recipes = {CANDIDATE: _learnt_by(candidate)}
    if champion is not None and _learnt_by(champion) != recipes[CANDIDATE]:
        recipes[CHAMPION] = _learnt_by(champion)
    found = []
    for number, fold in enumerate(folds, start=1):
        progress(f"fold {number} of {len(folds)}", 0.0)
        found.append(play(prepared, fold, recipes, with_baselines=False))
    played = [one for one in found if isinstance(one, Played)]
    if not played:
        return None, next((one.skipped for one in found if not isinstance(one, Played)), "there is no fold")
    other = f"{CHAMPION}/{_ENSEMBLE}" if CHAMPION in recipes else _ENSEMBLE
    return (
        Evidence(
            Judged.joined([one.judged for one in played]),
            np.concatenate([np.full(len(one.judged.target), number) for number, one in enumerate(played)]),
            _played(played, _ENSEMBLE),
            None if champion is None else _played(played, other),
        ),
        "",
    )


def later_fold(history: pl.DataFrame, manifests: Sequence[Manifest], *, most_days: int) -> Fold | None:
    """Return the days that none of the bundles has learnt from and whose truth is known, the newest `most_days`; None if there are none.

    Rows younger than the maturity at the moment of a training did not train it. Without a column `story` only matured rows count.
    """
    newest = history["event_time_ms"].max()
    assert isinstance(newest, int)
    maturity_ms = max(one.window.maturity_ms for one in manifests)
    from_ms = max(one.window.to_ms - one.window.maturity_ms for one in manifests)
    to_ms = newest + 1 - (0 if "story" in history.columns else maturity_ms)
    from_ms = max(from_ms, to_ms - most_days * DAY_MS)
    return Fold(from_ms, from_ms, to_ms, maturity_ms) if to_ms > from_ms else None


def by_bundles(prepared: Prepared, fold: Fold, candidate: Scorer, champion: Scorer | None, *, fold_days: int) -> Evidence:
    """Let the bundles themselves answer the rows of `fold`, at their own thresholds; every `fold_days` days make one fold."""
    judged, _ = prepared.judged(fold)
    vectors = prepared.vectors[prepared.place[judged.row]]
    number = (judged.day - fold.as_of_ms // DAY_MS) // fold_days
    return Evidence(judged, number, opinion(candidate, vectors), None if champion is None else opinion(champion, vectors))


def opinion(scorer: Scorer, vectors: NDArray[np.float32]) -> Opinion:
    """Return what a loaded model says of vectors (n, N_FEATURES), in its full tier."""
    parts = [scorer.score(np.ascontiguousarray(vectors[first : first + _BLOCK])) for first in range(0, len(vectors), _BLOCK)]
    probability = np.concatenate(parts) if parts else np.empty(0)
    return Opinion(probability, probability >= scorer.manifest.policy.thresholds[Tier.FULL].review)


def _learnt_by(manifest: Manifest) -> TrainingOptions:
    """Return the options without what changes nothing that is learnt."""
    return msgspec.structs.replace(manifest.options, n_jobs=_N_JOBS, variants=())


def _played(played: Sequence[Played], name: str) -> Opinion:
    return Opinion(
        np.concatenate([one.contenders[name].probability for one in played]), np.concatenate([one.is_alert(name) for one in played])
    )

"""How boosting learnt, round by round: on the rows it was fitted on, and on days that it had not seen."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.boosting import Boosting
from models.calibration import log_loss
from models.fitted import Fitted
from models.metrics import measure

_N_POINTS: Final = 60
_MOST_GOOD_ROWS: Final = 20_000


class RoundPoint(NamedTuple):
    """The booster cut off after some rounds."""

    n_rounds: int
    learnt_log_loss: float
    """On the days before the calibration slice: all frauds and a share of the good rows, weighted for it."""
    unseen_log_loss: float
    """On the calibration slice, before calibration: mean of a row."""
    unseen_average_precision: float | None
    """On the calibration slice; None without frauds there."""


def boosting_curve(fitted: Fitted) -> list[RoundPoint]:
    """Return the curve of the XGBoost member that calibration used: it has not seen the slice. Empty without such a member.

    The shape, not the level, is what it tells: whether more rounds would still have helped, or fewer would have done.
    """
    member = fitted.calibrated.early.members.get("xgboost")
    if not isinstance(member, Boosting):
        return []
    dataset, tables = fitted.dataset, fitted.calibrated.early.tables
    learnt, weight = _learnt_rows(fitted)
    unseen = np.flatnonzero(dataset.day >= fitted.start_day)
    parts = [
        (tables.encode(dataset.vectors[rows]), dataset.target[rows], factor)
        for rows, factor in ((learnt, weight), (unseen, dataset.weight[unseen]))
    ]
    logits = [np.full(len(target), member.shift, np.float64) for _, target, _ in parts]
    n_rounds, found, before = member.booster.num_boosted_rounds(), [], 0
    for end in _ends(n_rounds):
        for number, (inputs, _, _) in enumerate(parts):
            # Its base score is a margin of nothing, so that slices of the rounds add up.
            logits[number] += member.booster.inplace_predict(inputs, predict_type="margin", iteration_range=(before, end))
        learnt_loss, unseen_loss = (
            float(np.average(log_loss(logit, target), weights=factor)) for logit, (_, target, factor) in zip(logits, parts, strict=True)
        )
        precision = measure(1 / (1 + np.exp(-logits[1])), parts[1][1])["average_precision"]
        found.append(RoundPoint(end, learnt_loss, unseen_loss, precision))
        before = end
    return found


def _learnt_rows(fitted: Fitted) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return places of rows before the slice, and what each stands for."""
    dataset = fitted.dataset
    is_before = dataset.day < fitted.start_day
    good = np.flatnonzero(is_before & ~dataset.target)
    every = max(1, -(-len(good) // _MOST_GOOD_ROWS))
    rows = np.sort(np.concatenate([np.flatnonzero(is_before & dataset.target), good[::every]]))
    return rows, dataset.weight[rows] * np.where(dataset.target[rows], 1, every)


def _ends(n_rounds: int) -> list[int]:
    """Return numbers of rounds, rising: the first ten each, then evenly, and all."""
    return sorted({*range(1, min(10, n_rounds) + 1), *range(n_rounds, 0, -max(1, n_rounds // _N_POINTS))})

"""How good a model is where: by channel, country, kind of merchant, and by fraud story where one is told."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from models.evaluation_result import Segment
from models.metrics import precision_and_recall

#: Last code of each range of ISO 18245, and what it is.
_MCC_RANGES: Final = (
    (1499, "agriculture"), (2999, "contractors"), (3299, "airlines"), (3499, "car rental"), (3999, "hotels"), (4799, "transport"),
    (4999, "utilities and telecoms"), (5599, "shops"), (5699, "clothing"), (7299, "other shops and food"), (7999, "services and leisure"),
    (8999, "professions"), (9999, "government and others"),
)  # fmt: skip
_NOT_SENT: Final = "not sent"
_LAST_CODE: Final = 9_999
_GROUPS: Final = {code: next(name for last, name in _MCC_RANGES if code <= last) for code in range(_LAST_CODE + 1)}


def segments(
    history: pl.DataFrame,
    row: NDArray[np.int64],
    target: NDArray[np.bool_],
    is_alert: NDArray[np.bool_],
    probabilities: Mapping[str, NDArray[np.float64]],
    *,
    min_frauds: int,
) -> list[Segment]:
    """Return the segments of the test rows of all folds together.

    Args:
        history: With the columns; those that nobody sent make no segments.
        row: Place of each test row in the history, (n,).
        target: Fraud or not.
        is_alert: At the thresholds that were set before the test.
        probabilities: By model, for average precision.
        min_frauds: Average precision needs as many.
    """
    found = []
    for kind, values in _columns(history, row):
        for value in sorted(set(values.drop_nulls().to_list())):
            inside = (values == value).fill_null(value=False).to_numpy()
            if kind == "story":
                inside |= ~target
            ap = {name: _average_precision(p[inside], target[inside], min_frauds) for name, p in probabilities.items()}
            precision, recall = precision_and_recall(is_alert[inside], target[inside])
            found.append(
                Segment(kind=kind, value=value, n=int(inside.sum()), n_frauds=int(target[inside].sum()), average_precision=ap,
                        recall=recall, precision=None if kind == "story" else precision)
            )  # fmt: skip
    return found


def _columns(history: pl.DataFrame, row: NDArray[np.int64]) -> Iterator[tuple[str, pl.Series]]:
    chosen = history.select("channel", "country", "mcc", *(["story"] if "story" in history.columns else []))[row]
    for kind in ("channel", "country"):
        if chosen[kind].is_not_null().any():
            yield kind, chosen[kind].fill_null(_NOT_SENT)
    if chosen["mcc"].is_not_null().any():
        yield "mcc_group", chosen["mcc"].replace_strict(_GROUPS, default=_NOT_SENT, return_dtype=pl.String)
    if "story" in chosen.columns:
        yield "story", chosen["story"]


def _average_precision(probability: NDArray[np.float64], target: NDArray[np.bool_], min_frauds: int) -> float | None:
    if target.sum() < min_frauds or target.all():
        return None
    return float(average_precision_score(target, probability))

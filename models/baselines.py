"""What the ensemble must beat: the amount alone, a plain logistic regression, XGBoost as it comes.

They get the same features and as many rows as the members: all frauds, a sample of the good rows, odds corrected. (On the one
simulated fold that was looked at, all 290,000 rows took XGBoost's defaults four times as long, and they ranked worse.) What the
product adds (weights of late reports, rows without blocks, worth of categories, tuned parameters, calibration, the mean of
several) they do not get.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from features.spec import COLUMN
from models.calibration import Platt, sigmoid
from models.dataset import Dataset
from models.options import TrainingOptions
from models.xgboost_alone import xgboost

_AMOUNT: Final = COLUMN["event_log_amount"]
#: XGBoost's own default of its scikit-learn interface.
_DEFAULT_ROUNDS: Final = 100


class Baseline(Protocol):
    """A fitted baseline."""

    def probability(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability of fraud of raw vectors, (n,)."""
        ...


class AmountRule:
    """The larger the amount, the more suspicious; an unknown amount is the least."""

    def __init__(self, dataset: Dataset, options: TrainingOptions) -> None:  # noqa: ARG002 - as the others are called
        found = Platt.fit(_log_amount(dataset.vectors), dataset.target, np.ones(len(dataset.target)))
        # The rule says "larger is worse" also where the history does not; then only its order means something.
        self._platt = found if found.slope > 0 else Platt(1e-3, found.intercept)

    def probability(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability of fraud."""
        return self._platt.probability(_log_amount(vectors))


class PlainLogistic:
    """Logistic regression of scikit-learn on standardised vectors, the mean where one is missing."""

    def __init__(self, dataset: Dataset, options: TrainingOptions) -> None:
        rows, self._shift = _sampled(dataset, options)
        self._model = make_pipeline(
            SimpleImputer(keep_empty_features=True), StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3)
        )  # fmt: skip
        with threadpool_limits(1, user_api="blas"):
            self._model.fit(dataset.vectors[rows], dataset.target[rows])

    def probability(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability of fraud, sampling corrected."""
        return sigmoid(np.asarray(self._model.decision_function(vectors), np.float64) + self._shift)


class PlainXgboost:
    """One XGBoost with the library's defaults."""

    def __init__(self, dataset: Dataset, options: TrainingOptions) -> None:
        rows, self._shift = _sampled(dataset, options)
        matrix = xgboost.QuantileDMatrix(dataset.vectors[rows], dataset.target[rows], nthread=1)
        parameters = {"objective": "binary:logistic", "seed": options.seed, "nthread": 1}
        self._booster = xgboost.train(parameters, matrix, _DEFAULT_ROUNDS)

    def probability(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability of fraud, sampling corrected."""
        margin = self._booster.inplace_predict(vectors, predict_type="margin")
        return sigmoid(np.asarray(margin, np.float64) + self._shift)


#: The longest to fit comes first.
BASELINES: Final[Mapping[str, Callable[[Dataset, TrainingOptions], Baseline]]] = {
    "baseline_xgboost": PlainXgboost,
    "baseline_logistic": PlainLogistic,
    "baseline_amount": AmountRule,
}


def fit_baselines(dataset: Dataset, options: TrainingOptions) -> dict[str, Baseline]:
    """Fit every baseline, `n_jobs` at a time."""
    with ThreadPoolExecutor(options.n_jobs) as threads:
        fitted = threads.map(lambda fit: fit(dataset, options), BASELINES.values())
        return dict(zip(BASELINES, fitted, strict=True))


def _sampled(dataset: Dataset, options: TrainingOptions) -> tuple[NDArray[np.int64], float]:
    """Return all frauds and at most `most_good_rows` good rows, and what to add to log odds that are learnt on them."""
    good = np.flatnonzero(~dataset.target)
    share = min(1.0, options.most_good_rows / max(len(good), 1))
    chosen = np.random.default_rng(options.seed).choice(good, round(share * len(good)), replace=False)
    return np.sort(np.concatenate([np.flatnonzero(dataset.target), chosen])), float(np.log(share))


def _log_amount(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.nan_to_num(vectors[:, _AMOUNT].astype(np.float64), nan=0.0)

"""The ensemble's members: name -> how to fit one. Add your own here: one file with `logit` and `compile`, one line below."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from models.boosting import Boosting
from models.forests import ExtraTrees, RandomForest
from models.graph import Graph
from models.linear import LogisticRegression
from models.options import TrainingOptions
from models.sample import Sample


class Member(Protocol):
    """A fitted member; it can be pickled."""

    def logit(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the log odds of fraud, shape (n,), by the library that fitted it: what its compiled form must equal."""
        ...

    def compile(self, graph: Graph, inputs: str) -> str:
        """Add the member to `graph`; return the name of its log odds, float32 (n, 1)."""
        ...


Fit = Callable[[Sample, TrainingOptions], Member]

MEMBERS: Final[Mapping[str, Fit]] = {
    "xgboost": Boosting.fit,
    "random_forest": RandomForest.fit,
    "extra_trees": ExtraTrees.fit,
    "logistic_regression": LogisticRegression.fit,
}

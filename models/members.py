"""The ensemble's members: name -> how to fit one. Add your own here: one file with `logit` and `compile`, one line below."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from domain.errors import ConfigError
from models.boosting import Boosting
from models.decision_tree import DecisionTree
from models.forests import ExtraTrees, RandomForest
from models.graph import Graph
from models.hist_gradient_boosting import HistGradientBoosting
from models.isolation_forest import IsolationForest
from models.linear import LogisticRegression
from models.mlp import Mlp
from models.options import TrainingOptions
from models.sample import Sample
from models.svm import Svm


class Member(Protocol):
    """A fitted member; it can be pickled. One made of trees is a `models.trees.TreeMember` too."""

    def logit(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the log odds of fraud, shape (n,), by the library that fitted it: what its compiled form must equal.

        Any score that rises with fraud will do: it is calibrated before it is mixed.
        """
        ...

    def compile(self, graph: Graph, inputs: str) -> str:
        """Add the member to `graph`; return the name of its log odds, float32 (n, 1)."""
        ...


Fit = Callable[[Sample, TrainingOptions], Member]

#: All that can be chosen; `TrainingOptions.members` says which are.
MEMBERS: Final[Mapping[str, Fit]] = {
    "xgboost": Boosting.fit,
    "random_forest": RandomForest.fit,
    "extra_trees": ExtraTrees.fit,
    "logistic_regression": LogisticRegression.fit,
    "decision_tree": DecisionTree.fit,
    "hist_gradient_boosting": HistGradientBoosting.fit,
    "svm": Svm.fit,
    "mlp": Mlp.fit,
    "isolation_forest": IsolationForest.fit,
}


def chosen(options: TrainingOptions) -> dict[str, Fit]:
    """Return the members that `options` name, in the registry's order.

    Raises:
        ConfigError: A name is unknown or given twice.
    """
    names = options.members
    if unknown := sorted(set(names) - set(MEMBERS)):
        raise ConfigError(f"members: {', '.join(unknown)} is not one of {', '.join(MEMBERS)}; correct the name")
    if len(set(names)) < len(names):
        raise ConfigError(f"members: {', '.join(names)} names one twice; name each once")
    return {name: fit for name, fit in MEMBERS.items() if name in names}

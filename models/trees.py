"""Decision trees of any library as one table of nodes with float32 splits `x <= threshold`, exact to the last bit.

scikit-learn compares float32 x with double t: x <= t is x <= (t rounded *down* to float32).
XGBoost compares float32 x < t, which is x <= nextafter(t, -inf). Both learn where a missing value goes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of many trees; the value of a row is the sum of its leaves plus `offset`."""

    tree: NDArray[np.int64]
    node: NDArray[np.int64]
    """Number within its tree."""
    feature: NDArray[np.int64]
    """-1: a leaf."""
    threshold: NDArray[np.float32]
    left: NDArray[np.int64]
    """Where x <= threshold goes."""
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    leaf: NDArray[np.float32]
    offset: float = 0.0

    @classmethod
    def join(cls, trees: Sequence["Nodes"], offset: float = 0.0) -> Self:
        """Return the trees as one table, numbered in the order given."""
        return cls(
            tree=np.concatenate([np.full(len(one.node), place) for place, one in enumerate(trees)]),
            node=np.concatenate([one.node for one in trees]),
            feature=np.concatenate([one.feature for one in trees]),
            threshold=np.concatenate([one.threshold for one in trees]),
            left=np.concatenate([one.left for one in trees]),
            right=np.concatenate([one.right for one in trees]),
            missing_left=np.concatenate([one.missing_left for one in trees]),
            leaf=np.concatenate([one.leaf for one in trees]),
            offset=offset,
        )


@runtime_checkable
class TreeMember(Protocol):
    """A member whose log odds are a function of the sum of its trees' leaves."""

    @property
    def is_average(self) -> bool:
        """Whether the trees are independent votes; else each corrects those before it."""
        ...

    def nodes(self) -> Nodes:
        """Return its trees."""
        ...

    def leaves(self, inputs: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the node in which each row ends in each tree, shape (n, trees), by the library that grew them."""
        ...

    def link(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log odds of a sum of leaves, offset included."""
        ...

    def compile_link(self, graph: Any, total: str) -> str:
        """Add `link` to `graph`."""
        ...


def booster_leaves(booster: Any, inputs: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the node in which each row ends in each tree of an XGBoost booster, shape (n, trees)."""
    from models.xgboost_alone import xgboost  # which takes half a second: serving reads this module, too

    found = booster.predict(xgboost.DMatrix(inputs, nthread=1), pred_leaf=True)
    return np.asarray(found).reshape(len(inputs), -1).astype(np.int64)


def from_booster(booster: Any) -> Nodes:
    """Return the trees of an XGBoost booster of one output; `offset` is its base score on the scale of its margin."""
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    base_score = float(learner["learner_model_param"]["base_score"].strip("[]").split(",")[0])
    is_logistic = learner["objective"]["name"].endswith("logistic")
    offset = float(np.log(base_score / (1.0 - base_score))) if is_logistic else base_score
    trees = []
    for tree in learner["gradient_booster"]["model"]["trees"]:
        left = np.asarray(tree["left_children"], np.int64)
        is_leaf = left < 0
        condition = np.asarray(tree["split_conditions"], np.float32)
        below = np.nextafter(condition, np.float32(-np.inf))
        trees.append(
            Nodes(
                tree=np.zeros(len(left), np.int64),
                node=np.arange(len(left)),
                feature=np.where(is_leaf, -1, np.asarray(tree["split_indices"], np.int64)),
                threshold=np.where(is_leaf, np.float32(0), below).astype(np.float32),
                left=left,
                right=np.asarray(tree["right_children"], np.int64),
                missing_left=np.asarray(tree["default_left"]).astype(np.bool_),
                leaf=np.where(is_leaf, condition, np.float32(0)).astype(np.float32),
            )
        )
    return Nodes.join(trees, offset)


def from_classifiers(classifiers: Sequence[Any]) -> Nodes:
    """Return scikit-learn's two-class trees; a leaf is the share of class 1 over the number of trees."""
    trees = [classifier.tree_ for classifier in classifiers]
    values = [tree.value[:, 0, :] for tree in trees]
    return from_sklearn(trees, [value[:, 1] / value.sum(axis=1) / len(trees) for value in values])


def from_sklearn(fitted: Sequence[Any], worth: Sequence[NDArray[np.float64]]) -> Nodes:
    """Return scikit-learn's `tree_` objects; `worth` says of each node of each tree what it adds if it is a leaf."""
    trees = []
    for tree, value in zip(fitted, worth, strict=True):
        is_leaf = tree.children_left < 0
        trees.append(
            Nodes(
                tree=np.zeros(tree.node_count, np.int64),
                node=np.arange(tree.node_count),
                feature=np.where(is_leaf, -1, tree.feature).astype(np.int64),
                threshold=np.where(is_leaf, np.float32(0), round_down(tree.threshold)).astype(np.float32),
                left=tree.children_left.astype(np.int64),
                right=tree.children_right.astype(np.int64),
                missing_left=np.asarray(tree.missing_go_to_left).astype(np.bool_),
                leaf=np.where(is_leaf, value, 0.0).astype(np.float32),
            )
        )
    return Nodes.join(trees)


def round_down(value: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the largest float32 not above each value.

    >>> bool(round_down(np.array([0.1]))[0] <= 0.1)
    True
    """
    value = np.asarray(value, np.float64)
    with np.errstate(over="ignore"):
        found = value.astype(np.float32)
    is_above = found.astype(np.float64) > value
    found[is_above] = np.nextafter(found[is_above], np.float32(-np.inf))
    return found

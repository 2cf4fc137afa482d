"""Pruned members: fewer trees, for machines with little memory or time."""

from dataclasses import replace
from math import ceil
from typing import Final

from models.derived import DerivedTrees
from models.members import Member
from models.trees import TreeMember

#: Share of the trees that stay: votes of a forest soon say the same; every round of boosting adds something.
_VOTES: Final = 1 / 3
_ROUNDS: Final = 1 / 2


def pruned(member: Member) -> Member:
    """Return the member with its first trees only; of a mean of trees, the mean of those. Others stay as they are."""
    if not isinstance(member, TreeMember):
        return member
    nodes = member.nodes()
    n_trees = int(nodes.tree[-1]) + 1
    n_kept = ceil(n_trees * (_VOTES if member.is_average else _ROUNDS))
    kept = nodes.tree < n_kept
    columns = ("tree", "node", "feature", "threshold", "left", "right", "missing_left", "leaf")
    table = replace(nodes, **{name: getattr(nodes, name)[kept] for name in columns})
    return DerivedTrees(member, table, n_trees / n_kept if member.is_average else 1.0)

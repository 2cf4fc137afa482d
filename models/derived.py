"""A tree member with other leaves than its library gave it: fewer trees, or rounded ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.graph import Graph
from models.trees import Nodes, TreeMember


@dataclass(frozen=True)
class DerivedTrees:
    """The first trees of a member, with leaves of their own.

    Attributes:
        origin: Whose library still tells where a row ends: the reference stays independent of the compiled splits.
        table: Its trees, leaves changed.
        unit: What a leaf of 1 adds to the sum.
    """

    origin: TreeMember
    table: Nodes
    unit: float

    def logit(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the log odds, (n,)."""
        starts = np.flatnonzero(self.table.node == 0)
        places = starts + self.origin.leaves(inputs)[:, : len(starts)]
        total = self.table.leaf[places].sum(axis=1, dtype=np.float64) * self.unit + self.table.offset
        return self.origin.link(total)

    def compile(self, graph: Graph, inputs: str) -> str:
        """Add the trees to `graph`."""
        total = graph.trees(self.table, inputs, unit=self.unit)
        return self.origin.compile_link(graph, total)

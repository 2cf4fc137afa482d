"""Members whose leaves are whole numbers of eight bits: they compress well, and their sums are exact in any order."""

from dataclasses import replace
from typing import Final

import numpy as np

from models.derived import DerivedTrees
from models.members import Member
from models.trees import TreeMember

_LARGEST: Final = 127


def quantised(member: Member) -> Member:
    """Return the member with every leaf rounded to one of 255 values; thresholds stay exact. Others stay as they are.

    The graph sums whole numbers, exact in float32, and scales the sum: so it rounds the same on every processor.
    """
    if not isinstance(member, TreeMember):
        return member
    nodes = member.nodes()
    largest = float(np.abs(nodes.leaf).max(initial=0.0))
    unit = largest / _LARGEST or 1.0
    return DerivedTrees(member, replace(nodes, leaf=np.rint(nodes.leaf / np.float32(unit)).astype(np.float32)), unit)

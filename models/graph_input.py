"""The name that compilers and callers of a graph share; importing it pulls in no compiler."""

from typing import Final

VECTORS: Final = "X"
"""The graph's input: raw vectors, float32 (n, N_FEATURES), categories as codes."""

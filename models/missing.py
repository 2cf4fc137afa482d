"""Rows with whole blocks missing, so that a model has seen what an outage looks like."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from features.spec import block

#: Share of the rows that are repeated without a block.
SHARES: Final = {"state": 0.10, "merchant_labels": 0.05, "device_ip": 0.05, "place": 0.05}


def without_state(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a copy of `vectors` with everything missing but the event's own features: what a degraded answer sees."""
    found = vectors.copy()
    found[:, block("state")] = np.nan
    return found


def repeated_rows(n: int, seed: int) -> list[tuple[str, NDArray[np.int64]]]:
    """Draw, for each block, the rows out of `n` that are repeated without it; the same for the same seed."""
    generator = np.random.default_rng(seed)
    return [(name, np.sort(generator.choice(n, round(share * n), replace=False))) for name, share in SHARES.items()]


def with_missing_blocks(
    inputs: NDArray[np.float32], target: NDArray[np.bool_], weight: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64]]:
    """Return the rows followed by their repetitions without a block; a repetition keeps target and weight."""
    drawn = repeated_rows(len(inputs), seed)
    rows = np.concatenate([np.arange(len(inputs)), *(chosen for _, chosen in drawn)])
    found = inputs[rows]
    start = len(inputs)
    for name, chosen in drawn:
        found[start : start + len(chosen), block(name)] = np.nan
        start += len(chosen)
    return found, target[rows], weight[rows]

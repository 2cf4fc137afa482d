"""How long a compiled graph takes on this machine."""

from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BATCH_ROWS = 256
_BATCHES = 50
_SINGLES = 1_000


class GraphTiming(NamedTuple):
    """Microseconds; one thread, as a worker runs it."""

    one_row_p50_us: float
    one_row_p99_us: float
    row_of_256_us: float
    """Per row in batches of 256, median."""


def time_graph(content: bytes, rows: NDArray[np.float32]) -> GraphTiming:
    """Run a graph on real `rows`, alone and in batches.

    Args:
        content: The graph.
        rows: float32 (n, N_FEATURES); repeated to fill a batch.
    """
    from models.graph_input import VECTORS
    from models.session import open_session

    session = open_session(content)
    batch = np.resize(rows, (_BATCH_ROWS, rows.shape[1]))
    singles = [batch[place : place + 1] for place in range(_BATCH_ROWS)]

    def took(values: NDArray[np.float32]) -> float:
        start = perf_counter()
        session.run(["logit"], {VECTORS: values})
        return (perf_counter() - start) * 1e6

    took(batch)
    alone = [took(singles[turn % _BATCH_ROWS]) for turn in range(_SINGLES)]
    together = float(np.median([took(batch) for _ in range(_BATCHES)])) / _BATCH_ROWS
    return GraphTiming(float(np.median(alone)), float(np.quantile(alone, 0.99)), together)

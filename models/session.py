"""Open a compiled graph the way a streaming worker needs it: one thread, no spinning."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.graph_input import VECTORS

_BLOCK_ROWS = 4096


def open_session(content: bytes) -> ort.InferenceSession:
    """Return a session of a serialised graph; calls release the interpreter's lock and may come from any thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_in_blocks(content: bytes, output: str, rows: NDArray[np.float32], n_jobs: int) -> NDArray[np.float64]:
    """Return a graph's output for many rows, float64 (n, width), by blocks on `n_jobs` threads; the same for any number."""
    session = open_session(content)

    def run(start: int) -> NDArray[np.float32]:
        found: NDArray[np.float32] = session.run([output], {VECTORS: rows[start : start + _BLOCK_ROWS]})[0]
        return found

    with ThreadPoolExecutor(n_jobs) as threads:
        blocks = list(threads.map(run, range(0, max(len(rows), 1), _BLOCK_ROWS)))
    return np.concatenate(blocks).astype(np.float64)

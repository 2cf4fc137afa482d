"""Standard output and error that write the whole of what they are given."""

import io
import sys
from typing import Any


def write_whole() -> None:
    """Put a buffer behind standard output and error where Python left it out (`python -u`, PYTHONUNBUFFERED).

    Without one, a write that a stopped and continued process resumes ends early, and the rest is lost: Python's text layer
    and `sys.stdout.buffer.write` do not look at how much was written. Every line is still written at once.
    """
    sys.stdout, sys.stderr = _buffered(sys.stdout), _buffered(sys.stderr)


def _buffered(stream: Any) -> Any:
    raw = getattr(stream, "buffer", None)
    if not isinstance(raw, io.RawIOBase):
        return stream
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=True)

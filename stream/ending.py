"""How a worker ends at once: log why, then leave without acknowledging anything, so that nothing is lost."""

import os
import sys
from enum import IntEnum
from typing import NoReturn, Protocol

import structlog


class ExitCode(IntEnum):
    """Exit codes of the worker; a supervisor starts it again after FAILED, STUCK and STALE_TOPIC."""

    DONE = 0
    FAILED = 1
    """A delivery or the pipeline failed; what was not acknowledged is delivered again."""
    CANNOT_START = 2
    STUCK = 70
    """The watchdog found the process alive but not working."""
    STALE_TOPIC = 75
    """A consumed topic was deleted and created anew."""
    TERMINATED = 143
    """A second signal ended it before it had drained."""


class End(Protocol):
    """Ends the process; in tests, whatever stands in for it."""

    def __call__(self, code: ExitCode, reason: str, **facts: object) -> None: ...  # noqa: D102 - said above


def end_process(code: ExitCode, reason: str, **facts: object) -> NoReturn:
    """Log the reason and leave at once, without running any clean-up: whatever was not acknowledged comes again."""
    try:
        structlog.get_logger("weir.worker").critical("worker_ends", reason=reason, exit_code=int(code), **facts)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)

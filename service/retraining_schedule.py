"""Retrain again and again: so long after the last attempt began, whoever began it."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from domain.errors import WeirError
from service.retraining_log import Retraining, RetrainingLog
from service.times import format_time, now_ms

#: A clock that is set, or a machine that slept, is noticed after so long.
_LOOK_S: Final = 30.0


def repeat(attempt: Callable[[], Retraining], every_ms: int, registry: Path, *, tell: Callable[[Retraining], None]) -> None:
    """Call `attempt` whenever the last one of the registry began `every_ms` ago, until Ctrl-C or SIGTERM.

    A process that is started anew goes on with the schedule. An attempt that fails is told on stderr, and the next one comes
    in its time.

    Args:
        attempt: Retrains.
        every_ms: Between two beginnings.
        registry: Folder of the registry, whose log knows the attempts of others.
        tell: Shows what came of an attempt.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    own_ms = 0
    try:
        while True:
            _wait(own_ms, every_ms, registry)
            own_ms = now_ms()
            try:
                tell(attempt())
            except WeirError as error:
                click.echo(f"weir: {error}", err=True)
    except KeyboardInterrupt:
        click.echo("stopped: no further retraining", err=True)
    finally:
        signal.signal(signal.SIGTERM, before)


def due_ms(own_ms: int, every_ms: int, registry: Path) -> int:
    """Return when the next attempt is due: wall clock, in ms since the epoch; in the past if there was none yet.

    Args:
        own_ms: When this process began its last attempt; 0 = it began none.
        every_ms: Between two beginnings.
        registry: Folder of the registry.
    """
    last = RetrainingLog(registry).last()
    return max(own_ms, 0 if last is None else last.begun_ms) + every_ms


def _wait(own_ms: int, every_ms: int, registry: Path) -> None:
    told_ms = 0
    while (next_ms := due_ms(own_ms, every_ms, registry)) > (now := now_ms()):
        if next_ms != told_ms:
            click.echo(f"the next retraining begins at {format_time(next_ms)}", err=True)
            told_ms = next_ms
        time.sleep(min((next_ms - now) / 1000, _LOOK_S))

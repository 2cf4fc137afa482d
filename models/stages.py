"""The stages of a training: told while they run, timed when they are done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

STAGES: Final = ("replay", "calibrate", "distil", "fit", "compile", "variants", "thresholds")

Progress = Callable[[str, float], None]
"""Told stage and finished share."""


def silent(_stage: str, _share: float) -> None:
    """Tell nobody."""


@dataclass
class Stages:
    """Times the stages of one training."""

    progress: Progress = silent
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage and tell where it stands."""
        self.progress(name, 0.0)
        start = perf_counter()
        yield
        self.seconds[name] = perf_counter() - start
        self.progress(name, 1.0)

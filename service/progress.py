"""Progress on a terminal, and elsewhere silence or a line for each stage; always on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[float], None]]:
    """Yield a function that takes the share of the work done, 0 to 1, and shows it on stderr if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn(what), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


@contextmanager
def stage_progress() -> Iterator[Callable[[str, float], None]]:
    """Yield a function that takes a stage and its finished share, for work whose stages are not known beforehand.

    On a terminal the present stage has a bar; elsewhere a line says which stage begins.
    """
    told: set[str] = set()
    if not sys.stderr.isatty():

        def tell(stage: str, share: float) -> None:  # noqa: ARG001 - a line has no bar
            if stage not in told:
                told.add(stage)
                print(f"{stage} ...", file=sys.stderr, flush=True)

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda stage, share: bar.update(task, description=stage, completed=share)

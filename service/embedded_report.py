"""Where the steps of a start are shown: a spinner on a terminal, plain lines elsewhere; both on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def step_report() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows one line, the step under way."""
    if not sys.stderr.isatty():
        yield lambda line: print(f"{line} ...", file=sys.stderr, flush=True)
        return
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("") as status:
        yield lambda line: status.update(f"{line} ...")

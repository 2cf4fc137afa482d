"""How `weir archive` shows what it does: a live line on a terminal."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from service.archive_counts import Counts

_RATE_OVER_S: Final = 5.0


@contextmanager
def archive_screen() -> Iterator[Callable[[Counts], None]]:
    """Yield what takes the counts and shows them on stderr if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    before = deque([(time.monotonic(), 0)])
    with Console(stderr=True).status("archiving") as status:

        def show(counts: Counts) -> None:
            before.append((time.monotonic(), counts.n_read))
            while len(before) > 2 and before[-1][0] - before[0][0] > _RATE_OVER_S:
                before.popleft()
            rate = (before[-1][1] - before[0][1]) / max(before[-1][0] - before[0][0], 0.001)
            n_files = sum(topic.files for topic in counts.topics.values())
            lost = f", {counts.n_lost:,} LOST" if counts.n_lost else ""
            status.update(
                f"archiving: {counts.n_read:,} records read ({rate:,.0f}/s), {counts.n_records:,} in {n_files:,} files, "
                f"{counts.lag:,} waiting{lost}"
            )

        yield show


def summary_text(counts: Counts) -> str:
    """Return what was done, one line a topic."""
    lines = []
    for topic, found in counts.topics.items():
        more = f", {found.undecodable:,} undecodable" if found.undecodable else ""
        more += f", {found.lost:,} offsets were gone from Kafka before they were archived" if found.lost else ""
        lines.append(f"{topic}: {found.records:,} records in {found.files:,} files{more}")
    if counts.n_compacted:
        lines.append(f"{counts.n_compacted:,} files compacted")
    if counts.removed_days:
        lines.append("removed: " + ", ".join(sorted(counts.removed_days)))
    return "\n".join(lines)

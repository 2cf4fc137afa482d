"""What the demo shows: a live table and alerts on a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from domain.decision import Alert
from service.alert_text import alert_text
from service.audit import Audit, Summary
from service.times import format_time

_LINE_EVERY_S: Final = 10.0
_REDRAW_PER_S: Final = 4


class Screen:
    """Shows the run; use as a context manager around it."""

    def __init__(self, console: Console, audit: Audit, *, speedup: float, model: str, minutes: float | None) -> None:
        self._console = console
        self._audit = audit
        self._title = f"weir demo: {model}, event time x{speedup:g}" + (f", {minutes:g} minutes" if minutes else ", Ctrl-C ends it")
        self._live = Live(console=console, refresh_per_second=_REDRAW_PER_S, transient=True) if console.is_terminal else None
        self._began_s = time.monotonic()
        self._next_line_s = 0.0
        self._last = (self._began_s, 0)
        self._rate = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def alerts(self, alerts: Sequence[Alert]) -> None:
        """Print alerts as they come."""
        for alert in alerts:
            self._console.print(alert_text(alert), highlight=False, soft_wrap=True)

    def update(self, *, produced: int, event_time_ms: int | None, restarts: int) -> None:
        """Show the counts of now."""
        now_s = time.monotonic()
        if now_s - self._last[0] >= 1.0:
            self._rate = (self._audit.scored - self._last[1]) / (now_s - self._last[0])
            self._last = (now_s, self._audit.scored)
        if self._live is not None:
            self._live.update(self._table(produced, event_time_ms, restarts))
        elif now_s >= self._next_line_s:
            self._next_line_s = now_s + _LINE_EVERY_S
            latency = self._audit.latency_ms()
            self._console.print(
                f"[{now_s - self._began_s:5.0f} s] produced {produced:,}, scored {self._audit.scored:,} ({self._rate:.0f}/s), "
                f"alerts {self._audit.alerts:,}, "
                f"dead letters {self._audit.dead_lettered}, latency p50/p99 {latency['p50']}/{latency['p99']} ms",
                highlight=False, markup=False, soft_wrap=True,
            )  # fmt: skip

    def _table(self, produced: int, event_time_ms: int | None, restarts: int) -> Table:
        audit, latency = self._audit, self._audit.latency_ms()
        table = Table(title=self._title, title_justify="left", show_header=False, min_width=72)
        table.add_column(style="dim")
        table.add_column(justify="right")
        table.add_column(style="dim")
        table.add_column(justify="right")
        clock = format_time(event_time_ms) if event_time_ms is not None else "-"
        table.add_row("event time", clock, "rate", f"{self._rate:,.0f} transactions/s")
        table.add_row("produced", f"{produced:,}", "scored", f"{audit.scored:,}")
        table.add_row("review", f"{audit.decisions['review']:,}", "decline", f"{audit.decisions['decline']:,}")
        table.add_row("dead letters", f"{audit.dead_lettered:,}", "worker restarts", f"{restarts}")
        table.add_row("latency p50", f"{latency['p50']} ms", "latency p99", f"{latency['p99']} ms")
        return table


def summary_table(summary: Summary) -> Table:
    """Return the closing table."""
    table = Table(title="summary", title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    latency = summary.latency_ms
    for name, value in (
        ("produced", f"{summary.produced:,}"),
        ("scored", f"{summary.scored:,}"),
        ("dead letters", f"{summary.dead_lettered:,}"),
        ("missing", f"{summary.missing:,}"),
        ("answered again", f"{summary.repeated:,} ({summary.changed:,} differently)"),
        ("alerts", f"{summary.alerts:,}"),
        ("precision of alerts", _share(summary.precision)),
        ("recall of frauds", f"{_share(summary.recall)} of {summary.frauds:,}"),
        ("latency p50 / p99", f"{latency['p50']} / {latency['p99']} ms"),
        ("first alert after", "-" if summary.seconds_to_first_alert is None else f"{summary.seconds_to_first_alert} s"),
    ):
        table.add_row(name, value)
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"

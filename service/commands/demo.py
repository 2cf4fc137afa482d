"""`weir demo`: everything on this machine."""

import sys
from pathlib import Path

import click


@click.command(name="demo")
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), help="End by itself after so many minutes; default: Ctrl-C ends it."
)
@click.option(
    "--speedup", type=click.FloatRange(min=1), default=1500.0, show_default=True,
    help="Event time per real time; the rate of transactions grows with it, so that every card keeps its pace in event time.",
)  # fmt: skip
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the dashboard; default: web.port, or a free one if that is taken.")
@click.option("--no-browser", is_flag=True, help="Open no browser; one is opened only from a terminal on a desktop.")
@click.option("--summary", type=click.Path(dir_okay=False, path_type=Path), help="Write what it came to, as JSON, to this file.")
@click.pass_context
def command(
    context: click.Context, *, minutes: float | None, speedup: float, port: int | None, no_browser: bool, summary: Path | None
) -> None:
    """Run Kafka, Redis, simulated traffic, a trained ensemble, a worker and the dashboard on this machine; show alerts as they come.

    The first run simulates a history and trains a model, and keeps both for the next. Exit code 1 if any transaction
    stayed without an answer.

    \b
    Example:
      weir demo --minutes 3 --summary summary.json
    """  # noqa: D301 - click's mark for lines that stay as they are
    import logging

    import msgspec
    from rich.console import Console

    from service import logs
    from service.context import settings_of
    from service.demo import Demo, DemoOptions
    from service.demo_screen import summary_table
    from service.interrupts import run_until_interrupted

    logs.configure(level=logging.ERROR)
    console = Console(highlight=False)
    demo = Demo(settings_of(context), DemoOptions(minutes, speedup, port, opens_browser=not no_browser), console)
    with demo.services():
        world, model, config = demo.prepare()
        found, _ = run_until_interrupted(lambda stop: demo.play(world, model, config, stop))
    console.print(summary_table(found))
    if summary is not None:
        summary.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    sys.exit(1 if found.missing or found.changed else 0)

"""`weir archive`: what the topics hold, into Parquet files by the hour."""

from pathlib import Path

import click


@click.command(name="archive")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="The archive's folder; default: archive.directory.",
)
@click.option("--until-end", is_flag=True, help="Stop at the end as it is now, do not wait for more.")
@click.option(
    "--keep-days", type=click.IntRange(min=1), metavar="N", help="Remove whole days (UTC) older than N days; default: archive.keep_days."
)
@click.option(
    "--file-rows",
    type=click.IntRange(min=1),
    default=500_000,
    show_default=True,
    help="Close a file at so many records, before its hour is over.",
)
@click.option(
    "--file-seconds",
    type=click.IntRange(min=1),
    help="Close a file when its first record is so old, before its hour is over: what reads the archive sees it sooner.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON at the end.")
@click.pass_context
def command(
    context: click.Context,
    *,
    directory: Path | None,
    until_end: bool,
    keep_days: int | None,
    file_rows: int,
    file_seconds: int | None,
    as_json: bool,
) -> None:
    """Write transactions, labels, scores, alerts and feature rows from Kafka into hourly Parquet files, each record exactly once.

    Runs until SIGTERM or Ctrl-C, which writes what was read and leaves. Any number of kills loses and repeats nothing: the
    files alone tell where to go on. The folder is a history: train, evaluate, rebuild, replay and produce take it as one. Its
    /metrics and /healthz are on archive.port, which the log names, unless it stops at the end.

    \b
    Examples:
      weir archive
      weir archive --until-end --json
      weir train var/archive
    """  # noqa: D301 - click's mark for lines that stay as they are
    import asyncio
    import json
    import sys

    from service import logs
    from service.archive_buffer import Limits
    from service.archive_counts import Counts
    from service.archive_screen import archive_screen, summary_text
    from service.archiver import Archiver
    from service.clients import kafka_of
    from service.interrupts import run_until_interrupted

    connection, settings = kafka_of(context)
    folder = directory or Path(settings.archive.directory)
    limits = Limits(n_rows=file_rows)
    if file_seconds is not None:
        limits = limits._replace(age_ms=1000 * file_seconds)
    kept = keep_days or settings.archive.keep_days or None
    with archive_screen() as show:
        logs.configure(sys.stderr)
        archiver = Archiver(connection, folder, limits=limits, keep_days=kept, until_end=until_end, on_progress=show)

        async def work(stop: asyncio.Event) -> Counts:
            if until_end:
                return await archiver.run(stop)
            from service.archive_serving import shown

            async with shown(archiver, bind=settings.monitoring.bind, port=settings.archive.port):
                return await archiver.run(stop)

        counts, _ = run_until_interrupted(work)
    click.echo(json.dumps(counts.summary()) if as_json else summary_text(counts))

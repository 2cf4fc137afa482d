"""`weir rebuild`: feature state and decision index of a history into Redis."""

import asyncio
import json
from pathlib import Path

import click

from service.times import TIME_MS, format_time


@click.command(name="rebuild")
@click.argument("history", type=click.Path(exists=True, path_type=Path))
@click.option("--from", "from_ms", type=TIME_MS, help="Ignore what is older (event time; labels: label time).")
@click.option("--to", "to_ms", type=TIME_MS, help="State as of this moment (not included); default: the history's end.")
@click.option("--replace", is_flag=True, help="Remove the states of this feature spec first.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@click.pass_context
def command(context: click.Context, history: Path, from_ms: int | None, to_ms: int | None, *, replace: bool, as_json: bool) -> None:
    """Write the feature state of HISTORY into Redis, so that the stream starts warm. No worker may run meanwhile.

    \b
    Example:
      weir rebuild var/history.parquet --to 2026-03-01
      weir produce var/history.parquet --from 2026-03-01 --full-speed
    """  # noqa: D301 - click's mark for lines that stay as they are
    from features.history import read_history
    from features.redis_rebuild import rebuild
    from service.context import settings_of
    from service.progress import progress_bar
    from service.wiring import keys_of, rates_of, redis_client, require_redis

    settings = settings_of(context).settings
    frame = read_history(history)
    if from_ms is not None:
        frame = frame.filter(frame["event_time_ms"] >= from_ms)
    if frame.is_empty():
        raise click.ClickException(f"{history} holds no transaction in this range")
    end_ms = to_ms if to_ms is not None else int(frame["event_time_ms"][-1]) + 1

    async def run() -> dict[str, int]:
        client = redis_client(settings)
        try:
            await require_redis(client, settings)
            with progress_bar("rebuilding") as progress:
                found = await rebuild(
                    client, keys_of(settings), frame, settings.features.definition(), rates_of(settings),
                    end_ms=end_ms, index_days=settings.features.index_days, replace=replace, progress=progress,
                )  # fmt: skip
        finally:
            await client.aclose()
        return found._asdict()

    counts = asyncio.run(run())
    if as_json:
        click.echo(json.dumps(counts | {"to_ms": end_ms}))
        return
    click.echo(
        f"state as of {format_time(end_ms)}: {counts['entities']:,} entities, {counts['state_bytes']:,} bytes; "
        f"{counts['index_entries']:,} transactions in the decision index"
    )

"""`weir rebuild`: feature state and decision index of a history into Redis, and where the stream goes on."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.times import TIME_MS, format_time

if TYPE_CHECKING:
    from service.settings import Settings
    from stream.partition_offsets import PartitionOffset


@click.command(name="rebuild")
@click.argument("history", type=click.Path(exists=True, path_type=Path))
@click.option("--from", "from_ms", type=TIME_MS, help="Ignore what is older (event time; labels: label time).")
@click.option("--to", "to_ms", type=TIME_MS, help="State as of this moment (not included); default: the history's end.")
@click.option("--replace", is_flag=True, help="Remove the states of this feature spec first.")
@click.option(
    "--go-on", type=click.Choice(["archive", "time", "committed", "none"]),
    help="Where workers go on in Kafka. archive: HISTORY is an archive, where it and the commits of the workers end (the default for an "
    "archive without --to); time: at what was appended from --to on (else the default); committed: at what the workers "
    "committed (HISTORY holds exactly what is before); none: wherever they are, nothing is written.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@click.pass_context
def command(
    context: click.Context, history: Path, from_ms: int | None, to_ms: int | None, *, replace: bool, go_on: str | None, as_json: bool
) -> None:
    """Write the feature state of HISTORY (a Parquet file or a folder of them) into Redis, and where workers go on in Kafka.

    No worker of the same settings may run meanwhile; workers of another feature spec may. Workers that start afterwards
    apply what the topics hold from there on; what they committed before they do not answer again.

    \b
    Example:
      weir rebuild var/history.parquet --to 2026-03-01
      weir produce var/history.parquet --from 2026-03-01 --full-speed
      weir rebuild var/archive
    """  # noqa: D301 - click's mark for lines that stay as they are
    from features.archive_cut import has_places
    from features.history import read_history
    from service.context import settings_of

    settings = settings_of(context).settings
    frame = read_history(history)
    if from_ms is not None:
        frame = frame.filter(frame["event_time_ms"] >= from_ms)
    if frame.is_empty():
        raise click.ClickException(f"{history} holds no transaction in this range")
    if go_on is None:
        go_on = "archive" if to_ms is None and has_places(frame) else "time"
    if go_on == "archive":
        frame, places, end_ms = _cut(settings, frame, to_ms)
    else:
        end_ms = to_ms if to_ms is not None else int(frame["event_time_ms"][-1]) + 1
        places = _places(settings, go_on, end_ms)
    counts = asyncio.run(_rebuild(settings, frame, places, end_ms=end_ms, replace=replace))
    if as_json:
        click.echo(json.dumps(counts | {"to_ms": end_ms, "positions": len(places)}))
        return
    click.echo(
        f"state as of {format_time(end_ms)}: {counts['entities']:,} entities, {counts['state_bytes']:,} bytes; "
        f"{counts['index_entries']:,} transactions in the decision index; workers go on "
        + (f"where {len(places)} positions say" if places else "where they committed")
    )


def _cut(settings: "Settings", frame: Any, to_ms: int | None) -> "tuple[Any, list[PartitionOffset], int]":
    """Return an archive's history up to the commits of the workers, where it ends, and the moment of the states."""
    import polars as pl

    from features.archive_cut import cut_at, has_places

    if to_ms is not None or not has_places(frame):
        raise click.UsageError(
            "--go-on archive takes all of an archive of `weir archive`: leave out --to, or choose another place to go on"
        )
    committed = _places(settings, "committed", 0)
    cut = cut_at(frame, {(place.topic_uuid, place.partition): place.offset for place in committed})
    newest_ms = max(int(times[0] or 0) for times in cut.history.select(pl.col("event_time_ms", "label_time_ms").max()))
    places = [place._replace(offset=cut.next_offsets[place.topic_uuid, place.partition]) for place in committed]
    return cut.history, places, newest_ms + 1


def _places(settings: "Settings", go_on: str, end_ms: int) -> "list[PartitionOffset]":
    """Return where workers go on; says so when Kafka cannot tell, unless its commits were asked for."""
    from domain.errors import ConfigError, Unavailable
    from service.wiring import kafka_connection
    from stream.partition_offsets import committed_offsets, offsets_at
    from stream.topics import LABELS, TRANSACTIONS

    if go_on == "none":
        return []
    connection = kafka_connection(settings)
    topics = [connection.topic(topic) for topic in (TRANSACTIONS, LABELS)]
    if go_on == "committed":
        return committed_offsets(connection, topics, connection.group(settings.kafka.group))
    problem = "kafka.bootstrap is not set"
    if connection.bootstrap:
        try:
            if found := offsets_at(connection, topics, end_ms):
                return found
            problem = f"there is no topic {topics[0]}"
        except (ConfigError, Unavailable) as error:
            problem = str(error)
    click.echo(f"no positions are written, workers go on where they committed: {problem}", err=True)
    return []


async def _rebuild(settings: "Settings", frame: Any, places: "list[PartitionOffset]", *, end_ms: int, replace: bool) -> dict[str, int]:
    import msgspec

    from features.index_budget import IndexBudget
    from features.redis_cluster_wire import open_wire
    from features.redis_log import RedisLog, library
    from features.redis_rebuild import rebuild_states, set_positions
    from service.progress import progress_bar
    from service.wiring import keys_of, rates_of, redis_client, require_redis

    # nobody waits for an answer here, and Redis has much to do
    patient = msgspec.structs.replace(settings, redis=msgspec.structs.replace(settings.redis, timeout_ms=10_000))
    client, keys = redis_client(patient), keys_of(settings)
    await require_redis(client, settings)
    wire = await open_wire(client)
    try:
        with progress_bar("rebuilding") as progress:
            found = await rebuild_states(
                wire, keys, frame, rates_of(settings), end_ms=end_ms, index_days=settings.features.index_days,
                index_max_bytes=settings.features.index_max_bytes, replace=replace, progress=progress,
            )  # fmt: skip
        await wire.everywhere([library()])
        log = RedisLog(wire, keys, IndexBudget(0, settings.features.index_days))
        ids = await log.source_ids([f"{place.topic_uuid}:{place.partition}" for place in places]) if places else []
        positions = {source: (place.offset, end_ms) for source, place in zip(ids, places, strict=True)}
        await set_positions(wire, keys, settings.kafka.group, positions, wait_replicas=settings.redis.wait_replicas)
    finally:
        await wire.close()
        await client.aclose()
    return found._asdict()

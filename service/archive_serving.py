"""`/healthz` and `/metrics` of `weir archive`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from monitoring.archive_metrics import Archived, ArchivedTopic, ArchiveMetrics
from service.archive_counts import Counts
from service.archiver import Archiver
from stream.health import HealthServer, State

_log = structlog.get_logger()


@asynccontextmanager
async def shown(archiver: Archiver, *, bind: str, port: int) -> AsyncIterator[str]:
    """Show how an archiver is while the block runs; give the address, `http://host:port`.

    Raises:
        ConfigError: The address cannot be used.
    """
    metrics = ArchiveMetrics()
    metrics.set(_archived(archiver.counts))

    def state() -> State:
        return State(None, archiver.is_following, {})

    server = HealthServer(state, lambda: metrics.set(_archived(archiver.counts)), metrics.exposition, setting="archive.port")
    address = f"http://{bind}:{await server.start(bind=bind, port=port)}"
    _log.info("archive_starts", health=f"{address}/healthz")
    try:
        yield address
    finally:
        await server.stop()


def _archived(counts: Counts) -> Archived:
    topics = {name: ArchivedTopic(one.records, one.undecodable, one.lost, one.files) for name, one in counts.topics.items()}
    return Archived(topics, counts.n_compacted, counts.lag, counts.confirmed_ms, counts.written_ms)

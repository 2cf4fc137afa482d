"""The workers that run now, asked once, for the command line."""

import asyncio
from typing import Any

import msgspec

from features.redis_cluster_wire import open_wire
from monitoring.fleet import WorkerState
from service.redis_fleet import FleetStorage
from service.settings import Settings
from service.wiring import redis_client


def workers(settings: Settings) -> list[WorkerState]:
    """Return the workers that were heard of within a minute, by their start.

    Raises:
        ConfigError: There is no address of Redis.
        Unavailable: Redis does not answer.
    """

    async def ask() -> list[WorkerState]:
        client = redis_client(settings)
        try:
            wire = await open_wire(client)
            try:
                return await FleetStorage(wire, settings.redis.prefix).workers()
            finally:
                await wire.close()
        finally:
            await client.aclose()

    return asyncio.run(ask())


def as_json(state: WorkerState) -> dict[str, Any]:
    """Return what a program wants to know of a worker."""
    names = ("worker", "model", "policy", "partitions", "lag", "transactions", "dead_letters", "redis", "problem", "metrics")
    found = msgspec.to_builtins(state)
    return {name: found[name] for name in names}


def words(state: WorkerState) -> str:
    """Return a worker in one line.

    >>> from monitoring.fleet import WorkerState
    >>> words(WorkerState(worker="0a1b2c3d", at_ms=0, started_ms=0, model="m@1", spec="s", policy="p", partitions=[0, 2], lag=1_200,
    ...     event_ms=0, transactions=9, labels=0, decisions={}, flags={}, dead_letters=0, latency_edges_s=[], latency_counts=[],
    ...     redis="ok", problem="", metrics="http://127.0.0.1:9"))
    '0a1b2c3d  m@1  partitions 0 2  1,200 waiting  http://127.0.0.1:9'
    """
    partitions = "partitions " + " ".join(map(str, state.partitions)) if state.partitions else "no partition"
    return "  ".join([state.worker, state.model, partitions, f"{state.lag:,} waiting", state.metrics, *troubles(state)])


def troubles(state: WorkerState) -> list[str]:
    """Return what is wrong with a worker, as it says itself."""
    return [*(["Redis does not answer it"] if state.redis == "outage" else []), *([state.problem] if state.problem else [])]

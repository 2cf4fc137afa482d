"""A dashboard that is served inside the test, and what writes to the services that it reads."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import httpx
import msgspec
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from domain.decision import Alert
from features.redis_wire import SingleWire
from service.redis_fleet import FleetStorage
from service.settings import Settings
from service.times import now_ms
from service.web.server import serve
from service.wiring import kafka_connection
from tests.unit.web_scenes import settings_of, state

PATIENCE_S = 60.0
SECOND_S = 0.05


def site_settings(folder: Path, *, bootstrap: str, redis_url: str, prefix: str, **environ: str) -> Settings:
    """Settings of an installation below one folder."""
    services = {"WEIR_KAFKA_BOOTSTRAP": bootstrap, "WEIR_KAFKA_PREFIX": prefix, "WEIR_REDIS_URL": redis_url, "WEIR_REDIS_PREFIX": prefix}
    return settings_of(folder, **{name: value for name, value in services.items() if value}, **environ)


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the dashboard; yield a client of it."""
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(settings, stop, config=None, on_ready=ready.set_result))
    await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
    try:
        async with httpx.AsyncClient(base_url=await asyncio.wait_for(ready, 1.0) if not serving.done() else "", timeout=30.0) as client:
            yield client
    finally:
        stop.set()
        await serving


async def until(client: httpx.AsyncClient, path: str, condition, what: str) -> dict:
    """Ask until `condition` holds for the answer; return it. Every answer on the way is a 200."""
    deadline_s = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        answer = await client.get(path)
        assert answer.status_code == 200, answer.text
        if condition(answer.json()):
            return answer.json()
        assert asyncio.get_running_loop().time() < deadline_s, f"{what}; last answer: {answer.text[:3000]}"
        await asyncio.sleep(SECOND_S)


@asynccontextmanager
async def storage(settings: Settings) -> AsyncIterator[FleetStorage]:
    """What workers write through."""
    wire = SingleWire(Redis.from_url(settings.redis.url))
    try:
        yield FleetStorage(wire, settings.redis.prefix)
    finally:
        await wire.close()


@asynccontextmanager
async def talking(fleet: FleetStorage, **changes: object) -> AsyncIterator[None]:
    """A worker that says something every tenth of a second and answers 100 transactions in it."""

    async def talk() -> None:
        n = 0
        while True:
            n += 100
            await fleet.put_state(state(**{"at_ms": now_ms(), "started_ms": now_ms() - 100_000, "transactions": n} | changes))
            await asyncio.sleep(0.1)

    task = asyncio.create_task(talk())
    try:
        yield
    finally:
        task.cancel()


async def produce(settings: Settings, topic: str, values: list[bytes]) -> None:
    """Append records, in turn over the partitions, each at a later millisecond than the one before: their order is certain."""
    connection = kafka_connection(settings)
    async with AIOKafkaProducer(**connection.aiokafka()) as producer:
        partitions = sorted(await producer.partitions_for(connection.topic(topic)))
        for number, value in enumerate(values):
            await producer.send_and_wait(connection.topic(topic), value, partition=partitions[number % len(partitions)])
            await asyncio.sleep(0.002)  # the time is the broker's


def alert(name: str) -> bytes:
    """An alert as it stands on its topic."""
    fields = {
        "transaction_id": name, "card_id": "c1", "event_time_ms": 5, "scored_at_ms": 6, "probability": 0.5, "decision": "review",
        "tier": "full", "flags": (), "model": "weir@1", "variant": "champion", "policy": "p", "spec": "s", "source": (0, 0),
        "amount_minor": 1999, "currency": "EUR", "merchant_id": "m1",
        "reasons": ({"code": "amount", "text": "spent much", "feature": "card_total_24h", "value": 1.0, "contribution": 0.5},),
    }  # fmt: skip
    return msgspec.json.encode(msgspec.convert(fields, Alert))


class Stream:
    """A browser's stream of events; use as `async with Stream(client) as stream`."""

    def __init__(self, client: httpx.AsyncClient, last_id: str | None = None) -> None:
        headers = {} if last_id is None else {"last-event-id": last_id}
        self._context = client.stream("GET", "/api/v1/events", headers=headers, timeout=PATIENCE_S)
        self.last_id = last_id

    async def __aenter__(self) -> Self:
        self._answer = await self._context.__aenter__()
        assert self._answer.status_code == 200
        assert self._answer.headers["content-type"].startswith("text/event-stream")
        self._lines = self._answer.aiter_lines()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._context.__aexit__(*error)

    async def next(self, kind: str) -> dict:
        """Return the next event of a kind."""
        event = ""
        async with asyncio.timeout(PATIENCE_S):
            async for line in self._lines:
                if line.startswith("id: "):
                    self.last_id = line[4:]
                elif line.startswith("event: "):
                    event = line[7:]
                elif line.startswith("data: ") and event == kind:
                    return json.loads(line[6:])
        raise AssertionError(f"the stream ended before an event {kind}")

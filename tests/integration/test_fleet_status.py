"""`weir status` shows the workers that run, from what they say in Redis."""

import asyncio
import json

import msgspec
import pytest
from click.testing import CliRunner

from service.cli import weir
from service.redis_fleet import FleetStorage
from tests.integration.test_redis_fleet import STATE


def status(*options: str, **environment: str) -> str:
    return CliRunner().invoke(weir, ["status", *options], env=environment, catch_exceptions=False).output


@pytest.fixture
def addresses(site, tmp_path, monkeypatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return {"WEIR_REDIS_URL": site.url, "WEIR_KAFKA_BOOTSTRAP": "127.0.0.1:1", "WEIR_EMBEDDED_DIRECTORY": str(tmp_path)}


def test_status_shows_each_worker_and_what_troubles_it(site, addresses):
    assert "worker  none; start one: weir worker\n" in status(**addresses)
    assert json.loads(status("--json", **addresses))["workers"] == []

    async def say():
        wire = site.new_wire()
        storage = FleetStorage(wire, "weir:")
        await storage.put_state(STATE)
        await storage.put_state(
            msgspec.structs.replace(STATE, worker="bbbbbbbb", started_ms=STATE.started_ms + 1, redis="outage", partitions=[])
        )
        await wire.close()

    asyncio.run(say())

    lines = [line for line in status(**addresses).splitlines() if line.startswith("worker")]
    assert lines == [
        "worker  aaaaaaaa  m@1  partitions 0 2  3 waiting  http://127.0.0.1:1",
        "worker  bbbbbbbb  m@1  no partition  3 waiting  http://127.0.0.1:1  Redis does not answer it",
    ]
    first, second = json.loads(status("--json", **addresses))["workers"]
    assert (first["worker"], first["partitions"], first["lag"], first["redis"]) == ("aaaaaaaa", [0, 2], 3, "ok")
    assert second["redis"] == "outage"


def test_the_doctor_looks_at_the_workers_that_were_heard_of(site, addresses):
    def fleet() -> dict[str, object]:
        answer = CliRunner().invoke(weir, ["doctor", "--json"], env=addresses | {"WEIR_KAFKA_BOOTSTRAP": ""}, catch_exceptions=False).output
        return next(check for check in json.loads(answer)["checks"] if check["name"] == "fleet")

    async def say(*states):
        wire = site.new_wire()
        for one in states:
            await FleetStorage(wire, "weir:").put_state(one)
        await wire.close()

    nobody = fleet()
    assert (nobody["ok"], nobody["advice"]) == (True, "")
    assert "weir worker" in nobody["detail"]

    asyncio.run(say(STATE))
    assert fleet() == {"name": "fleet", "ok": True, "detail": "1 worker heard of in the last 60 s, 3 records wait", "advice": ""}

    stuck = msgspec.structs.replace(STATE, worker="bbbbbbbb", redis="outage", problem="a chunk is 31 s old", lag=2_000)
    asyncio.run(say(STATE, stuck))
    found = fleet()
    assert not found["ok"]
    assert found["detail"] == (
        "2 workers heard of in the last 60 s, 2,003 records wait. bbbbbbbb: Redis does not answer it; a chunk is 31 s old"
    )
    assert "weir status" in found["advice"]


def test_status_says_so_when_redis_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    addresses = {"WEIR_REDIS_URL": "redis://127.0.0.1:1", "WEIR_KAFKA_BOOTSTRAP": "127.0.0.1:1", "WEIR_EMBEDDED_DIRECTORY": str(tmp_path)}

    assert "worker  not known: Redis does not answer\n" in status(**addresses)
    assert json.loads(status("--json", **addresses))["workers"] is None

"""The dashboard on real services: workers, alerts, outages, a drift alarm to its end."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest

from domain.control_event import ControlEvent
from monitoring.packed import HOUR_MS, MINUTE_MS, pack
from service.demo import settings_toml
from service.tailing import Tail
from service.times import now_ms
from service.wiring import kafka_connection
from stream.topic_admin import create
from tests.integration.web_site import PATIENCE_S, Stream, alert, produce, served, site_settings, storage, talking, until
from tests.unit.test_webhook import Receiver
from tests.unit.web_scenes import counts, registry_of, shelf_of

REPOSITORY = Path(__file__).parents[2]
MOVED = ("card_count_24h", "merchant_total_7d")


@pytest.fixture
def settings(tmp_path, broker, redis_url, kafka_prefix):
    found = site_settings(tmp_path, bootstrap=broker.bootstrap, redis_url=redis_url, prefix=kafka_prefix)
    create(kafka_connection(found))
    return found


def test_workers_and_alerts_are_shown_as_they_come_and_a_browser_that_comes_back_misses_none(settings):
    async def run():
        await produce(settings, "alerts.v1", [alert(f"old{number}") for number in range(60)])
        async with storage(settings) as fleet, talking(fleet), served(settings) as client:
            found = await until(client, "/api/v1/live", lambda live: len(live["alerts"]) == 50 and live["rate_per_s"], "no alerts or rate")
            assert {one["transaction_id"] for one in found["alerts"]} == {f"old{number}" for number in range(10, 60)}
            assert found["alerts"][0]["amount"] == "19.99 EUR"
            assert [worker["state"] for worker in found["workers"]] == ["well"]
            async with Stream(client) as stream:
                assert (await stream.next("live"))["workers"]
                await produce(settings, "alerts.v1", [alert("new1")])
                assert (await stream.next("alert"))["transaction_id"] == "new1"
            await produce(settings, "alerts.v1", [alert("new2"), alert("new3")])
            await until(client, "/api/v1/live", lambda live: live["alerts"][0]["transaction_id"] == "new3", "new alerts not seen")
            async with Stream(client, stream.last_id) as again:
                assert [(await again.next("alert"))["transaction_id"] for _ in range(2)] == ["new2", "new3"]

    asyncio.run(run())


def test_an_outage_of_redis_is_said_and_heals(settings, redis_server):
    async def run():
        async with storage(settings) as fleet, served(settings) as client:
            async with talking(fleet):
                await until(client, "/api/v1/live", lambda live: len(live["workers"]) == 1, "worker not seen")
            await asyncio.to_thread(redis_server.stop)
            try:
                found = await until(client, "/api/v1/live", lambda live: live["state"] == "alarm", "outage not said")
                assert "Redis does not answer" in found["notices"][0]["text"]
                for path in ("status", "drift", "quality", "models"):
                    assert (await client.get(f"/api/v1/{path}")).status_code == 200
            finally:
                await asyncio.to_thread(redis_server.start)
            async with storage(settings) as after, talking(after):
                await until(client, "/api/v1/live", lambda live: live["state"] == "well" and live["workers"], "not healed")

    asyncio.run(run())


def test_an_outage_of_kafka_is_said_and_heals_and_no_alert_is_missed(settings, broker):
    def kafka(live):
        return [notice["text"] for notice in live["notices"] if "Kafka" in notice["text"]]

    async def run():
        await produce(settings, "alerts.v1", [alert("before")])
        async with storage(settings) as fleet, talking(fleet), served(settings) as client:
            await until(client, "/api/v1/live", lambda live: live["alerts"], "no alert")
            await asyncio.to_thread(broker.stop)
            try:
                found = await until(client, "/api/v1/live", kafka, "outage not said")
                assert found["alerts"][0]["transaction_id"] == "before"
            finally:
                await asyncio.to_thread(broker.start)
            await produce(settings, "alerts.v1", [alert("after")])
            await until(client, "/api/v1/live", lambda live: not kafka(live) and len(live["alerts"]) == 2, "not healed")

    asyncio.run(run())


def test_missing_topics_are_said_with_what_makes_them(tmp_path, broker, redis_url, kafka_prefix):
    async def run():
        async with served(site_settings(tmp_path, bootstrap=broker.bootstrap, redis_url=redis_url, prefix=kafka_prefix)) as client:
            found = await until(client, "/api/v1/live", lambda live: "topics create" in json.dumps(live["notices"]), "not said")
            assert "weir worker" in json.dumps(found["notices"])

    asyncio.run(run())


def test_a_shift_of_a_feature_becomes_an_event_a_record_and_a_webhook_once_each(tmp_path, broker, redis_url, kafka_prefix):
    receiver = Receiver(200)
    settings = site_settings(
        tmp_path, bootstrap=broker.bootstrap, redis_url=redis_url, prefix=kafka_prefix,
        WEIR_MONITORING_WEBHOOK_URL=receiver.url, WEIR_MONITORING_WEBHOOK_SECRET="s",
    )  # fmt: skip
    create(kafka_connection(settings))
    shelf, champion = shelf_of(tmp_path)
    profile = shelf.get(champion).profile
    first = now_ms() // HOUR_MS // 24 * 24 - 40 * 24
    end = first + 28 * 24 + 1

    async def run():
        async with storage(settings) as fleet, served(settings) as client:
            quiet = {hour: pack(counts(profile, hour, n=800)) for hour in range(first, end)}
            await fleet.put_hours("aaaaaaaa", champion, quiet, now_ms=now_ms())
            async with talking(fleet, worker="aaaaaaaa", model=champion, event_ms=end * HOUR_MS):
                found = await until(client, "/api/v1/drift", lambda drift: drift["has_baseline"], "no baseline")
                assert (found["state"], found["incidents"]) == ("well", [])
            async with Stream(client) as stream:
                moved = {hour: pack(counts(profile, hour, n=800, moved=MOVED)) for hour in range(end, end + 3)}
                await fleet.put_hours("bbbbbbbb", champion, moved, now_ms=now_ms())
                async with talking(fleet, worker="bbbbbbbb", model=champion, event_ms=(end + 3) * HOUR_MS):
                    incident = await stream.next("incident")
                    while incident["kind"] != "feature_drift":
                        incident = await stream.next("incident")
                    status = await until(
                        client, "/api/v1/status", lambda status: incident["sentence"] in json.dumps(status), "not in words"
                    )
                    assert status["state"] in {"attention", "alarm"}
                    opened = (await client.get(f"/api/v1/drift/{MOVED[0]}?window=1h")).json()
                    assert opened["row"]["state"] == incident["state"]
                    assert [one["id"] for one in opened["incidents"] if one["kind"] == "feature_drift"] == [incident["id"]]
                    metrics = (await client.get("/metrics")).text
                    assert f'weir_drift_model_info{{model="{champion}"}} 1.0' in metrics
                    assert f'weir_incidents_open{{kind="feature_drift",severity="{incident["severity"]}"}} 1.0' in metrics
                    await until(
                        client, "/api/v1/status", lambda _: any(incident["id"].encode() in body for _, _, body in receiver.requests),
                        "no webhook",
                    )  # fmt: skip
        return incident, await control_records(settings)

    try:
        incident, records = asyncio.run(run())
    finally:
        receiver.close()
    assert set(incident["features"]) == set(MOVED)
    told = [record for record in records if record.id == incident["id"]]
    assert [record.state for record in told] == ["open"]
    hooks = [msgspec.json.decode(body, type=ControlEvent) for _, _, body in receiver.requests]
    assert [hook.id for hook in hooks].count(incident["id"]) == 1
    assert (tmp_path / "monitoring" / "webhooks.jsonl").read_text().count('"status":200') == len(hooks)


def test_the_last_sixty_minutes_are_shown_while_their_hour_runs(tmp_path, broker, redis_url, kafka_prefix):
    settings = site_settings(tmp_path, bootstrap=broker.bootstrap, redis_url=redis_url, prefix=kafka_prefix)
    create(kafka_connection(settings))
    shelf, champion = shelf_of(tmp_path)
    profile = shelf.get(champion).profile
    first = now_ms() // HOUR_MS * 60

    async def count(fleet, worker, minutes):
        """Tell as a worker does: an hour with every minute of it."""
        found = {minute: counts(profile, minute, n=30) for minute in minutes}
        await fleet.put_minutes(worker, champion, {minute: pack(one) for minute, one in found.items()}, now_ms=now_ms())
        hours = {hour: [one for minute, one in found.items() if minute // 60 == hour] for hour in {minute // 60 for minute in found}}
        summed = {hour: pack(sum(ones[1:], start=ones[0])) for hour, ones in hours.items()}
        await fleet.put_hours(worker, champion, summed, now_ms=now_ms())

    async def run():
        async with storage(settings) as fleet, served(settings) as client:
            await count(fleet, "aaaaaaaa", range(first - 60, first + 10))
            await count(fleet, "bbbbbbbb", range(first, first + 12))
            for passed, n_rows in ((10, 60 * 30 + 10 * 30), (12, 58 * 30 + 12 * 30)):
                at_ms = (first + passed) * MINUTE_MS
                async with talking(fleet, worker="aaaaaaaa", model=champion, event_ms=at_ms + 1):
                    found = await until(
                        client, "/api/v1/drift?window=1h", lambda drift, at_ms=at_ms: drift["event_ms"] == at_ms, "minutes are not shown"
                    )
                assert found["n_rows"] == n_rows
            whole = (await client.get("/api/v1/drift?window=24h")).json()
            assert (whole["event_ms"], whole["n_rows"]) == (first * MINUTE_MS, 60 * 30)

    asyncio.run(run())


async def control_records(settings) -> list[ControlEvent]:
    connection = kafka_connection(settings)
    found = []
    async with Tail(connection, [connection.topic("control.v1")], from_beginning=True, until_end=True) as tail:
        async for records in tail.batches(asyncio.Event()):
            for record in records:
                event = msgspec.json.decode(record.value, type=ControlEvent)
                assert record.key == event.id.encode()
                found.append(event)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_where_it_is_and_ends_cleanly_though_browsers_are_connected(settings, tmp_path, number):
    registry_of(tmp_path)
    config = tmp_path / "weir.toml"
    config.write_text(settings_toml(settings))
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "--config", str(config), "web", "--port", "0", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY, env=os.environ,
    )  # fmt: skip
    try:
        url = json.loads(process.stdout.readline())["url"]

        async def run():
            async with httpx.AsyncClient(base_url=url, timeout=30.0) as client, Stream(client) as first, Stream(client) as second:
                await first.next("live")
                await second.next("live")
                assert (await client.get("/healthz")).json()["alive"]
                process.send_signal(number)
                await asyncio.to_thread(process.wait, PATIENCE_S)

        asyncio.run(run())
    finally:
        process.kill()
    assert process.returncode == 0, process.stderr.read()
    assert "Traceback" not in process.stderr.read()


def test_a_port_in_use_and_a_foreign_address_are_sentences(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for environ, words in (
            ({}, f"cannot listen on 127.0.0.1:{port}"),
            ({"WEIR_WEB_BIND": "0.0.0.0"}, "no users and passwords yet"),
        ):
            found = subprocess.run(
                [sys.executable, "-m", "service", "web", "--port", str(port)], capture_output=True, text=True, check=False, cwd=tmp_path,
                env=os.environ | environ | {"PYTHONPATH": str(REPOSITORY)}, timeout=120,
            )  # fmt: skip
            assert found.returncode == 2
            assert words in found.stderr
            assert "Traceback" not in found.stderr

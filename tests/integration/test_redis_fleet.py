"""The fleet on a real Redis, a single server and a cluster: what workers tell is what watchers read."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
import numpy as np
import pytest

from domain.decision import Tier
from domain.errors import Unavailable
from monitoring.counters import MOST_HOURS
from monitoring.fleet import VariantCount, WorkerState
from monitoring.metrics import Metrics
from monitoring.packed import HOUR_MS, MINUTE_MS, Counts, pack, unpack
from monitoring.profile import Profile
from service.heartbeat import Heartbeat, Surroundings
from service.redis_fleet import FleetStorage
from stream.lineup import Lineup
from stream.scored import Scored, ShadowCount
from tests.integration.redis_nodes import Site

NOW_MS = 1_700_000_000_000
MODEL = "m@1"
STATE = WorkerState(
    worker="aaaaaaaa", at_ms=NOW_MS, started_ms=NOW_MS - 5, model=MODEL, spec="s", policy="p", partitions=[0, 2], lag=3,
    event_ms=NOW_MS - 9, transactions=7, labels=1, decisions={"approve:full": 7}, flags={}, dead_letters=0,
    latency_edges_s=[0.1], latency_counts=[6, 1],
    redis="ok", problem="", metrics="http://127.0.0.1:1",
)  # fmt: skip


def play(site: Site, law: Callable[..., Awaitable[None]]) -> None:
    async def body():
        wire, client = site.new_wire(), site.new_client()
        await asyncio.wait_for(law(FleetStorage(wire, "weir:"), client), 60)
        await wire.close()
        await client.aclose()

    asyncio.run(body())


async def eventually(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Return when something has come true; connections may have to be opened again."""
    for _ in range(400):
        with suppress(Unavailable):
            if await is_so():
                return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come true")


def counts(n: int) -> Counts:
    return Counts(n, 0, np.full((3, 11), n))


class Tiny:
    """A model of two features."""

    name, version, spec, policy_version = "m", "1", "s", "p"
    profile = Profile.of(["a", "b"], np.arange(40, dtype=np.float32).reshape(20, 2), np.linspace(0, 1, 20))


def heartbeat(storage: FleetStorage, **surroundings) -> Heartbeat:
    around = Surroundings(
        **{"partitions": [0], "lag": 0, "is_outage": False, "problem": "", "address": "http://127.0.0.1:1"} | surroundings
    )
    return Heartbeat(storage, Lineup(Tiny()), Metrics(), lambda: around)


def scored(n: int, *, at_ms: int = NOW_MS, tier: Tier = Tier.FULL) -> Scored:
    vectors = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    return Scored(vectors, np.linspace(0, 1, n), np.full(n, at_ms), ["approve"] * n, tier, MODEL)


def test_what_was_written_is_read_and_then_only_what_changed(site):
    async def law(storage, client):
        del client
        assert await storage.workers() == []
        assert await storage.changed(MODEL, "w", 0) == (0, {})
        await storage.put_minutes("w", MODEL, {10: b"ten", 11: b"eleven"}, now_ms=NOW_MS)
        await storage.put_hours("w", MODEL, {1: b"one"}, now_ms=NOW_MS)
        since, found = await storage.changed(MODEL, "w", 0)
        assert found == {10: b"ten", 11: b"eleven"}
        assert (await storage.hours(MODEL, "w", 0))[1] == {1: b"one"}
        await storage.put_minutes("w", MODEL, {11: b"eleven more"}, now_ms=NOW_MS + 1)
        since, found = await storage.changed(MODEL, "w", since)
        assert found == {11: b"eleven more"}
        assert await storage.changed(MODEL, "w", since) == (since, {})
        assert (await storage.changed(MODEL, "other", 0))[1] == {}
        assert await storage.counted() == [(MODEL, "w")]

    play(site, law)


def test_a_span_that_is_gone_is_read_no_more_and_leaves_no_key(site):
    async def law(storage, client):
        del client
        await storage.put_minutes("w", MODEL, {10: b"ten", 11: b"eleven"}, now_ms=NOW_MS)
        await storage.put_hours("w", MODEL, {1: b"one", 2: b"two"}, now_ms=NOW_MS)
        await storage.put_minutes("w", MODEL, {}, now_ms=NOW_MS, gone=[10])
        await storage.put_hours("w", MODEL, {}, now_ms=NOW_MS, gone=[1, 99])
        assert (await storage.changed(MODEL, "w", 0))[1] == {11: b"eleven"}
        assert (await storage.hours(MODEL, "w", 0))[1] == {2: b"two"}
        assert {key for key in site.all_keys() if b":m:" in key or b":h:" in key} == {
            b"weir:drift:m@1:w:m:11", b"weir:drift:m@1:w:h:2",
        }  # fmt: skip

    play(site, law)


def test_everything_in_redis_ends_by_itself(site):
    async def law(storage, client):
        await storage.put_minutes("w", MODEL, {10: b"ten"}, now_ms=NOW_MS)
        await storage.put_hours("w", MODEL, {1: b"one"}, now_ms=NOW_MS)
        await storage.put_state(STATE)
        limits_s = {key.decode(): await client.ttl(key) for key in site.all_keys()}
        day_s = 86_400
        assert {key: limit for key, limit in limits_s.items() if not 0 < limit <= 3 * day_s} == {}
        assert len(limits_s) == 7
        assert limits_s["weir:fleet:aaaaaaaa"] <= 60
        assert limits_s["weir:drift:m@1:w:m:10"] <= 3 * 3_600

    play(site, law)


def test_workers_are_those_that_spoke_lately_by_their_start(site):
    async def law(storage, client):
        younger = msgspec.structs.replace(STATE, worker="bbbbbbbb", started_ms=NOW_MS)
        await storage.put_state(younger)
        await storage.put_state(STATE)
        assert await storage.workers() == [STATE, younger]
        await client.delete("weir:fleet:aaaaaaaa")  # as after 60 s of silence
        assert await storage.workers() == [younger]
        await storage.remove_state("bbbbbbbb")
        assert await storage.workers() == []

    play(site, law)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"worker": "x"}', b"\xff"])
def test_a_state_that_cannot_be_read_hides_no_other(site, content):
    async def law(storage, client):
        await storage.put_state(STATE)
        await storage.put_state(msgspec.structs.replace(STATE, worker="bbbbbbbb"))
        await client.set("weir:fleet:bbbbbbbb", content)
        assert await storage.workers() == [STATE]

    play(site, law)


def test_a_newer_worker_may_say_more(site):
    async def law(storage, client):
        await storage.put_state(STATE)
        await client.set("weir:fleet:aaaaaaaa", msgspec.json.encode(msgspec.to_builtins(STATE) | {"mood": "fine"}))
        assert await storage.workers() == [STATE]

    play(site, law)


def test_more_minutes_than_one_write_holds_arrive(site):
    async def law(storage, client):
        del client
        minutes = {minute: str(minute).encode() for minute in range(700)}
        await storage.put_minutes("w", MODEL, minutes, now_ms=NOW_MS)
        assert (await storage.changed(MODEL, "w", 0))[1] == minutes

    play(site, law)


def test_what_workers_counted_adds_up_and_a_new_process_continues_nobodys_counters(site):
    async def law(storage, client):
        del client
        for n in (4, 5):  # the second process after the first one's end
            beat = heartbeat(storage)
            beat.count(scored(n))
            beat.count(scored(1))
            await beat.beat()
            await beat.beat()
        workers = await storage.counted()
        assert len({worker for _, worker in workers}) == 2
        read = [await storage.hours(model, worker, 0) for model, worker in workers]
        assert sorted(unpack(found[NOW_MS // HOUR_MS]).n_rows for _, found in read) == [5, 6]
        minutes = [(await storage.changed(model, worker, 0))[1] for model, worker in workers]
        assert sorted(unpack(found[NOW_MS // MINUTE_MS]).n_rows for found in minutes) == [5, 6]

    play(site, law)


def test_answers_of_hours_that_are_closed_are_shown_as_uncounted_though_their_model_is_forgotten(site):
    def hours_then_an_old_one(beat):
        for hour in range(MOST_HOURS + 1):
            beat.count(scored(256, at_ms=NOW_MS + hour * HOUR_MS))  # enough to be counted at once
        beat.count(scored(4))

    async def law(storage, client):
        del client
        beat = heartbeat(storage)
        hours_then_an_old_one(beat)
        for number in range(2, 8):
            later = Tiny()
            later.version = str(number)
            beat.adopt(Lineup(later))
            await beat.beat()
            assert "weir_drift_uncounted_total 4.0" in beat._metrics.exposition().decode()
        assert MODEL in beat._forgotten

    play(site, law)


def test_degraded_answers_are_decisions_and_no_feature_values(site):
    async def law(storage, client):
        del client
        beat = heartbeat(storage)
        beat.count(scored(3))
        beat.count(scored(2, at_ms=NOW_MS + 5, tier=Tier.DEGRADED))
        await beat.beat()
        [state] = await storage.workers()
        assert state.decisions == {"approve:full": 3, "approve:degraded": 2}
        assert (state.transactions, state.event_ms, state.worker) == (5, NOW_MS + 5, beat.worker)
        assert unpack((await storage.hours(MODEL, beat.worker, 0))[1][NOW_MS // HOUR_MS]).n_rows == 3

    play(site, law)


def test_an_outage_only_delays_what_is_told(single_site):
    async def law(storage, client):
        beat = heartbeat(storage)
        running = asyncio.create_task(beat.run())
        beat.count(scored(2))
        node = single_site.masters[0]

        async def are_rows(n: int) -> bool:
            hours = (await storage.hours(MODEL, beat.worker, 0))[1]
            return bool(hours) and unpack(hours[NOW_MS // HOUR_MS]).n_rows == n

        await eventually(lambda: are_rows(2))
        node.fill()
        beat.count(scored(3))
        beat.count(scored(1, at_ms=NOW_MS + HOUR_MS))
        with pytest.raises(Unavailable):
            await beat.beat()
        node.empty()
        await eventually(lambda: are_rows(5))
        assert unpack((await storage.hours(MODEL, beat.worker, 0))[1][NOW_MS // HOUR_MS + 1]).n_rows == 1
        running.cancel()
        beat.count(scored(4))
        await beat.close()
        assert await are_rows(9)
        assert await storage.workers() == []
        assert await client.zscore("weir:fleet", beat.worker) is None

    play(single_site, law)


def test_an_emptied_redis_gets_what_changes_next_whole(site):
    async def law(storage, client):
        del client
        beat = heartbeat(storage)
        beat.count(scored(2))
        await beat.beat()
        for node in site.masters:
            node.flush()
        beat.count(scored(3))
        await beat.beat()
        assert unpack((await storage.hours(MODEL, beat.worker, 0))[1][NOW_MS // HOUR_MS]).n_rows == 5
        assert [state.worker for state in await storage.workers()] == [beat.worker]

    play(site, law)


def test_days_of_events_in_a_second_leave_every_hour_and_no_minutes(site):
    async def law(storage, client):
        del client
        beat = heartbeat(storage)
        for day in range(3):
            for hour in range(24):
                beat.count(scored(2, at_ms=NOW_MS + (24 * day + hour) * HOUR_MS))
            await beat.beat()
        hours = (await storage.hours(MODEL, beat.worker, 0))[1]
        assert {hour: unpack(content).n_rows for hour, content in hours.items()} == {NOW_MS // HOUR_MS + i: 2 for i in range(72)}
        assert (await storage.changed(MODEL, beat.worker, 0))[1] == {}
        assert [key for key in site.all_keys() if b":m:" in key] == []

    play(site, law)


def test_packed_counters_survive_redis(site):
    async def law(storage, client):
        del client
        await storage.put_hours("w", MODEL, {1: pack(counts(70_000))}, now_ms=NOW_MS)
        found = unpack((await storage.hours(MODEL, "w", 0))[1][1])
        assert found.n_rows == 70_000
        assert np.array_equal(found.bins, counts(70_000).bins)

    play(site, law)


class Named(Tiny):
    """Another model of the same features."""

    def __init__(self, name: str) -> None:
        self.name = name


async def n_rows(storage: FleetStorage) -> dict[str, int]:
    """Return model -> rows, over everybody who counted them."""
    found: dict[str, int] = {}
    for model, worker in await storage.counted():
        hours = (await storage.hours(model, worker, 0))[1]
        found[model] = found.get(model, 0) + sum(unpack(content).n_rows for content in hours.values())
    return found


def test_models_that_come_and_go_in_one_process_are_counted_apart_and_none_twice(site):
    async def law(storage, client):
        del client
        beat, expected = heartbeat(storage), dict[str, int]()
        for n, name in enumerate(["a", "b", "a", "c", "d", "e", "f", "a", "b"], start=1):  # more than are kept
            beat.adopt(Lineup(Named(name)))
            beat.count(scored(n)._replace(model=f"{name}@1"))
            expected[f"{name}@1"] = expected.get(f"{name}@1", 0) + n
            await beat.beat()
            assert await n_rows(storage) == expected
        [state] = await storage.workers()
        assert (state.model, state.challenger) == ("b@1", "")
        assert {count.model: count.n for count in state.variants} == expected

    play(site, law)


def test_variants_and_shadows_are_told_apart(site):
    async def law(storage, client):
        del client
        beat = heartbeat(storage)
        beat.adopt(Lineup(Tiny(), Named("other"), "canary", 10.0))
        alerts = scored(3)._replace(outcomes=["approve", "review", "decline"], shadow=ShadowCount("other@1", 3, 1))
        beat.count(alerts)
        beat.count(scored(2)._replace(model="other@1", variant="challenger", shadow=ShadowCount(MODEL, 2, 2)))
        beat.count(scored(4, tier=Tier.SMALL))
        await beat.beat()
        [state] = await storage.workers()
        assert set(state.variants) == {
            VariantCount("champion", MODEL, 7, 2, 4), VariantCount("shadow", "other@1", 3, 1, 0),
            VariantCount("challenger", "other@1", 2, 0, 0), VariantCount("shadow", MODEL, 2, 2, 0),
        }  # fmt: skip
        assert (state.challenger, state.transactions) == ("other@1", 9)
        assert await n_rows(storage) == {MODEL: 7, "other@1": 2}

    play(site, law)

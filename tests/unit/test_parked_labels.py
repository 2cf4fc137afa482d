"""A label that comes before its transaction waits for it, and counts once, whatever happens meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from domain.errors import Unavailable
from features.layout import FRAUD, FRAUD_UNDONE
from features.memory import MemoryLog
from stream.dead_letter import ORIGIN, TRIED
from stream.publisher import DeliveryFailed
from stream.records import TopicPartition
from tests.unit.parked_runs import KEYS, TOLD_MS, Storm, Worker, World, known_frauds, labels_of
from tests.unit.pipeline_runs import LABEL_TOPICS, LABELS, START_MS, dead, label, rows, transaction

LATER_MS = START_MS + 10**12


def lived(story: Callable[[World, Worker], Awaitable[None]]) -> World:
    """Return the world after a story of one worker."""

    async def body() -> World:
        world = World()
        worker = Worker(world)
        await worker.assign()
        await story(world, worker)
        await world.store.close()
        return world

    return asyncio.run(body())


def test_a_label_that_comes_first_is_credited_when_its_transaction_has_come():
    async def story(world, worker):
        await worker.consume(labels_of([label(1)]))
        assert world.published == []
        await worker.sweep()
        assert world.published == []
        await world.arrive(*[transaction(i) for i in range(3)])
        assert await worker.sweep() == 1
        assert world.parked.labels == {}
        await world.arrive(transaction(4))

    world = lived(story)

    (row,) = rows(world.published)
    assert (row.transaction_id, row.kind, row.flags, row.partition, row.offset) == ("t1", FRAUD, 0, 0, 0)
    assert row.positions == (1, 1, -1, -1)
    world.assert_equals_twin()


def test_a_parked_label_does_not_hide_behind_a_later_one_of_its_partition():
    """t1 and t3 share the merchant; the label of t3 comes later in the same partition, and is credited first."""

    async def story(world, worker):
        await world.arrive(transaction(3))
        first, _, _, second = labels_of([label(1), None, None, label(3)])
        assert first.partition == second.partition
        await worker.consume([first, second])
        await world.arrive(transaction(1))
        await worker.sweep()
        await world.arrive(*[transaction(20 + i, card_id=f"c{i % 3}", merchant_id=f"m{i % 2}") for i in range(6)])

    world = lived(story)

    assert [merchant for _, merchant in known_frauds(world)] == [0, 2] * 3
    world.assert_equals_twin()


def test_a_label_waits_until_all_partitions_have_passed_its_append_time():
    async def story(world, worker):
        (record,) = records = labels_of([label(1)])
        await worker.consume(records)
        for horizon_ms in (None, record.timestamp - 1, record.timestamp):
            world.horizon_ms = horizon_ms
            assert await worker.sweep() == 0
        world.horizon_ms = record.timestamp + 1
        assert await worker.sweep() == 1
        await worker.consume(records)  # redelivered: it has been given up
        assert await worker.sweep() == 0

    world = lived(story)

    (headers,) = dead(world.published)
    assert (headers["error"], headers["topic"], headers["partition"], headers["offset"]) == (
        b"UnknownTransaction",
        b"labels.v1",
        b"0",
        b"0",
    )
    assert world.parked.labels == {}


def test_the_dead_letter_of_a_parked_label_is_that_of_its_record():
    headers = ((TRIED, b"2"), (ORIGIN, b"d:0:7@5"))
    (record,) = (r._replace(key=b"k", headers=headers) for r in labels_of([label(1)]))

    async def story(world, worker):
        await worker.consume([record])
        world.horizon_ms = LATER_MS
        await worker.sweep()

    (message,) = lived(story).published

    found = dict(message.headers)
    assert (message.topic, message.key, message.value) == (LABEL_TOPICS.dead, b"k", record.value)
    assert (found["append_ms"], found["attempts"], found["replay_of"]) == (b"%d" % record.timestamp, b"3", b"d:0:7@5")


def test_a_given_up_label_stays_given_up_when_its_transaction_comes_after_all():
    async def story(world, worker):
        records = labels_of([label(1)])
        await worker.consume(records)
        world.horizon_ms = LATER_MS
        await worker.sweep()
        await world.arrive(transaction(1))
        await worker.consume(records)
        await worker.sweep()

    world = lived(story)

    assert len(world.published) == 1
    assert rows(world.published) == []


def test_a_parked_label_that_is_not_later_than_its_event_is_a_dead_letter():
    async def story(world, worker):
        await worker.consume(labels_of([label(1, label_time_ms=START_MS + 60_000)]))
        await world.arrive(transaction(1))
        await worker.sweep()

    (headers,) = dead(lived(story).published)
    assert headers["error"] == b"InvalidRecord"


def test_many_more_labels_than_a_round_takes_are_all_tried():
    async def story(world, worker):
        await worker.consume(labels_of([label(i) for i in range(30)]))
        await world.arrive(*[transaction(i) for i in range(29, 19, -1)])
        await worker.sweep_all()
        assert len(world.parked.labels) == 20
        assert 'weir_parked_labels{partition="0"}' in worker.metrics.exposition().decode()
        await world.arrive(*[transaction(i) for i in range(20)])
        await worker.sweep_all()
        assert world.parked.labels == {}
        await world.arrive(transaction(40))

    world = lived(story)
    assert len(world.rows()) == 30
    world.assert_equals_twin()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
@pytest.mark.parametrize("n_before", [0, 1, 2, 3])
def test_the_latest_label_is_in_force_whether_it_waited_or_not(order, n_before):
    """Three statements on one transaction, `n_before` of them before it: fraud, then good, then (same time, later offset) fraud."""
    values = [label(1), label(1, is_fraud=False, label_time_ms=TOLD_MS + 1), label(1, label_time_ms=TOLD_MS + 1)]
    records = labels_of([v for i in order for v in (values[i], None, None)])[::3]

    async def story(world, worker):
        await worker.consume(records[:n_before])
        await world.arrive(*[transaction(i) for i in range(3)])
        await worker.consume(records[n_before:])
        await worker.sweep_all()
        await worker.consume(records)
        await worker.sweep_all()
        await world.arrive(*[transaction(20 + i, card_id=f"c{i % 3}", merchant_id=f"m{i % 2}") for i in range(6)])

    world = lived(story)

    said = [msgspec.json.decode(record.value, type=dict) for record in records]
    last = max(range(3), key=lambda i: (said[i]["label_time_ms"], i))
    expected = float(said[last]["is_fraud"])
    assert known_frauds(world)[1] == (expected, expected)
    assert known_frauds(world)[0] == (0, 0)
    kinds = [row.kind for row in world.rows()]
    assert kinds.count(FRAUD) - kinds.count(FRAUD_UNDONE) == expected
    world.assert_equals_twin()


def test_a_label_that_is_parked_again_after_it_was_credited_counts_once():
    """A worker that was overtaken between its decision and its parking."""

    async def story(world, worker):
        await worker.consume(labels_of([label(1)]))
        (kept,) = world.parked.labels.values()
        await world.arrive(*[transaction(i) for i in range(3)])
        await worker.sweep()
        await world.parked.put([kept])
        assert await worker.sweep() == 1
        await world.arrive(*[transaction(20 + i, card_id=f"c{i % 3}", merchant_id=f"m{i % 2}") for i in range(6)])

    world = lived(story)

    assert world.parked.labels == {}
    assert known_frauds(world)[1] == (1, 1)
    assert len(rows(world.published)) == 1
    world.assert_equals_twin()


def test_a_label_whose_transaction_leaves_the_index_after_it_was_numbered_is_a_dead_letter():
    async def story(world, worker):
        await worker.consume(labels_of([label(1), None, None, label(2)]))
        await world.arrive(transaction(1), transaction(2))
        waiting = [kept for kept in world.parked.labels.values() if kept.partition == 0]
        await world.parked.number(0, waiting, most=10)
        del world.log.index[KEYS.index("t1")]
        assert await worker.sweep() == 2

    world = lived(story)

    assert [headers["offset"] for headers in dead(world.published) if headers["error"] == b"UnknownTransaction"] == [b"0"]
    assert [row.transaction_id for row in rows(world.published)] == ["t2"]


def test_a_label_is_kept_until_what_is_published_of_it_is_delivered():
    async def undelivered() -> None:
        raise DeliveryFailed("the broker is away")

    async def publish(messages):
        assert messages
        return undelivered()

    async def story(world, worker):
        await worker.consume(labels_of([label(1), None, None, label(2)]))
        await world.arrive(transaction(1))
        world.horizon_ms = LATER_MS
        with pytest.raises(DeliveryFailed):
            await worker.parked.run(publish)
        assert len(world.parked.labels) == 2
        await worker.sweep()
        assert world.parked.labels == {}
        await world.arrive(*[transaction(20 + i, card_id=f"c{i % 3}", merchant_id=f"m{i % 2}") for i in range(6)])

    world = lived(story)

    assert known_frauds(world)[1] == (1, 1)
    assert len(world.published) == 2 + 2  # the dead letters of the two empty records, a row and a dead letter
    world.assert_equals_twin()


class FickleLog(MemoryLog):
    """A log that does not answer labels while it is away."""

    is_away = False

    async def label(self, *args):
        if self.is_away:
            raise Unavailable("away")
        return await super().label(*args)


def test_a_label_counts_once_when_the_node_that_numbered_it_is_lost_before_it_is_credited():
    async def body():
        world = World(FickleLog())
        worker = Worker(world)
        await worker.assign()
        await worker.consume(labels_of([label(1)]))
        await world.replicated()  # as every commit
        await world.arrive(*[transaction(i) for i in range(3)])
        world.log.is_away = True
        with pytest.raises(Unavailable):
            await worker.sweep()
        world.fail_over()
        world.log.is_away = False
        await worker.sweep()
        await world.arrive(*[transaction(20 + i, card_id=f"c{i % 3}", merchant_id=f"m{i % 2}") for i in range(6)])
        await world.store.close()
        return world

    world = asyncio.run(body())

    assert world.parked.labels == {}
    assert known_frauds(world)[1] == (1, 1)
    assert len(rows(world.published)) == 1
    world.assert_equals_twin()


def test_a_worker_sweeps_only_what_it_owns():
    async def story(world, worker):
        await worker.consume(labels_of([label(1), label(2)]))
        await world.arrive(transaction(1), transaction(2))
        await worker.parked.assign({}, [TopicPartition(LABELS, 1)])
        await worker.sweep()
        assert [kept.partition for kept in world.parked.labels.values()] == [0]
        await worker.parked.assign({}, [])
        assert await worker.sweep() == 0

    assert [row.transaction_id for row in rows(lived(story).published)] == ["t2"]


@pytest.mark.parametrize("seed", range(25))
def test_nothing_is_lost_and_nothing_counts_twice_in_a_storm(seed):
    """Two workers for each partition, two sweeps, crashes and failures at every step."""
    storm = Storm(World(), seed)
    asyncio.run(storm.run())

    assert storm.n_crashes > 0
    assert storm.world.parked.labels == {}
    storm.assert_exact()

"""A lane acknowledges in order, after the delivery, and never after a failure."""

import asyncio

from domain.errors import StaleTopic, Unavailable
from stream.chunks import Chunk
from stream.ending import ExitCode
from stream.lane import Lane
from stream.publisher import DeliveryFailed


class Deliveries:
    """A publisher whose deliveries the test confirms."""

    def __init__(self):
        self.futures = []

    async def publish(self, messages):
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]


def chunks(n):
    return [Chunk("t", [i], {}) for i in range(n)]


async def stream_of(items, until):
    for item in items:
        yield item
    await until.wait()


async def turns():
    for _ in range(100):
        await asyncio.sleep(0)


def run(items, process, check, **options):
    """Serve `items`; `check(acknowledged, deliveries, ended)` is awaited in the middle of it."""

    async def main():
        acknowledged, ended, deliveries, over = [], [], Deliveries(), asyncio.Event()
        lane = Lane(
            process,
            deliveries,
            acknowledged.append,
            end=lambda code, reason, **_: ended.append((code, reason)),
            on_delivered=lambda *_: None,
            **options,
        )
        serving = asyncio.create_task(lane.serve(stream_of(items, over)))
        await turns()
        await check(acknowledged, deliveries, ended)
        over.set()
        await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(main())


async def echo(records):
    return lambda: list(records)


def test_chunks_are_acknowledged_in_order_after_their_deliveries():
    items = chunks(2)

    async def check(acknowledged, deliveries, ended):
        assert len(deliveries.futures) == 2  # the second was processed beside the first's delivery
        deliveries.futures[1].set_result(None)
        await turns()
        assert acknowledged == []
        deliveries.futures[0].set_result(None)
        await turns()
        assert acknowledged == items

    run(items, echo, check)


def test_the_next_chunk_goes_to_the_store_before_the_one_that_came_back_is_answered():
    steps = []

    async def process(records):
        steps.append(f"apply {records[0]}")
        await asyncio.sleep(0)
        return lambda: steps.append(f"answer {records[0]}") or list(records)

    async def check(acknowledged, deliveries, ended):
        assert steps == ["apply 0", "apply 1", "answer 0", "answer 1"]

    run(chunks(2), process, check)


def test_a_chunk_behind_which_nothing_waits_is_answered_without_waiting_for_a_next_one():
    def turns_until_published(has_next):
        found = []

        async def main():
            deliveries, over = Deliveries(), asyncio.Event()
            lane = Lane(
                echo, deliveries, lambda _: None, end=lambda *_, **__: None, on_delivered=lambda *_: None, has_next=lambda: has_next
            )
            serving = asyncio.create_task(lane.serve(stream_of(chunks(1), over)))
            while not deliveries.futures:
                await asyncio.sleep(0)
                found.append(None)
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

        asyncio.run(main())
        return len(found)

    assert turns_until_published(has_next=False) < turns_until_published(has_next=True)


def test_only_what_was_handed_to_the_producer_is_told_as_published():
    told, made = [], []

    async def process(records):
        def answer():
            made.append(list(records))
            return made[-1]

        return answer

    async def record(messages):
        return messages != [1]  # another worker's now

    async def check(acknowledged, deliveries, ended):
        assert [messages[0] for messages in told] == [0, 2]
        assert told[0] is made[0]
        assert told[1] is made[2]

    run(chunks(3), process, check, record=record, on_published=told.append)


def test_a_failed_delivery_ends_the_process_and_acknowledges_nothing():
    async def check(acknowledged, deliveries, ended):
        deliveries.futures[0].set_exception(DeliveryFailed("no"))
        deliveries.futures[1].set_result(None)
        await turns()
        assert acknowledged == []
        assert ended[0][0] == ExitCode.FAILED

    run(chunks(2), echo, check)


def test_an_error_of_the_pipeline_ends_the_process():
    async def fail(records):
        raise StaleTopic("new") if records[0] == 0 else ValueError("bug")

    async def is_stale(acknowledged, deliveries, ended):
        assert ended == [(ExitCode.STALE_TOPIC, "new")]
        assert deliveries.futures == []

    async def is_failed(acknowledged, deliveries, ended):
        assert ended[0][0] == ExitCode.FAILED

    run(chunks(1), fail, is_stale)
    run(chunks(2)[1:], fail, is_failed)


def test_a_void_chunk_is_not_processed_and_one_that_becomes_void_while_unavailable_is_given_up():
    items, tried = chunks(2), []
    items[0].is_void = True

    async def unavailable(records):
        tried.append(records[0])
        items[1].is_void = True
        raise Unavailable("later")

    async def check(acknowledged, deliveries, ended):
        await asyncio.wait_for(_until(lambda: tried), 5)
        assert not items[1].is_taken
        assert items[1].refused_s > 0
        assert ended == acknowledged == deliveries.futures == []

    run(items, unavailable, check)
    assert tried == [1]


async def _until(condition):
    while not condition():  # noqa: ASYNC110 - the condition is a list that fills
        await asyncio.sleep(0)

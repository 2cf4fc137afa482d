"""Server-sent events: every fact to everybody, states only the newest, bounded for each."""

import asyncio

import pytest

from service.web import events as events_module
from service.web.events import Events, TooManyBrowsers

DEADLINE_S = 10.0


async def opened(events: Events, last_id: str | None = None):
    """Return a stream whose opening has been read."""
    stream = events.open(last_id)
    assert (await anext(stream)).startswith(b"retry: ")
    return stream


async def following(stream) -> bytes:
    return await asyncio.wait_for(anext(stream), DEADLINE_S)


def ids(content: bytes) -> list[str]:
    return [line[4:].decode() for line in content.split(b"\n") if line.startswith(b"id: ")]


def test_every_browser_gets_every_fact_in_order_and_the_newest_state_only():
    async def run():
        events = Events()
        first, second = await opened(events), await opened(events)
        for number in range(3):
            events.fact("alert", b'{"n":%d}' % number)
            events.live(b'{"tick":%d}' % number)

        for stream in (first, second):
            content = await following(stream)
            assert [content.count(b'{"n":%d}' % number) for number in range(3)] == [1, 1, 1]
            assert content.index(b'{"n":0}') < content.index(b'{"n":2}')
            assert b'{"tick":2}' in content
            assert b'{"tick":1}' not in content

    asyncio.run(run())


def test_a_new_browser_begins_with_the_last_state_and_without_old_facts():
    async def run():
        events = Events()
        events.fact("alert", b"{}")
        events.live(b'{"tick":7}')

        content = await following(await opened(events))

        assert content == b'event: live\ndata: {"tick":7}\n\n'

    asyncio.run(run())


def test_a_browser_that_comes_back_gets_what_it_missed_and_nothing_twice():
    async def run():
        events = Events()
        for number in range(5):
            events.fact("incident" if number == 3 else "alert", b'{"n":%d}' % number)
        known = ids(await following(await opened(events, f"{events.last_id.partition('-')[0]}-0")))

        content = await following(await opened(events, known[2]))

        assert ids(content) == known[3:]
        assert b"event: incident" in content

    asyncio.run(run())


@pytest.mark.parametrize("last_id", ["another-3", "nonsense", "", "-", "RUN-", "RUN--1", "RUN-99", "RUN-0"])
def test_what_can_no_longer_be_given_is_announced_by_reset(last_id):
    async def run():
        events = Events(most_kept=2)
        for _ in range(4):
            events.fact("alert", b"{}")

        content = await following(await opened(events, last_id.replace("RUN", events.last_id.partition("-")[0])))

        assert content == b"event: reset\ndata: {}\n\n"

    asyncio.run(run())


def test_a_browser_that_reads_nothing_is_disconnected_at_the_bound_and_the_others_go_on():
    async def run():
        events = Events(most_waiting=3)
        slow, quick = await opened(events), await opened(events)
        read = b""
        for number in range(4):
            events.fact("alert", b'{"n":%d}' % number)
            read += await following(quick)

        assert [read.count(b'{"n":%d}' % number) for number in range(4)] == [1, 1, 1, 1]
        with pytest.raises(StopAsyncIteration):
            await following(slow)
        assert events.n_browsers == 1

    asyncio.run(run())


def test_a_quiet_stream_is_kept_open_by_comments():
    async def run():
        stream = await opened(Events(heartbeat_s=0.01))

        assert (await following(stream)).startswith(b":")

    asyncio.run(run())


def test_closing_ends_every_stream_and_those_opened_later():
    async def run():
        events = Events()
        stream = await opened(events)
        events.close()

        for one in (stream, await opened(events)):
            with pytest.raises(StopAsyncIteration):
                await following(one)
        assert events.n_browsers == 0

    asyncio.run(run())


def test_no_more_streams_are_opened_than_can_be_served(monkeypatch):
    monkeypatch.setattr(events_module, "MOST_BROWSERS", 2)

    async def run():
        events = Events()
        streams = [await opened(events), await opened(events)]
        with pytest.raises(TooManyBrowsers):
            events.open(None)
        await streams[0].aclose()

        await opened(events)

    asyncio.run(run())

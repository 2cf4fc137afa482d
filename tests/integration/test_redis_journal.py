"""The answer journal on a real Redis: a single server and a cluster."""

import asyncio
from collections.abc import Callable

import pytest

from domain.errors import Unavailable
from stream.journal import Answered, Journal
from stream.journal_ring import Answer, Start
from tests.integration.journal_world import KEYS, N_SLOTS, SOURCE, play

OTHER_SOURCE = 301
BINARY = bytes(range(256)) + b"\r\n$-1\r\n"


@pytest.fixture
def run(site) -> Callable:
    """Return a function that runs `law(world)` in an event loop."""
    return lambda law: play(site, law)


def answered(*spans: tuple[int, int, int], text: bytes = b"") -> Answered:
    """Return answers of (partition, first offset, end)."""
    rows = [(p, o, b"%b/%d/%d" % (text, p, o), b"alert%d" % o if o % 2 else b"") for p, a, b in spans for o in range(a, b)]
    return Answered(*(list(column) for column in zip(*rows, strict=True)))


def starts(offset: int = 0, *partitions: int, source: int = SOURCE) -> dict[int, Start]:
    return {p: Start(source + 10 * p, offset) for p in partitions or (0, 1)}


def found(journal: Journal, partition: int, *offsets: int) -> list[bytes | None]:
    return [None if (answer := journal.find(partition, o)) is None else answer.score for o in offsets]


def test_after_a_crash_the_uncommitted_answers_are_found_with_their_bytes(run):
    async def law(world):
        first = world.process()
        await first.load(starts())
        assert await first.write(answered((0, 0, 3), (1, 0, 2)))
        assert await first.write(Answered([0, 0], [3, 4], [BINARY, b""], [b"", BINARY]))
        second = world.process()
        await second.load(starts(2))

        assert second.find(0, 3) == Answer(BINARY, b"")
        assert second.find(0, 4) == Answer(b"", BINARY)
        assert found(second, 0, 1, 2, 5) == [None, b"/0/2", None]
        assert found(second, 1, 1) == [None]
        assert second.find(7, 3) is None
        assert second.n_broken == 0

    run(law)


def test_a_chunk_of_rejected_records_only_is_recorded_without_asking_redis(run):
    async def law(world):
        journal = world.process()
        assert await journal.write(Answered([], [], [], []))
        assert world.wires[0].generation == 0

    run(law)


def test_slots_have_no_time_to_live_and_the_ring_wraps_around(run):
    async def law(world):
        journal = world.process()
        await journal.load(starts(0, 0))
        for i in range(3 * N_SLOTS):
            assert await journal.write(answered((0, i, i + 1)))
            journal.committed({0: i})
        names = [KEYS.journal("group", 0, slot) for slot in range(N_SLOTS)]
        assert sorted(world.site.all_keys()) == sorted(names)
        assert {await world.client.ttl(name) for name in names} == {-1}
        last = 3 * N_SLOTS - 1
        after = world.process()
        await after.load(starts(last - 1, 0))
        assert found(after, 0, last - 2, last - 1, last) == [None, b"/0/%d" % (last - 1), b"/0/%d" % last]
        assert await after.write(answered((0, last + 1, last + 2)))
        again = world.process()
        await again.load(starts(last - 1, 0))
        assert None not in found(again, 0, last - 1, last, last + 1)

    run(law)


def test_a_slot_whose_answers_are_not_committed_is_not_used_before_a_forced_commit(run):
    async def law(world):
        asked = []

        async def force_commit():
            asked.append(len(asked))
            if len(asked) == 2:
                journal.committed({0: 2, 1: 99})

        journal = world.process(force_commit)
        await journal.load(starts(0, 0))
        for i in range(0, 2 * N_SLOTS, 2):
            await journal.write(answered((0, i, i + 2)))
        assert journal.fullness == 1.0
        assert not asked
        assert await journal.write(answered((0, 8, 10)))
        assert len(asked) == 2
        assert journal.n_forced == 2
        after = world.process()
        await after.load(starts(2, 0))
        assert found(after, 0, *range(2, 10)) == [b"/0/%d" % i for i in range(2, 10)]

    run(law)


def test_a_write_that_waits_ends_unwritten_when_positions_are_reset(run):
    async def law(world):
        is_waiting = asyncio.Event()

        async def force_commit():
            is_waiting.set()

        journal = world.process(force_commit)
        await journal.load(starts(0, 0))
        for i in range(N_SLOTS):
            await journal.write(answered((0, i, i + 1)))
        waiting = asyncio.create_task(journal.write(answered((0, N_SLOTS, N_SLOTS + 1))))
        await is_waiting.wait()
        await journal.load(starts(0, 0))
        assert not await waiting
        assert found(journal, 0, 0, N_SLOTS) == [b"/0/0", None]

    run(law)


def test_partitions_that_are_not_ours_are_not_written(run):
    async def law(world):
        journal = world.process()
        await journal.load(starts(0, 0, 1))
        await journal.load(starts(0, 1))
        assert not await journal.write(answered((0, 0, 1), (1, 0, 1)))
        assert world.site.all_keys() == []

    run(law)


def test_an_answer_given_again_is_not_recorded_again(run):
    async def law(world):
        first = world.process()
        await first.load(starts(0, 0))
        await first.write(answered((0, 0, 4), text=b"first"))
        second = world.process()
        await second.load(starts(0, 0))
        assert await second.write(answered((0, 0, 4), text=b"first"))
        assert len(world.site.all_keys()) == 1
        assert await second.write(answered((0, 2, 6), text=b"second"))
        third = world.process()
        await third.load(starts(0, 0))
        assert found(third, 0, 3, 4) == [b"first/0/3", b"second/0/4"]

    run(law)


def test_a_topic_created_anew_does_not_get_the_answers_of_the_old_one(run):
    async def law(world):
        old = world.process()
        await old.load(starts(0, 0))
        for i in range(N_SLOTS):
            await old.write(answered((0, i, i + 1), text=b"old"))
        new = world.process()
        await new.load(starts(0, 0, source=OTHER_SOURCE))
        assert found(new, 0, *range(N_SLOTS)) == [None] * N_SLOTS
        for i in range(N_SLOTS - 1):
            assert await new.write(answered((0, i, i + 1), text=b"new"))
        after = world.process()
        await after.load(starts(0, 0, source=OTHER_SOURCE))
        assert found(after, 0, *range(N_SLOTS)) == [b"new/0/0", b"new/0/1", b"new/0/2", None]

    run(law)


def test_a_seek_finds_what_this_process_recorded_though_redis_lost_it(run):
    async def law(world):
        journal = world.process()
        await journal.load(starts(0, 0))
        await journal.write(answered((0, 0, 4)))
        journal.committed({0: 1})
        await world.client.flushall()
        await journal.load(starts(0, 0))
        assert found(journal, 0, 0, 1, 3) == [None, b"/0/1", b"/0/3"]
        assert await journal.write(answered((0, 1, 5)))
        after = world.process()
        await after.load(starts(0, 0))
        assert found(after, 0, 0, 1, 2, 3, 4) == [None, b"/0/1", b"/0/2", b"/0/3", b"/0/4"]

    run(law)


def test_two_owners_at_once_take_nothing_from_each_other(run):
    async def law(world):
        zombie, owner = world.process(), world.process()
        await zombie.load(starts(0, 0))
        await owner.load(starts(0, 0))
        assert await zombie.write(answered((0, 0, 4), text=b"zombie"))
        assert await owner.write(answered((0, 0, 2), text=b"owner"))
        assert await owner.write(answered((0, 2, 6), text=b"owner"))
        assert await zombie.write(answered((0, 4, 8), text=b"zombie"))
        assert owner.n_conflicts == 1
        assert zombie.n_conflicts == 1
        after = world.process()
        await after.load(starts(0, 0))
        whose = [score.split(b"/")[0] for score in found(after, 0, *range(8))]
        assert whose == [b"zombie"] * 4 + [b"owner"] * 2 + [b"zombie"] * 2

    run(law)


def test_an_owner_behind_another_one_that_filled_the_ring_does_not_wait_for_ever(run):
    async def law(world):
        ahead, owner = world.process(), world.process()
        await ahead.load(starts(100, 0))
        for i in range(N_SLOTS):
            await ahead.write(answered((0, 100 + i, 101 + i)))
        await owner.load(starts(0, 0))
        assert await owner.write(answered((0, 0, 4)))
        assert found(owner, 0, 0, 3, 100) == [b"/0/0", b"/0/3", b"/0/100"]

    run(law)


def test_broken_slots_are_passed_over_counted_and_used_again(run):
    async def law(world):
        first = world.process()
        await first.load(starts(0, 0))
        for i in range(3):
            await first.write(answered((0, i, i + 1)))
        names = [KEYS.journal("group", 0, slot) for slot in range(N_SLOTS)]
        await world.client.setrange(names[0], 9, b"\xff\xff")  # in the head
        await world.client.setrange(names[1], 60, b"\xff\xff")  # in the body
        await world.client.lpush(names[3], "not a string")
        second = world.process()
        await second.load(starts(0, 0))
        assert found(second, 0, 0, 1, 2) == [None, None, b"/0/2"]
        assert second.n_broken == 2
        for i in range(3, 3 + N_SLOTS):
            assert await second.write(answered((0, i, i + 1)))
            second.committed({0: i + 1})
        third = world.process()
        await third.load(starts(3, 0))
        assert third.n_broken == 0
        assert None not in found(third, 0, *range(3, 3 + N_SLOTS))

    run(law)


def test_writing_the_same_again_after_a_lost_answer_is_safe(run):
    async def law(world):
        journal = world.process()
        await journal.load(starts(0, 0))
        slots = journal._storage
        content = {}
        write = slots.write

        async def lose_answer(writes):
            content["before"] = writes
            await write(writes)
            raise Unavailable("no answer")

        slots.write = lose_answer
        with pytest.raises(Unavailable):
            await journal.write(answered((0, 0, 3)))
        slots.write = write
        assert await journal.write(answered((0, 0, 3)))
        assert journal.n_conflicts == 0
        assert len(world.site.all_keys()) == 1

    run(law)


def test_what_a_full_redis_did_not_take_is_found_by_its_process_and_recorded_when_it_comes_again(run):
    async def law(world):
        journal = world.process()
        await journal.load(starts(0, 0))
        try:
            for each in world.site.masters:
                each.fill()
            with pytest.raises(Unavailable, match="OOM"):
                await journal.write(answered((0, 0, 3), text=b"first"))
        finally:
            for each in world.site.masters:
                each.empty()
        await journal.load(starts(1, 0))
        assert found(journal, 0, 0, 1, 2) == [None, b"first/0/1", b"first/0/2"]
        assert await journal.write(Answered([0, 0, 0], [1, 2, 3], [b"first/0/1", b"first/0/2", b"/0/3"], [b""] * 3))
        after = world.process()
        await after.load(starts(1, 0))
        assert found(after, 0, 1, 2, 3) == [b"first/0/1", b"first/0/2", b"/0/3"]

    run(law)


def test_a_journal_larger_than_one_reading_is_read_whole(run):
    async def law(world):
        first = world.process(n_slots=8)
        await first.load(starts())
        texts = [bytes([i]) * 300_000 for i in range(8)]
        for i, text in enumerate(texts):
            await first.write(Answered([0, 1], [i, i], [text, text], [b"", b""]))
        second = world.process(n_slots=8)
        await second.load(starts())
        assert found(second, 0, *range(8)) == texts
        assert found(second, 1, *range(8)) == texts

    run(law)

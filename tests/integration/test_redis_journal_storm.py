"""The answer journal on a real Redis while processes crash, seek, overtake and repeat one another."""

import random

import pytest

from stream.journal import Answered
from stream.journal_ring import Answer, Start
from tests.integration.journal_world import SOURCE, World, play


class Stuck(Exception):
    """A zombie's ring is full: the broker refuses its commits."""


class Consumer:
    """A process that answers offset after offset, publishes what is recorded, and is sometimes told to start again."""

    def __init__(self, world: World, history: "History") -> None:
        self.history = history
        self.is_owner = True
        self.position = dict(history.committed)
        self.journal = world.process(self.commit)
        self.name = b"p%d" % len(world.wires)

    async def load(self) -> None:
        self.position = dict(self.history.committed)
        await self.journal.load({p: Start(SOURCE + p, offset) for p, offset in self.position.items()})

    async def commit(self) -> None:
        if not self.is_owner:
            raise Stuck
        self.history.committed = dict(self.position)
        self.journal.committed(self.history.committed)

    async def answer(self, counts: dict[int, int]) -> None:
        rows = [(p, o) for p, n in counts.items() for o in range(self.position[p], self.position[p] + n)]
        texts = [self.journal.find(*row) or Answer(b"%b:%d/%d" % (self.name, *row), b"") for row in rows]
        assert await self.journal.write(Answered([p for p, _ in rows], [o for _, o in rows], [t.score for t in texts], [b""] * len(rows)))
        for row, text in zip(rows, texts, strict=True):
            self.history.first.setdefault(row, text.score)
        for p, n in counts.items():
            self.position[p] += n


class History:
    """What the broker and an all-knowing reader know."""

    def __init__(self) -> None:
        self.committed = {0: 0, 1: 0}
        self.first: dict[tuple[int, int], bytes] = {}

    def check(self, consumer: Consumer) -> None:
        for (partition, offset), score in self.first.items():
            if offset >= self.committed[partition]:
                assert consumer.journal.find(partition, offset) == (score, b"")


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_the_first_recorded_answer_of_every_uncommitted_offset_is_found(site, seed):
    """Crashes, seeks, forced commits and zombies that go on answering, in a random order."""
    rng = random.Random(seed)

    async def law(world):
        history = History()
        owner, zombie = Consumer(world, history), None
        await owner.load()
        for _ in range(80):
            what = rng.choices(["answer", "commit", "seek", "crash", "rebalance", "zombie"], [10, 2, 1, 1, 1, 6])[0]
            if what == "answer":
                await owner.answer({p: rng.randint(1, 4) for p in rng.choice([(0,), (1,), (0, 1)])})
            elif what == "commit":
                await owner.commit()
            elif what == "zombie" and zombie is not None:
                try:
                    await zombie.answer({p: rng.randint(1, 4) for p in rng.choice([(0,), (1,), (0, 1)])})
                except Stuck:
                    zombie = None
            elif what in ("seek", "crash", "rebalance"):
                if what != "seek":
                    owner.is_owner = False
                    zombie = owner if what == "rebalance" else zombie
                    owner = Consumer(world, history)
                await owner.load()
                history.check(owner)
        await owner.load()
        history.check(owner)
        assert len(history.first) > 50

    play(site, law)

"""One partition's ring of an answer journal: which slot is next, what it holds, which answers may be asked for again. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from features.journal_slot import HEAD_BYTES, Head, Slot, decode_head

#: Largest part of a journal read at once, so that reading does not hold up others.
_READ_BYTES: Final = 1 << 20


class Answer(NamedTuple):
    """The recorded answer of one transaction."""

    score: bytes
    alert: bytes
    """b"" = no alert."""


class Start(NamedTuple):
    """Where the consumption of a partition starts."""

    source: int
    """Registered id of topic and partition."""
    offset: int
    """Answers from here on may be asked for again."""


class Share(NamedTuple):
    """The answers of one partition."""

    offsets: list[int]
    scores: list[bytes]
    alerts: list[bytes]

    def rows(self, rows: Sequence[int]) -> "Share":
        """Return some of them."""
        return Share([self.offsets[i] for i in rows], [self.scores[i] for i in rows], [self.alerts[i] for i in rows])


class Ring:
    """The slots of one partition as last seen, and the answers that may be asked for again."""

    __slots__ = ("answers", "committed", "heads", "next_sequence", "slots", "source", "unsaved")

    def __init__(self, start: Start, heads: list[bytes]) -> None:
        self.source, self.committed = start
        self.heads = heads
        """As they are in the storage, also broken ones."""
        self.slots: list[Head | None] = [decode_head(head) for head in heads]
        self.next_sequence = max((head.sequence + 1 for head in self.slots if head is not None), default=0)
        self.answers: dict[int, tuple[bytes, bytes]] = {}
        self.unsaved: set[int] = set()
        """Offsets of answers that the storage has lost, or may not have."""

    def fill(self, slots: Sequence[Slot], known: "Ring | None") -> None:
        """Take the answers of slots and those that this process recorded before, of each offset the first recorded.

        Those of this process come before what the slots hold: when it recorded them it knew all slots.
        """
        answers: dict[int, tuple[bytes, bytes]] = {}
        for _, *columns in sorted(slots, key=lambda slot: slot.head.sequence):
            for offset, score, alert in zip(*columns, strict=True):
                if offset >= self.committed:
                    answers.setdefault(offset, (score, alert))
        if known is not None and known.source == self.source:
            mine = {offset: answer for offset, answer in known.answers.items() if offset >= self.committed}
            self.unsaved = mine.keys() - answers.keys()
            answers |= mine
        self.answers = dict(sorted(answers.items()))

    def holds(self, head: Head | None) -> bool:
        """Tell whether a slot holds answers that may be asked for again."""
        return head is not None and head.source == self.source and head.last >= self.committed

    def must_wait(self, first: int) -> bool:
        """Tell whether the next slot is not free yet, but will be before the transaction at offset `first` is committed.

        If it will not be (another owner, further ahead, wrote it), waiting would never end: the slot is given up, and its
        answers are in this process's memory.
        """
        head = self.slots[self.next_sequence % len(self.slots)]
        return head is not None and self.holds(head) and head.last < first

    def put(self, content: bytes) -> None:
        """Note that the next slot has been written."""
        slot, self.heads[slot] = self.next_sequence % len(self.slots), content[:HEAD_BYTES]
        self.slots[slot] = decode_head(content)
        self.next_sequence += 1

    def unrecorded(self, share: Share) -> Share:
        """Return the part of `share` that the storage does not hold."""
        if self.answers.keys().isdisjoint(share.offsets):
            return share
        rows = [i for i, offset in enumerate(share.offsets) if offset not in self.answers or offset in self.unsaved]
        return share.rows(rows)

    def remember(self, share: Share) -> None:
        """Keep what has been written."""
        self.answers.update(zip(share.offsets, zip(share.scores, share.alerts, strict=True), strict=True))
        self.unsaved.difference_update(share.offsets)

    def keep(self, share: Share) -> None:
        """Keep what could not be written."""
        lost = [i for i, offset in enumerate(share.offsets) if offset not in self.answers]
        self.remember(share.rows(lost))
        self.unsaved.update(share.offsets[i] for i in lost)

    def commit(self, offset: int) -> None:
        """Forget the answers below `offset`."""
        self.committed = max(self.committed, offset)
        gone = []
        for recorded in self.answers:  # in the order of recording, which is that of offsets but for rare repairs
            if recorded >= self.committed:
                break
            gone.append(recorded)
        for recorded in gone:
            del self.answers[recorded]
        self.unsaved.difference_update(gone)


def read_groups(rings: Mapping[int, Ring]) -> Iterator[list[tuple[int, int]]]:
    """Yield (partition, slot) of the slots whose answers may be asked for again, in groups to be read at once."""
    group: list[tuple[int, int]] = []
    n_bytes = 0
    for partition, ring in rings.items():
        for slot, head in enumerate(ring.slots):
            if head is None or not ring.holds(head):
                continue
            if group and n_bytes + head.body_bytes > _READ_BYTES:
                yield group
                group, n_bytes = [], 0
            group.append((partition, slot))
            n_bytes += head.body_bytes
    if group:
        yield group

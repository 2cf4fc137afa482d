"""Produce a history (or lines) to Kafka at a chosen pace, labels at their place in time."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from service.commit_watch import CommitWatch, stopped_within
from service.history_records import HistoryRecords
from service.sending import Ends, Sender
from service.timeline import HOUR_MS, due, slices
from stream.connection import KafkaConnection
from stream.topics import LABELS, TRANSACTIONS

DEFAULT_SLICE_MS: Final = 12 * HOUR_MS
#: Most records rendered and queued at once.
_PIECE: Final = 2000
#: Time between two looks at the clock when the pace is set.
_TICK_S: Final = 0.01
#: Time between two questions for commits while labels wait and the pace is set.
_LABEL_POLL_S: Final = 0.1


class Pace(NamedTuple):
    """How fast records go out: as fast as the workers take them unless one of the two is set."""

    rate: float | None = None
    """Transactions per second."""
    speedup: float | None = None
    """Event time per real time."""
    slice_ms: int = DEFAULT_SLICE_MS
    """Event time between two exchanges of labels (see `service.timeline`); not used with `speedup`."""


class Sent(NamedTuple):
    """What has gone out so far; transactions go out in (event_time_ms, transaction_id) order, so the number says which."""

    n_transactions: int = 0
    n_labels: int = 0
    event_time_ms: int | None = None
    """Of the newest transaction sent."""


class HistoryProducer:
    """Sends a history's transactions to `transactions.v1` and its fraud labels to `labels.v1`, in time.

    At full speed and with a rate, event time is cut into slices: the labels of a slice go out when the workers have
    committed the transactions before them, and later transactions wait until the labels are committed too. With
    `speedup` nothing waits but the labels, each until the transactions sent before it are committed.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        group: str,
        on_progress: Callable[[Sent], None] = lambda _: None,
        on_stall: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare.

        Args:
            connection: Where to send.
            group: Consumer group of the workers, without prefix.
            on_progress: Called after each piece was queued, from the event loop.
            on_stall: Gets a sentence when the workers commit nothing for long.
        """
        self._connection = connection
        self._watch = CommitWatch(connection, connection.group(group), on_stall)
        self._on_progress = on_progress

    async def run(self, records: HistoryRecords, pace: Pace, stop: asyncio.Event) -> Sent:
        """Send `records`; return what went out, all of it confirmed by the broker.

        Setting `stop` ends it early and cleanly.

        Raises:
            Unavailable: Kafka does not answer or did not confirm a record.
            ConfigError: A topic does not exist.
        """
        topics = self._connection.topic(TRANSACTIONS), self._connection.topic(LABELS)
        async with Sender(self._connection) as sender, self._watch as watch:
            await sender.require(*topics)
            run = _Run(records, topics, sender=sender, watch=watch, stop=stop, on_progress=self._on_progress)
            await (run.live(pace.speedup) if pace.speedup else run.in_slices(pace))
            await sender.flush()
            return run.sent


class _Run:
    """One replay in progress."""

    def __init__(
        self,
        records: HistoryRecords,
        topics: tuple[str, str],
        *,
        sender: Sender,
        watch: CommitWatch,
        stop: asyncio.Event,
        on_progress: Callable[[Sent], None],
    ) -> None:
        self._records, self._sender, self._watch, self._stop, self._on_progress = records, sender, watch, stop, on_progress
        self._transactions, self._labels = topics
        self.sent = Sent()

    async def in_slices(self, pace: Pace) -> None:
        beat = Beat(pace.rate)
        for part in slices(self._records.event_times_ms, self._records.label_times_ms, pace.slice_ms):
            while self.sent.n_transactions < part.end:
                n_allowed = beat.allow(min(_PIECE, part.end - self.sent.n_transactions))
                await self._send_transactions(self.sent.n_transactions + n_allowed)
                if await stopped_within(self._stop, beat.pause_s()):
                    return
            if part.end_label > part.first_label and not await self._exchange(part.end_label):
                return

    async def live(self, speedup: float) -> None:
        events, labels = self._records.event_times_ms, self._records.label_times_ms
        starts = [int(times[0]) for times in (events, labels) if len(times)]
        began, waiting = time.monotonic(), _WaitingLabels()
        while self.sent.n_transactions < len(events) or self.sent.n_labels < len(labels):
            now_ms = min(starts) + (time.monotonic() - began) * 1000 * speedup
            n_events, n_labels = due(events, labels, now_ms)
            while self.sent.n_transactions < n_events:
                await self._send_transactions(min(n_events, self.sent.n_transactions + _PIECE))
            if n_labels > max(self.sent.n_labels, waiting.end):
                await self._sender.flush()
                waiting.add(n_labels, self._sender.ends)
            await self._send_labels(await waiting.ready(self._watch, self.sent.n_labels))
            if await stopped_within(self._stop, _TICK_S):
                return

    async def _exchange(self, end_label: int) -> bool:
        """Send labels up to `end_label` between two waits for the workers; False if stopped."""
        await self._sender.flush()
        if not await self._watch.wait(self._sender.ends, self._stop):
            return False
        await self._send_labels(end_label)
        await self._sender.flush()
        return await self._watch.wait(self._sender.ends, self._stop)

    async def _send_transactions(self, end: int) -> None:
        first = self.sent.n_transactions
        if end <= first:
            return
        await self._sender.send(self._transactions, *self._records.transactions(first, end))
        self.sent = self.sent._replace(n_transactions=end, event_time_ms=int(self._records.event_times_ms[end - 1]))
        self._on_progress(self.sent)

    async def _send_labels(self, end: int) -> None:
        if end <= self.sent.n_labels:
            return
        await self._sender.send(self._labels, *self._records.labels(self.sent.n_labels, end))
        self.sent = self.sent._replace(n_labels=end)
        self._on_progress(self.sent)


class _WaitingLabels:
    """Labels that are due, each group with the offsets that must be committed before it may go."""

    def __init__(self) -> None:
        self._groups: deque[tuple[int, Ends]] = deque()
        self._asked_at = 0.0
        self.end = 0

    def add(self, end: int, ends: Ends) -> None:
        self.end = end
        self._groups.append((end, dict(ends)))

    async def ready(self, watch: CommitWatch, n_sent: int) -> int:
        """Return up to which label may go now; at least `n_sent`."""
        if self._groups and time.monotonic() - self._asked_at >= _LABEL_POLL_S:
            self._asked_at = time.monotonic()
            while self._groups and await watch.behind(self._groups[0][1]) == 0:
                n_sent = self._groups.popleft()[0]
        return n_sent


class Beat:
    """Lets a steady number of records per second through; without a rate, everything."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._began = time.monotonic()
        self._passed = 0

    def allow(self, n_ready: int) -> int:
        """Return how many of `n_ready` records may go now, and count them as gone."""
        if self._rate is None:
            return n_ready
        n_due = int((time.monotonic() - self._began) * self._rate) - self._passed
        n = max(0, min(n_ready, n_due))
        self._passed += n
        return n

    def pause_s(self) -> float:
        """Return how long to wait before the next look."""
        return 0.0 if self._rate is None else _TICK_S

"""A Redis that lost everything is rebuilt while the stream waits; then serving goes on as if nothing had happened."""

from itertools import pairwise

import msgspec
import numpy as np
import polars as pl
import pytest
import redis

from features.currency import Rates
from features.feature_row import decode_row
from features.layout import TRANSACTION
from features.offline import replay
from service.history_records import HistoryRecords
from stream.connection import KafkaConnection
from stream.topic_admin import create
from stream.topics import TOPICS
from tests.e2e.installation import Installation, until

N = 3_600
#: Rows at which a phase begins: streaming, after the first labels, after the loss of Redis, after the other labels.
STREAMED, TOLD, EMPTIED, TOLD_AGAIN = 900, 1_500, 2_200, 2_900


@pytest.fixture
def one_partition(trained, broker, redis_url, kafka_prefix, tmp_path):
    """An installation whose log order is the order of the history: each topic has one partition."""
    topics = [msgspec.structs.replace(topic, partitions=1) for topic in TOPICS]
    create(KafkaConnection(bootstrap=broker.bootstrap, prefix=kafka_prefix), topics)
    found = Installation(tmp_path, bootstrap=broker.bootstrap, redis_url=redis_url, prefix=kafka_prefix, registry=trained.registry)
    yield found
    found.close()


def labelled(history: pl.DataFrame, *, are_told_while_streaming: bool) -> pl.DataFrame:
    """Return N rows with new labels: some known before the stream begins, others just before the rows TOLD and TOLD_AGAIN."""
    times = history["event_time_ms"].to_numpy()
    row = np.arange(N)
    label_ms = np.where((row < STREAMED - 100) & (row % 10 == 0), times[STREAMED] - 1, -1)
    if are_told_while_streaming:
        label_ms = np.where((row >= STREAMED) & (row < TOLD - 100) & (row % 7 == 0), times[TOLD] - 1, label_ms)
        label_ms = np.where((row >= STREAMED) & (row < TOLD_AGAIN - 100) & (row % 7 == 3), times[TOLD_AGAIN] - 1, label_ms)
    for phase in (STREAMED, TOLD, EMPTIED, TOLD_AGAIN):
        assert times[phase - 1] < times[phase]
    is_fraud = pl.Series(label_ms >= 0)
    found = history.head(N).with_columns(is_fraud=is_fraud, label_time_ms=pl.Series(label_ms))
    return found.with_columns(label_time_ms=pl.when(pl.col("is_fraud")).then("label_time_ms"))


class Stream:
    """Sends a history in its phases, each when the one before is committed."""

    def __init__(self, installation: Installation, history: pl.DataFrame) -> None:
        self._installation = installation
        self._history = history
        self._sent = {"transactions.v1": 0, "labels.v1": 0}

    def send(self, first: int, end: int) -> None:
        self._installation.send_history(self._history, first, end)
        self._sent["transactions.v1"] += end - first

    def tell(self, before: int) -> None:
        """Send the labels that became known just before a row."""
        at_ms = int(self._history["event_time_ms"][before]) - 1
        records = HistoryRecords(self._history, from_ms=at_ms, to_ms=at_ms + 1)
        n = len(records.label_times_ms)
        assert n > 20
        keys, values = records.labels(0, n)
        self._installation.send("labels.v1", list(keys), list(values))
        self._sent["labels.v1"] += n

    def wait(self) -> None:
        """Wait until all is committed."""
        for name, n in self._sent.items():
            until(lambda name=name, n=n: self._installation.committed(name) == n, f"{name} not committed: " + self._installation.logs())

    def play(self, first: int, end: int) -> None:
        """Send rows and labels in their order, from one phase to another."""
        phases = (STREAMED, TOLD, TOLD_AGAIN)
        edges = [first, *(phase for phase in phases if first < phase < end), end]
        for a, b in pairwise(edges):
            if a in phases and a > first:
                self.tell(a)
                self.wait()
            self.send(a, b)
            self.wait()


def served(installation: Installation) -> dict[str, bytes]:
    """Return the vectors that were served, by transaction; an answer given twice was the same twice."""
    found: dict[str, bytes] = {}
    for record in installation.records("features.v1"):
        row = decode_row(record.value)
        if row.kind == TRANSACTION:
            assert row.flags == 0
            assert found.setdefault(row.transaction_id, row.vector) == row.vector
    return found


def assert_as_if_nothing_had_happened(installation: Installation, history: pl.DataFrame, *, first: int = STREAMED) -> None:
    vectors = replay(history, installation.settings.features.definition(), Rates("EUR"))
    found = served(installation)

    names = history["transaction_id"].to_list()
    assert sorted(found) == sorted(names[first:])
    for row in range(first, N):
        assert found[names[row]] == vectors[row].astype("<f4").tobytes(), f"row {row}"


def empty(installation: Installation) -> None:
    with redis.Redis.from_url(installation.settings.redis.url) as client:
        client.flushall()


def test_a_rebuild_to_the_committed_place_goes_on_as_if_nothing_had_happened(one_partition, trained, tmp_path):
    history, path = labelled(trained.history, are_told_while_streaming=True), tmp_path / "history.parquet"
    history.write_parquet(path)
    start, emptied = (format_ms(history, row) for row in (STREAMED, EMPTIED))
    stream = Stream(one_partition, history)
    one_partition.weir("rebuild", str(path), "--to", start)
    worker = one_partition.start_worker()
    stream.play(STREAMED, EMPTIED)
    assert one_partition.stop(worker) == 0

    empty(one_partition)
    rebuilt = one_partition.json("rebuild", str(path), "--to", emptied, "--go-on", "committed")
    one_partition.start_worker()
    stream.play(EMPTIED, N)

    assert rebuilt["positions"] == 2
    assert_as_if_nothing_had_happened(one_partition, history)


def test_a_rebuild_to_the_streams_beginning_has_the_stream_applied_again_and_answers_nothing_twice(one_partition, trained, tmp_path):
    """The worker that finds Redis empty waits; rebuilt, it applies what was answered before, and goes on by itself."""
    history, path = labelled(trained.history, are_told_while_streaming=False), tmp_path / "history.parquet"
    history.write_parquet(path)
    start = format_ms(history, STREAMED)
    one_partition.weir("rebuild", str(path), "--to", start)
    worker = one_partition.start_worker()
    stream = Stream(one_partition, history)
    stream.send(STREAMED, EMPTIED)
    stream.wait()
    assert one_partition.stop(worker) == 0

    empty(one_partition)
    one_partition.start_worker(wait=False)
    stream.send(EMPTIED, N)
    until(lambda: "weir rebuild" in one_partition.logs(), "the worker does not say that Redis was emptied: " + one_partition.logs())
    assert one_partition.n_records("features.v1") == EMPTIED - STREAMED
    one_partition.weir("rebuild", str(path), "--to", start)
    stream.wait()

    assert_as_if_nothing_had_happened(one_partition, history)
    assert one_partition.n_records("scores.v1") == N - STREAMED


def test_a_rebuild_from_the_archive_holds_what_was_committed_and_nothing_else(one_partition, trained, tmp_path):
    """The archive is ahead of the worker: what the worker has not committed yet is left for the stream."""
    history, archive = labelled(trained.history, are_told_while_streaming=True), str(tmp_path / "archive")
    stream = Stream(one_partition, history)
    worker = one_partition.start_worker()
    stream.play(0, EMPTIED)
    assert one_partition.stop(worker) == 0
    stream.send(EMPTIED, TOLD_AGAIN)
    one_partition.weir("archive", "--directory", archive, "--until-end")

    empty(one_partition)
    rebuilt = one_partition.json("rebuild", archive)
    one_partition.start_worker()
    stream.wait()
    stream.tell(TOLD_AGAIN)
    stream.wait()
    stream.play(TOLD_AGAIN, N)

    assert (rebuilt["positions"], rebuilt["index_entries"]) == (2, EMPTIED)
    assert_as_if_nothing_had_happened(one_partition, history, first=0)


def format_ms(history: pl.DataFrame, row: int) -> str:
    return str(history["event_time_ms"][row])

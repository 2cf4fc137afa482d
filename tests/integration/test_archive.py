import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from urllib.request import urlopen

import msgspec
import polars as pl
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError

from domain.decision import Alert, Reason, Score, Tier
from domain.errors import ConfigError
from features.archive_files import current, files_of, next_offsets
from features.archive_history import archive_history
from features.archive_reader import read_archive
from features.feature_row import FeatureRow, encode_row
from features.history import SCHEMA, normalised, read_history
from service.archive_buffer import Limits
from service.archive_folder import held
from service.archive_source import ArchiveSource
from service.archiver import Archiver
from service.demo import free_port
from service.history_records import HistoryRecords
from service.sending import Sender
from service.times import now_ms
from stream.topic_admin import admin_client, create
from stream.topics import ALERTS, FEATURE_ROWS, LABELS, SCORES, TRANSACTIONS

DAY_MS = 86_400_000


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "archive"


@pytest.fixture
def start(environment, archive):
    """Starts `weir archive` as a process; whatever still runs afterwards is ended."""
    started = []

    def start(*arguments):
        line = [sys.executable, "-m", "service.cli", "archive", "--json", "--directory", str(archive), *arguments]
        started.append(subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _summary(process, code=0):
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    return json.loads(out)


def _archive(connection, directory, **options):
    return asyncio.run(Archiver(connection, directory, until_end=True, **options).run(asyncio.Event())).summary()


def _send(connection, topic, values, keys=None):
    async def send():
        async with Sender(connection) as sender:
            await sender.send(connection.topic(topic), keys or [b"%d" % i for i in range(len(values))], values)
            await sender.flush()

    asyncio.run(send())


def _transactions(n, first=0):
    return [
        b'{"transaction_id":"t%d","card_id":"c%d","amount_minor":%d,"currency":"EUR","merchant_id":"m","event_time_ms":%d}'
        % (i, i % 97, i, 1_700_000_000_000 + i)
        for i in range(first, first + n)
    ]


def _until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return found


def _is_whole(directory, topic, n):
    """Whether offsets 0.. of each partition are there once, in order, n in all."""
    found = read_archive(directory, topic, ["partition", "offset"])
    expected = found.group_by("partition", maintain_order=True).agg(pl.int_range(pl.len()).alias("offset")).explode("offset")
    return found.height == n and found["offset"].to_list() == expected["offset"].to_list()


def _delete_before(connection, topic, offset):
    with admin_client(connection) as client:
        names = {KafkaPartition(connection.topic(topic), number): offset for number in range(topic.partitions)}
        client.delete_records(names)


def _make_anew(connection, topic):
    with admin_client(connection) as client:
        client.delete_topics([connection.topic(topic)])

    def is_made():
        try:
            return any("made" in line for line in create(connection, [topic]))
        except (ConfigError, KafkaError):  # the broker is still deleting
            return False

    _until(is_made)


def test_an_archiver_killed_again_and_again_archives_every_record_once(connection, archive, start):
    _send(connection, TRANSACTIONS, _transactions(30_000))
    for n_files in (1, 5, 9, 14):
        process = start("--file-rows", "500")
        _until(lambda n=n_files: len(list(archive.glob("*/*/*/*.parquet"))) >= n)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    day = next(archive.glob("transactions.v1/*/*"))
    (day / ".transactions.v1-00000000-0-0-9.parquet.unfinished").write_bytes(b"PAR1")
    _summary(start("--file-rows", "500", "--until-end"))

    assert _is_whole(archive, "transactions.v1", 30_000)
    assert read_archive(archive, "transactions.v1")["transaction_id"].n_unique() == 30_000
    assert not list(archive.glob("**/.*.unfinished"))


def test_sigterm_ends_the_archiver_with_its_summary(connection, archive, start):
    _send(connection, TRANSACTIONS, _transactions(100))
    process = start("--file-rows", "10")
    _until(lambda: list(archive.glob("*/*/*/*.parquet")))
    process.send_signal(signal.SIGTERM)

    summary = _summary(process)
    assert summary["topics"]["transactions.v1"]["files"] > 0


def test_a_running_archiver_shows_what_it_wrote_and_says_where(connection, archive, start, environment):
    environment["WEIR_ARCHIVE_PORT"] = str(free_port())
    _send(connection, TRANSACTIONS, _transactions(20))
    began_ms = now_ms()
    start("--file-seconds", "1")

    def asked(path):
        with suppress(OSError), urlopen(f"http://127.0.0.1:{environment['WEIR_ARCHIVE_PORT']}/{path}", timeout=5) as answer:
            return answer.read().decode()
        return ""

    text = _until(lambda: found if 'records_total{topic="transactions.v1"} 20.0' in (found := asked("metrics")) else "")
    shown = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert shown["weir_archive_lag_records"] == "0.0"
    assert float(shown['weir_archive_files_total{topic="transactions.v1"}']) >= 1
    assert shown['weir_archive_lost_total{topic="transactions.v1"}'] == "0.0"
    for what in ("written", "confirmed"):
        assert float(shown[f"weir_archive_{what}_timestamp_seconds"]) >= began_ms / 1000
    assert json.loads(asked("readyz"))["ready"]


def test_an_archiver_whose_port_is_taken_names_the_setting(environment, start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment["WEIR_ARCHIVE_PORT"] = str(taken.getsockname()[1])
        _, err = (process := start()).communicate(timeout=60)

    assert process.returncode == 2
    assert b"archive.port" in err
    assert b"Traceback" not in err


def test_what_was_read_when_it_is_told_to_stop_is_written(connection, archive):
    _send(connection, TRANSACTIONS, _transactions(100))

    async def run():
        stop = asyncio.Event()
        archiver = Archiver(connection, archive, on_progress=lambda counts: stop.set() if counts.n_read == 100 else None)
        return await archiver.run(stop)

    assert asyncio.run(run()).n_records == 100
    assert _is_whole(archive, "transactions.v1", 100)


def test_nothing_new_writes_no_file(connection, archive):
    _send(connection, TRANSACTIONS, _transactions(100))
    first, second = _archive(connection, archive), _archive(connection, archive)

    assert first["topics"]["transactions.v1"]["records"] == 100
    assert second["topics"]["transactions.v1"] == {"records": 0, "undecodable": 0, "lost": 0, "files": 0}


def test_a_second_archiver_is_refused(connection, archive, start):
    with held(archive, connection.prefix):
        process = start("--until-end")
        _, err = process.communicate(timeout=60)

    assert process.returncode == 2
    assert f"another weir archive (process {os.getpid()}) writes to".encode() in err


def test_a_topic_made_anew_starts_at_its_beginning_beside_the_old_files(connection, archive):
    _send(connection, TRANSACTIONS, _transactions(300))
    _archive(connection, archive)
    _make_anew(connection, TRANSACTIONS)
    _send(connection, TRANSACTIONS, _transactions(200, first=1000))
    _archive(connection, archive)

    found = read_archive(archive, "transactions.v1")
    assert found["transaction_id"].n_unique() == found.height == 500
    assert found["topic_uuid"].n_unique() == 2


def test_a_topic_made_anew_under_a_running_archiver_is_archived_too(connection, archive):
    _send(connection, TRANSACTIONS, _transactions(300))

    async def run():
        stop = asyncio.Event()
        archiver = Archiver(connection, archive, limits=Limits(n_rows=1))
        running = asyncio.create_task(archiver.run(stop))
        await asyncio.to_thread(_until, lambda: archiver.counts.n_records == 300)
        await asyncio.to_thread(_make_anew, connection, TRANSACTIONS)
        await asyncio.to_thread(_send, connection, TRANSACTIONS, _transactions(500, first=1000))
        await asyncio.to_thread(_until, lambda: archiver.counts.n_records == 800)
        stop.set()
        await running

    asyncio.run(asyncio.wait_for(run(), 90))
    found = read_archive(archive, "transactions.v1")
    assert found["transaction_id"].n_unique() == found.height == 800
    assert found["topic_uuid"].n_unique() == 2


def test_records_that_retention_removed_first_are_told_once_and_marked(connection, archive):
    _send(connection, TRANSACTIONS, _transactions(4000))
    _archive(connection, archive)
    _send(connection, TRANSACTIONS, _transactions(4000, first=4000))
    before = next_offsets(archive, "transactions.v1")
    _delete_before(connection, TRANSACTIONS, 1500)
    summary = _archive(connection, archive)

    lost = sum(1500 - offset for offset in before.values())
    assert summary["topics"]["transactions.v1"]["lost"] == lost
    assert read_archive(archive, "transactions.v1").height == 8000 - lost
    assert sum(file.last - file.first + 1 for file in files_of(archive, "transactions.v1") if file.kind == "lost") == lost
    assert _archive(connection, archive)["topics"]["transactions.v1"]["lost"] == 0


def test_retention_that_overtakes_a_running_archiver_is_told(connection, archive):
    _send(connection, TRANSACTIONS, _transactions(4000))

    async def read():
        async with ArchiveSource(connection, archive, ["transactions.v1"]) as source:
            await asyncio.to_thread(_delete_before, connection, TRANSACTIONS, 900)
            for place in source.buffers:
                source._consumer.seek(place, 0)
            n_read = 0
            while not await source.is_at_end():
                n_read += await source.read()
            return n_read, source.lost

    n_read, lost = asyncio.run(asyncio.wait_for(read(), 60))
    assert [(gap.first, gap.last) for gap in lost] == [(0, 899)] * 4
    assert n_read == 4000 - 4 * 900


def test_a_file_that_was_removed_is_fetched_again(connection, archive):
    _send(connection, TRANSACTIONS, _transactions(4000))
    _archive(connection, archive, limits=Limits(n_rows=100))
    _send(connection, TRANSACTIONS, _transactions(4000, first=4000))
    _archive(connection, archive, limits=Limits(n_rows=100))
    kept, _ = current(files_of(archive, "transactions.v1"))
    later = [file for file in kept if file.first > 0]
    assert later
    later[0].path.unlink()
    summary = _archive(connection, archive)

    assert summary["topics"]["transactions.v1"]["records"] == later[0].last - later[0].first + 1
    assert _is_whole(archive, "transactions.v1", 8000)


def test_marks_of_transactional_producers_are_no_gaps(connection, archive):
    async def send():
        producer = AIOKafkaProducer(**connection.aiokafka(), transactional_id=connection.prefix)
        await producer.start()
        for value in _transactions(20):
            async with producer.transaction():
                await producer.send_and_wait(connection.topic(TRANSACTIONS), value, partition=0)
        await producer.stop()

    asyncio.run(send())
    first = _archive(connection, archive)["topics"]["transactions.v1"]
    second = _archive(connection, archive)["topics"]["transactions.v1"]

    assert (first["records"], first["lost"]) == (20, 0)
    assert (second["records"], second["lost"]) == (0, 0)


def test_what_cannot_be_decoded_is_kept_without_card_numbers(connection, archive):
    card = b'{"transaction_id":"t","card_id":"4111111111111111","amount_minor":1,"currency":"EUR","merchant_id":"m","event_time_ms":1}'
    _send(connection, TRANSACTIONS, [b"not json", *_transactions(1), card])
    summary = _archive(connection, archive)
    found = read_archive(archive, "transactions.v1")

    assert summary["topics"]["transactions.v1"]["undecodable"] == 2
    assert found["transaction_id"].drop_nulls().to_list() == ["t0"]
    assert {b"not json", card.replace(b"411111111111", b"*" * 12)} == set(found["undecodable"].drop_nulls())
    assert not any(b"4111111111111111" in path.read_bytes() for path in archive.glob("*/*/*/*.parquet"))


def test_every_topic_is_archived(connection, archive):
    score = {
        "transaction_id": "t1", "card_id": "c1", "event_time_ms": 5, "scored_at_ms": 6, "probability": 0.97, "decision": "decline",
        "tier": Tier.FULL, "flags": ("late",), "model": "m@1", "variant": "champion", "policy": "p", "spec": "s", "source": (0, 1),
    }  # fmt: skip
    reason = Reason(code="amount_high", text="much", feature="f", value=14.2, contribution=1.0)
    alert = Alert(**score, amount_minor=7, currency="EUR", merchant_id="m1", reasons=(reason,), extra=msgspec.Raw(b'{"a": 1}'))
    row = FeatureRow("t1", 0, 1, 0, 1, 5, "0123456789abcdef", (3, 4, -1, -1), b"\x00\x00\xc0\x7f")
    _send(connection, SCORES, [msgspec.json.encode(Score(**score))] * 2)
    _send(connection, ALERTS, [msgspec.json.encode(alert)])
    _send(connection, FEATURE_ROWS, [encode_row(row)])
    _send(connection, LABELS, [b'{"transaction_id":"t1","is_fraud":true,"label_time_ms":9,"source":"analyst"}'])
    _archive(connection, archive)

    assert read_archive(archive, "scores.v1", ["source_partition", "source_offset", "flags"]).rows() == [(0, 1, ["late"])]
    assert read_archive(archive, "alerts.v1", ["reasons", "extra"]).rows() == [
        ([{"code": "amount_high", "text": "much", "feature": "f", "value": 14.2, "usual": None, "contribution": 1.0}], '{"a": 1}')
    ]
    assert read_archive(archive, "features.v1", ["kind", "positions", "vector"]).rows() == [("transaction", [3, 4, -1, -1], row.vector)]
    assert read_archive(archive, "labels.v1", ["transaction_id", "is_fraud", "source"]).rows() == [("t1", True, "analyst")]


def test_partitions_that_are_added_are_seen(connection, archive):
    async def look():
        async with ArchiveSource(connection, archive, ["labels.v1"]) as source:
            before = await source.has_new_partitions()
            with admin_client(connection) as client:
                client.create_partitions({connection.topic(LABELS): 5})
            while not await source.has_new_partitions():
                pass
            return before

    assert asyncio.run(asyncio.wait_for(look(), 30)) is False


def test_an_archive_is_the_history_that_was_produced(connection, archive):
    n = 3000
    is_fraud = [i % 50 == 0 for i in range(n)]
    times = [1_700_000_000_000 + i * DAY_MS // 100 for i in range(n)]
    history = normalised(
        pl.DataFrame(
            {
                "transaction_id": [f"t{i:05d}" for i in range(n)],
                "event_time_ms": times,
                "card_id": [f"c{i % 40}" for i in range(n)],
                "amount_minor": [i * 7 for i in range(n)],
                "currency": ["EUR", "USD"] * (n // 2),
                "merchant_id": [f"m{i % 13}" for i in range(n)],
                "device_id": [None if i % 3 else f"d{i}" for i in range(n)],
                "mcc": [5411] * n,
                "country": ["DE"] * n,
                "channel": ["pos"] * n,
                "lat": [i / 100 for i in range(n)],
                "lon": [-i / 100 + 0.1 for i in range(n)],
                "account_age_days": list(range(n)),
                "is_fraud": is_fraud,
                "label_time_ms": [time + 3 * DAY_MS if fraud else None for time, fraud in zip(times, is_fraud, strict=True)],
            }
        ),
        "test",
    )
    records = HistoryRecords(history)
    keys, values = records.transactions(0, n)
    _send(connection, TRANSACTIONS, values, keys)
    keys, values = records.labels(0, len(records.label_times_ms))
    _send(connection, LABELS, values, keys)
    _archive(connection, archive, limits=Limits(n_rows=400))

    found = archive_history(archive)
    newest = max(history["event_time_ms"].max(), history["label_time_ms"].max())
    is_young = pl.col("event_time_ms") > newest - 7 * DAY_MS
    expected = history.with_columns(is_fraud=pl.when(is_young & ~pl.col("is_fraud")).then(None).otherwise("is_fraud"))
    assert found.select(*SCHEMA).equals(expected)
    assert found["is_fraud"].null_count() > 0
    assert read_history(archive).equals(found)

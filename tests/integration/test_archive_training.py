"""A model from what was archived: stream, archive, train, by the commands of a user."""

import asyncio
import json
import subprocess
import sys

import polars as pl
import pytest

from features.history import normalised
from service.history_records import HistoryRecords
from service.sending import Sender
from simulate.generate import generate
from stream.topics import LABELS, TRANSACTIONS


@pytest.fixture
def weir(environment, tmp_path):
    """Runs a command with `--json` in a process of its own; returns what it prints."""
    named = {"WEIR_MODEL_REGISTRY": str(tmp_path / "registry"), "WEIR_MODEL_SIGNING_KEY": "k"}

    def run(*arguments):
        line = [sys.executable, "-m", "service.cli", *map(str, arguments), "--json"]
        found = subprocess.run(line, check=False, capture_output=True, env=environment | named, timeout=240)
        assert found.returncode == 0, found.stderr.decode()
        return json.loads(found.stdout)

    return run


def _stream(connection, history):
    """Send the history as a producer would: its transactions, then its labels."""

    async def send():
        records = HistoryRecords(history)
        async with Sender(connection) as sender:
            for topic, (keys, values) in (
                (TRANSACTIONS, records.transactions(0, len(history))), (LABELS, records.labels(0, len(records.label_times_ms))),
            ):  # fmt: skip
                await sender.send(connection.topic(topic), keys, values)
            await sender.flush()

    asyncio.run(send())


def test_an_archived_stream_trains_a_champion_on_what_was_streamed(connection, weir, tmp_path):
    history = normalised(generate(n_days=40, n_cards=40, seed=5, per_day=1.5, fraud_share=0.1), "simulated")
    _stream(connection, history)

    archived = weir("archive", "--until-end", "--directory", tmp_path / "archive")
    trained = weir("train", tmp_path / "archive", "--min-frauds", 20)

    assert archived["topics"]["transactions.v1"]["records"] == len(history)
    assert trained["champion"] is True
    window = trained["window"]
    matured_ms = window["to_ms"] - window["maturity_ms"]
    streamed = history.filter(pl.col("event_time_ms").is_between(window["from_ms"], matured_ms, closed="left"))
    assert window["n_rows"] == len(streamed)
    assert window["n_frauds"] == streamed.filter(pl.col("label_time_ms") < window["to_ms"])["is_fraud"].sum()

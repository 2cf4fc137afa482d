"""As a user would: simulate, train, rebuild, produce, tail, evaluate, replay - by commands alone, answers exact."""

import json

import polars as pl

from service.times import format_time
from tests.e2e.conftest import DAY_MS, PAST_DAYS
from tests.e2e.installation import until


def test_a_history_goes_through_the_commands_and_serving_equals_replay_bit_for_bit(installation, tmp_path):
    history, features, scores = (tmp_path / name for name in ("history.parquet", "features.jsonl", "scores.jsonl"))
    installation.weir("simulate", str(history), "--days", str(PAST_DAYS + 6), "--cards", "1500", "--seed", "9", "--start", "2025-01-01")
    frame = pl.read_parquet(history)
    start_ms = int(frame["event_time_ms"].min()) // DAY_MS * DAY_MS + PAST_DAYS * DAY_MS
    start = format_time(start_ms)
    streamed = frame.filter(pl.col("event_time_ms") >= start_ms)
    labels = frame.filter(pl.col("is_fraud") & (pl.col("label_time_ms") >= start_ms))
    end_ms = int(frame["event_time_ms"].max()) + 1

    rebuilt = installation.json("rebuild", str(history), "--to", start)
    installation.start_worker()
    sent = installation.json("produce", str(history), "--from", start, "--to", str(end_ms), "--full-speed")
    until(lambda: installation.committed("transactions.v1") == len(streamed), "not committed: " + installation.logs())
    scores.write_text(installation.weir("tail", "scores", "--json", "--from-beginning", "--until-end").stdout)
    features.write_text(installation.weir("tail", "features", "--json", "--from-beginning", "--until-end").stdout)

    answers = [json.loads(line) for line in scores.read_text().splitlines()]
    assert sorted(a["transaction_id"] for a in answers) == sorted(streamed["transaction_id"])
    assert rebuilt["entities"] > 0
    n_labels = int((labels["label_time_ms"] < end_ms).sum())
    assert n_labels > 0
    assert sent["labels"] == n_labels
    assert installation.n_records("labels.dead.v1") == 0

    verified = installation.json("replay", str(history), "--order", str(features), "--from", start, "--verify")
    assert verified["compared"] == len(streamed)
    assert (verified["different"], verified["misplaced"], verified["approximate"]) == (0, 0, 0)

    found = installation.json("evaluate", str(history), "--scores", str(scores))
    assert found["models"]["ensemble"]["roc_auc"]["mean"] > 0.6


def test_a_changed_vector_is_found_by_verify(installation, trained, tmp_path):
    """The check above can fail: one flipped bit in one served vector is reported, with exit code 1."""
    import base64

    history, features = tmp_path / "history.parquet", tmp_path / "features.jsonl"
    streamed = trained.history[:200]
    streamed.write_parquet(history)
    installation.start_worker()
    installation.send_history(streamed, 0, 200)
    installation.until_answered(set(streamed["transaction_id"].to_list()))
    rows = [
        json.loads(line) for line in installation.weir("tail", "features", "--json", "--from-beginning", "--until-end").stdout.splitlines()
    ]
    vector = bytearray(base64.b64decode(rows[7]["vector"]))
    vector[0] ^= 1
    rows[7]["vector"] = base64.b64encode(vector).decode()
    features.write_text("".join(json.dumps(row) + "\n" for row in rows))

    found = installation.weir("replay", str(history), "--order", str(features), "--verify", "--json", check=False)
    assert found.returncode == 1
    assert json.loads(found.stdout)["different"] == 1

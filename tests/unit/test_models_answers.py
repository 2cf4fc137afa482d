"""Answers against the truth."""

from pathlib import Path

import msgspec
import polars as pl
import pytest

from domain.decision import Score, Tier
from domain.errors import HistoryError
from models.answers import evaluate_answers, read_answers


def score(number: int, probability: float = 0.1, **changes: object) -> Score:
    fields: dict[str, object] = {
        "transaction_id": f"t{number}", "card_id": "c", "event_time_ms": number, "scored_at_ms": 5, "probability": probability,
        "decision": "review" if probability > 0.5 else "approve", "tier": Tier.FULL, "flags": (), "model": "weir@1",
        "variant": "champion", "policy": "p", "spec": "s", "source": (0, number),
    }  # fmt: skip
    return Score(**(fields | changes))


def written(path: Path, *scores: Score) -> Path:
    path.write_bytes(b"\n".join(msgspec.json.encode(one) for one in scores) + b"\n\n")
    return path


def history(n: int, frauds: set[int], **columns: list[object]) -> pl.DataFrame:
    return pl.DataFrame(
        {"transaction_id": [f"t{i}" for i in range(n)], "event_time_ms": list(range(n)), "is_fraud": [i in frauds for i in range(n)]}
        | columns
    )


def test_every_answer_is_counted_once_repeated_different_missing_or_unknown(tmp_path: Path):
    answers = read_answers(
        written(
            tmp_path / "scores.jsonl",
            score(1),
            score(2),
            score(4, 0.9),
            score(99),
            score(1, scored_at_ms=9),
            score(2, 0.2),
            score(4, 0.8, flags=("replay_approx",)),
        )
    )

    found = evaluate_answers(answers, history(6, {4}), from_ms=1, to_ms=6)

    assert (found.answers, found.distinct, found.repeated) == (7, 4, 3)
    assert (found.repeated_different, found.repeated_different_unflagged) == (2, 1)
    assert (found.missing, found.unknown) == (2, 1)
    assert (found.frauds, found.alerts, found.precision, found.recall) == (1, 1, 1.0, 1.0)


def test_metrics_stand_under_the_keys_of_the_contract(tmp_path: Path):
    answers = read_answers(written(tmp_path / "s", *(score(i, i / 10) for i in range(10))))

    found = msgspec.json.decode(msgspec.json.encode(evaluate_answers(answers, history(10, {8, 9}))))

    assert found["models"]["ensemble"]["roc_auc"] == {"mean": 1.0, "sd": None}
    assert found["models"]["ensemble"]["average_precision"]["mean"] == 1.0
    assert found["models"]["ensemble"]["recall_at_fpr_0.001"]["mean"] is None


def test_the_story_is_the_truth_where_there_is_one(tmp_path: Path):
    answers = read_answers(written(tmp_path / "s", score(0, 0.9), score(1)))

    found = evaluate_answers(answers, history(2, {1}, story=["bust_out", None]))

    assert (found.precision, found.recall) == (1.0, 1.0)


def test_an_unknown_truth_is_neither_good_nor_bad(tmp_path: Path):
    frame = history(3, {0}).with_columns(is_fraud=pl.Series([True, None, False]))

    found = evaluate_answers(read_answers(written(tmp_path / "s", score(0, 0.9), score(1, 0.9), score(2))), frame)

    assert (found.frauds, found.alerts, found.precision) == (1, 2, 1.0)


def test_a_line_that_is_not_a_score_is_named(tmp_path: Path):
    path = written(tmp_path / "s", score(0))
    path.write_bytes(path.read_bytes() + b"{}\n")

    with pytest.raises(HistoryError, match="line 3 is not a score"):
        read_answers(path)

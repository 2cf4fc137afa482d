"""Answers that were given, against the truth: every id answered, once or the same again, and how good they were."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from domain.decision import Score
from domain.errors import HistoryError
from models.metrics import measure, precision_and_recall


class Answers(msgspec.Struct, frozen=True):
    """Answers by transaction, the first one of each."""

    transaction_id: list[str]
    probability: list[float]
    is_alert: list[bool]
    event_time_ms: list[int]
    n_lines: int
    n_repeated: int
    """Answers beyond the first of their transaction."""
    n_different: int
    """Of these, the ones that differ in more than `scored_at_ms`."""
    n_different_unflagged: int
    """Of these, the ones that no flag (`replay_approx`, `restated`) explains."""


class Evaluation(msgspec.Struct, frozen=True):
    """What `weir evaluate --scores` says; keys are part of the contract."""

    answers: int
    distinct: int
    repeated: int
    repeated_different: int
    repeated_different_unflagged: int
    missing: int
    """Transactions of the history, within the answered time, without an answer."""
    unknown: int
    """Answered transactions that the history does not hold."""
    frauds: int
    alerts: int
    precision: float | None
    recall: float | None
    models: dict[str, dict[str, dict[str, float | None]]]


def read_answers(path: Path) -> Answers:
    """Read scores as printed by `weir tail scores --json`: one JSON object a line; empty lines are skipped.

    Raises:
        HistoryError: The file cannot be read or a line is not a score; the message has its number.
    """
    try:
        with path.open("rb") as file:
            return _collect(file, path)
    except OSError as error:
        raise HistoryError(f"cannot read {path}: {error.strerror}") from error


def evaluate_answers(answers: Answers, history: pl.DataFrame, *, from_ms: int | None = None, to_ms: int | None = None) -> Evaluation:
    """Compare answers with the truth: the column `story` where there is one (not null = fraud), else `is_fraud`.

    Args:
        answers: What was answered.
        history: Normalised; rows whose truth is null count as answered but not as good or bad.
        from_ms: First event time that should be answered; None = the earliest answered.
        to_ms: End of it, exclusive; None = just after the latest answered.
    """
    truth = pl.col("story").is_not_null() if "story" in history.columns else pl.col("is_fraud")
    first = min(answers.event_time_ms, default=0) if from_ms is None else from_ms
    end = max(answers.event_time_ms, default=-1) + 1 if to_ms is None else to_ms
    known = history.select("transaction_id", "event_time_ms", truth=truth)
    given = pl.DataFrame(
        {"transaction_id": answers.transaction_id, "probability": answers.probability, "is_alert": answers.is_alert},
        schema={"transaction_id": pl.String, "probability": pl.Float64, "is_alert": pl.Boolean},
    )
    wanted = known.filter((pl.col("event_time_ms") >= first) & (pl.col("event_time_ms") < end))
    joined = given.join(known, on="transaction_id", how="left")
    judged = joined.filter(pl.col("truth").is_not_null())
    target = judged["truth"].to_numpy().astype(np.bool_)
    precision, recall = precision_and_recall(judged["is_alert"].to_numpy().astype(np.bool_), target)
    metrics = measure(judged["probability"].to_numpy(), target)
    return Evaluation(
        answers=answers.n_lines,
        distinct=len(given),
        repeated=answers.n_repeated,
        repeated_different=answers.n_different,
        repeated_different_unflagged=answers.n_different_unflagged,
        missing=len(wanted.join(given, on="transaction_id", how="anti")),
        unknown=int(joined["event_time_ms"].is_null().sum()),
        frauds=int(target.sum()),
        alerts=int(given["is_alert"].sum()),
        precision=precision,
        recall=recall,
        models={"ensemble": {name: {"mean": value, "sd": None} for name, value in metrics.items()}},
    )


def _collect(lines: Iterable[bytes], path: Path) -> Answers:
    decoder = msgspec.json.Decoder(Score)
    first: dict[str, Score] = {}
    n_lines = n_repeated = n_different = n_unflagged = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            score = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise HistoryError(f"{path} line {number} is not a score: {error}; give what `weir tail scores --json` prints") from error
        n_lines += 1
        earlier = first.setdefault(score.transaction_id, score)
        if earlier is score:
            continue
        n_repeated += 1
        if msgspec.structs.replace(score, scored_at_ms=earlier.scored_at_ms) != earlier:
            n_different += 1
            n_unflagged += not {"replay_approx", "restated"} & {*score.flags, *earlier.flags}
    scores = first.values()
    return Answers(
        transaction_id=list(first),
        probability=[score.probability for score in scores],
        is_alert=[score.decision != "approve" for score in scores],
        event_time_ms=[score.event_time_ms for score in scores],
        n_lines=n_lines,
        n_repeated=n_repeated,
        n_different=n_different,
        n_different_unflagged=n_unflagged,
    )

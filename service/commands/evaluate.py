"""`weir evaluate`: how good answers were."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.times import TIME_MS

if TYPE_CHECKING:
    from models.answers import Evaluation


@click.command(name="evaluate")
@click.argument("history", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--scores", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True, help="Answers, one JSON object a line."
)
@click.option("--from", "from_ms", type=TIME_MS, help="First event time that should be answered; default: the earliest answered.")
@click.option("--to", "to_ms", type=TIME_MS, help="End of it (not included); default: the latest answered.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(history: Path, scores: Path, from_ms: int | None, to_ms: int | None, *, as_json: bool) -> None:
    """Compare answers with the truth in HISTORY: who was answered, and how well.

    The truth is the column `story` where there is one (simulated histories), else `is_fraud`.

    \b
    Example:
      weir tail scores --json --from-beginning --until-end > scores.jsonl
      weir evaluate var/history.parquet --scores scores.jsonl
    """  # noqa: D301 - click's mark for lines that stay as they are
    import msgspec

    from features.history import read_history
    from models.answers import evaluate_answers, read_answers

    found = evaluate_answers(read_answers(scores), read_history(history), from_ms=from_ms, to_ms=to_ms)
    click.echo(msgspec.json.format(msgspec.json.encode(found)).decode() if as_json else _text(found))


def _text(found: "Evaluation") -> str:
    counts = {
        "answers": found.answers,
        "distinct transactions": found.distinct,
        "repeated answers": found.repeated,
        "of these different": found.repeated_different,
        "different without a flag": found.repeated_different_unflagged,
        "not answered": found.missing,
        "not in the history": found.unknown,
        "frauds": found.frauds,
        "alerts": found.alerts,
    }
    metrics = {"precision of alerts": found.precision, "recall of alerts": found.recall}
    metrics |= {name: value["mean"] for name, value in found.models["ensemble"].items()}
    lines = [f"{name:<26}{value:>12,}" for name, value in counts.items()]
    return "\n".join([*lines, "", *(f"{name:<26}{'-' if value is None else format(value, '.4f'):>12}" for name, value in metrics.items())])

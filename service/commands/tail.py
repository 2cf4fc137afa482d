"""`weir tail`: answers, alerts, dead letters and feature rows as they come."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from service.tailing import Tail
    from stream.connection import KafkaConnection
    from stream.records import Record

    Print = Callable[[Sequence[Record]], None]

KINDS = ("scores", "alerts", "dead", "features")


@click.command(name="tail")
@click.argument("kind", type=click.Choice(KINDS), metavar="|".join(KINDS))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as on the topic.")
@click.option("--from-beginning", is_flag=True, help="Begin with the oldest record kept, not with the next one.")
@click.option("--until-end", is_flag=True, help="Stop at the end as it is now, do not wait for more.")
@click.pass_context
def command(context: click.Context, *, kind: str, as_json: bool, from_beginning: bool, until_end: bool) -> None:
    """Print scores, alerts with their reasons, dead letters or the log of features.

    Records of one partition come in their order. Nothing is committed: look on as often as you like.

    \b
    Examples:
      weir tail alerts
      weir tail scores --json --from-beginning --until-end > scores.jsonl
      weir tail dead --from-beginning --until-end
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.clients import kafka_of
    from service.interrupts import run_until_interrupted
    from service.tailing import Tail

    connection, _ = kafka_of(context)
    tail = Tail(connection, _topics(kind, connection), from_beginning=from_beginning, until_end=until_end)
    print_records = _as_json(kind) if as_json else _for_people(kind)
    run_until_interrupted(lambda stop: _follow(tail, print_records, stop))


async def _follow(tail: "Tail", print_records: "Print", stop: asyncio.Event) -> None:
    async with tail:
        async for records in tail.batches(stop):
            print_records(records)


def _topics(kind: str, connection: "KafkaConnection") -> list[str]:
    from stream.topics import ALERTS, FEATURE_ROWS, LABELS_DEAD, SCORES, TRANSACTIONS_DEAD

    chosen = {"scores": [SCORES], "alerts": [ALERTS], "dead": [TRANSACTIONS_DEAD, LABELS_DEAD], "features": [FEATURE_ROWS]}
    return [connection.topic(topic) for topic in chosen[kind]]


def _as_json(kind: str) -> "Print":
    rendered = _rendered(kind)

    def print_records(records: "Sequence[Record]") -> None:
        sys.stdout.buffer.write(rendered(records))
        sys.stdout.buffer.flush()

    return print_records


def _rendered(kind: str) -> "Callable[[Sequence[Record]], bytes]":
    """Return how records become lines; what is JSON on its topic is passed through unread."""
    import msgspec

    from features.feature_row import decode_row, to_json
    from service.alert_text import dead_letter

    encode = msgspec.json.Encoder().encode_lines
    if kind == "dead":
        return lambda records: encode([dead_letter(record) for record in records])
    if kind == "features":
        return lambda records: encode([to_json(decode_row(record.value)) for record in records if record.value is not None])
    return lambda records: b"".join(b"%b\n" % record.value for record in records if record.value is not None)


def _for_people(kind: str) -> "Print":
    import msgspec
    from rich.console import Console

    from domain.decision import Alert, Score
    from service.alert_text import alert_text, dead_letter_text, score_text

    if kind == "features":
        return _as_json(kind)
    console = Console(highlight=False, soft_wrap=True)
    alerts, scores = msgspec.json.Decoder(Alert), msgspec.json.Decoder(Score)

    def print_records(records: "Sequence[Record]") -> None:
        for record in records:
            if kind == "dead":
                console.print(dead_letter_text(record))
            elif record.value is not None:
                console.print(alert_text(alerts.decode(record.value)) if kind == "alerts" else score_text(scores.decode(record.value)))

    return print_records

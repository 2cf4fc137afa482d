"""`weir label`: say what a transaction turned out to be."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.times import TIME_MS

if TYPE_CHECKING:
    from domain.label import Label

# Written out, so that the help needs no heavy import; a test keeps it equal to domain.label.SOURCES.
SOURCES = ("chargeback", "analyst", "customer", "rule")


@click.command(name="label")
@click.argument("transaction_id", required=False)
@click.option("--fraud/--genuine", "is_fraud", default=None, help="What it turned out to be.")
@click.option("--source", type=click.Choice(SOURCES), default="analyst", show_default=True, help="Who says so.")
@click.option("--time", "time_ms", type=TIME_MS, help="When it became known; else now.")
@click.option(
    "--file", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Labels to send: JSON lines, Parquet or CSV."
)
@click.option("--json", "as_json", is_flag=True, help="Print the count as JSON.")
@click.pass_context
def command(
    context: click.Context,
    *,
    transaction_id: str | None,
    is_fraud: bool | None,
    source: str,
    time_ms: int | None,
    path: Path | None,
    as_json: bool,
) -> None:
    """Send a label to labels.v1; a later label corrects an earlier one.

    A FILE has the columns transaction_id, is_fraud, label_time_ms and source (and optionally event_time_ms, card_id,
    merchant_id, device_id, ip: then the transaction need not be in the decision index any more).

    \b
    Examples:
      weir label t00042 --fraud
      weir label t00042 --genuine --source customer
      weir label --file chargebacks.jsonl
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.clients import kafka_of
    from service.labelling import read_labels, send_labels

    if path is not None and (transaction_id is not None or is_fraud is not None or time_ms is not None):
        raise click.UsageError("--file stands alone: the file says which transactions, what and when")
    if path is None and (transaction_id is None or is_fraud is None):
        raise click.UsageError("name a TRANSACTION_ID with --fraud or --genuine, or give --file")
    if path is not None:
        labels = read_labels(path)
    else:
        labels = [_label(str(transaction_id), is_fraud=bool(is_fraud), source=source, time_ms=time_ms)]
    connection, _ = kafka_of(context)
    n_sent = asyncio.run(send_labels(connection, labels))
    click.echo(f'{{"labels":{n_sent}}}' if as_json else f"sent {n_sent:,} label{'' if n_sent == 1 else 's'}")


def _label(transaction_id: str, *, is_fraud: bool, source: str, time_ms: int | None) -> "Label":
    import msgspec

    from domain.label import Label
    from service.times import now_ms

    known_ms = now_ms() if time_ms is None else time_ms
    values = {"transaction_id": transaction_id, "is_fraud": is_fraud, "label_time_ms": known_ms, "source": source}
    try:
        return msgspec.convert(values, Label)
    except msgspec.ValidationError as error:
        raise click.BadParameter(str(error), param_hint="TRANSACTION_ID") from error

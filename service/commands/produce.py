"""`weir produce`: a history or JSON lines to Kafka."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from service.times import TIME_MS

if TYPE_CHECKING:
    from service.producing import Sent


@click.command(name="produce")
@click.argument("file", metavar="FILE|-")
@click.option("--from", "from_ms", type=TIME_MS, help="First event time of transactions and label time of labels (included).")
@click.option("--to", "to_ms", type=TIME_MS, help="Last of these times (not included).")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Transactions per second.")
@click.option("--speedup", type=click.FloatRange(min=0, min_open=True), help="Event time per real time: 60 = a minute passes in a second.")
@click.option("--full-speed", is_flag=True, help="As fast as the workers take them (the default).")
@click.option(
    "--batch-hours", type=click.FloatRange(min=0.01), default=12.0, show_default=True,
    help="Event time between two exchanges of labels: a label is applied at most this much later than it became known.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@click.pass_context
def command(
    context: click.Context,
    *,
    file: str,
    from_ms: int | None,
    to_ms: int | None,
    rate: float | None,
    speedup: float | None,
    full_speed: bool,
    batch_hours: float,
    as_json: bool,
) -> None:
    """Send transactions to transactions.v1, and the labels of a history to labels.v1 in time.

    FILE is a history (Parquet, or a folder of it) or JSON lines, one transaction each; - reads JSON lines from standard input.

    Fraud labels of a history go out between event-time batches: when the workers have committed the transactions
    before them; later transactions wait for them, so that a history at full speed means what it meant live.

    \b
    Examples:
      weir produce history.parquet --from 2026-03-01 --full-speed
      weir produce history.parquet --speedup 600
      tail -f transactions.jsonl | weir produce -
    """  # noqa: D301 - click's mark for lines that stay as they are
    if sum((rate is not None, speedup is not None, full_speed)) > 1:
        raise click.UsageError("give one of --rate, --speedup and --full-speed")
    if file != "-" and not Path(file).exists():
        raise click.BadParameter(f"{file} does not exist", param_hint="FILE")
    if _is_history(file):
        sent = _history(context, Path(file), from_ms, to_ms, (rate, speedup, batch_hours))
    else:
        if from_ms is not None or to_ms is not None or speedup is not None:
            raise click.UsageError("--from, --to and --speedup need a history; JSON lines are sent as they are")
        sent = _lines(context, file, rate)
    _print(sent, as_json=as_json)


def _history(
    context: click.Context, path: Path, from_ms: int | None, to_ms: int | None, pace: tuple[float | None, float | None, float]
) -> "tuple[Sent, bool]":
    from features.history import read_history
    from service.clients import kafka_of
    from service.history_records import HistoryRecords
    from service.producing import HistoryProducer, Pace
    from service.timeline import HOUR_MS

    connection, settings = kafka_of(context)
    records = HistoryRecords(read_history(path), from_ms=from_ms, to_ms=to_ms)
    rate, speedup, batch_hours = pace
    chosen = Pace(rate, speedup, max(1, round(batch_hours * HOUR_MS)))
    with _Progress(len(records.event_times_ms)) as progress:
        producer = HistoryProducer(connection, group=settings.kafka.group, on_progress=progress.update, on_stall=progress.say)
        return _until_interrupted(lambda stop: producer.run(records, chosen, stop))


def _lines(context: click.Context, file: str, rate: float | None) -> "tuple[Sent, bool]":
    from service.clients import kafka_of
    from service.line_producing import produce_lines

    connection, _ = kafka_of(context)
    with click.open_file(file, "rb") as stream, _Progress(None) as progress:
        descriptor = stream.fileno()
        return _until_interrupted(lambda stop: produce_lines(connection, descriptor, rate=rate, stop=stop, on_progress=progress.update))


def _is_history(file: str) -> bool:
    if file == "-":
        return False
    path = Path(file)
    if path.is_dir():
        return True
    with path.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def _until_interrupted(work: Callable[[asyncio.Event], Any]) -> "tuple[Sent, bool]":
    """Run `work`; the first Ctrl-C or SIGTERM sets its stop event. Returns its answer and whether it was interrupted."""
    from service.interrupts import run_until_interrupted

    return run_until_interrupted(work)


def _print(result: "tuple[Sent, bool]", *, as_json: bool) -> None:
    sent, was_interrupted = result
    if as_json:
        import msgspec

        counts = {"transactions": sent.n_transactions, "labels": sent.n_labels, "interrupted": was_interrupted}
        click.echo(msgspec.json.encode(counts).decode())
    else:
        end = " before it was interrupted" if was_interrupted else ""
        click.echo(f"sent {sent.n_transactions:,} transactions and {sent.n_labels:,} labels{end}")
    if was_interrupted:
        sys.exit(130)


class _Progress:
    """A progress bar on a terminal; elsewhere only what must be said. Both on standard error."""

    def __init__(self, n_total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        columns = (
            TextColumn("transactions"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("labels {task.fields[labels]}"),
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("transactions", total=n_total, labels=0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, sent: "Sent") -> None:
        self._bar.update(self._task, completed=sent.n_transactions, labels=sent.n_labels)

    def say(self, sentence: str) -> None:
        self._console.print(sentence, highlight=False, soft_wrap=True)

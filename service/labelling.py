"""Labels from the command line: one, or a file of them, to `labels.v1`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from domain.errors import HistoryError, RejectedRecord
from domain.label import Label, decode_label
from service.sending import Sender
from stream.connection import KafkaConnection
from stream.topics import LABELS

_PIECE: Final = 2000
_FIELDS: Final = msgspec.structs.fields(Label)


def read_labels(path: Path) -> list[Label]:
    """Return the labels of a file: JSON lines, Parquet or CSV with the fields of a label as columns.

    Every row is checked before anything is sent.

    Raises:
        HistoryError: The file cannot be read, or a row is no label; the message names the row and the rule.
    """
    labels = []
    for number, line in enumerate(_json_lines(path), start=1):
        try:
            labels.append(decode_label(line))
        except RejectedRecord as error:
            raise HistoryError(f"{path}, row {number}: {error.reason}") from error
    return labels


async def send_labels(connection: KafkaConnection, labels: Sequence[Label]) -> int:
    """Send `labels` to `labels.v1`, keyed by transaction_id; return how many, all confirmed by the broker.

    Raises:
        Unavailable: Kafka does not answer or did not confirm a record.
        ConfigError: The topic does not exist.
    """
    topic = connection.topic(LABELS)
    async with Sender(connection) as sender:
        await sender.require(topic)
        for first in range(0, len(labels), _PIECE):
            piece = labels[first : first + _PIECE]
            await sender.send(topic, [label.transaction_id.encode() for label in piece], [msgspec.json.encode(label) for label in piece])
        await sender.flush()
    return len(labels)


def _json_lines(path: Path) -> list[bytes]:
    try:
        if path.suffix in {".parquet", ".csv"}:
            frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, schema_overrides=_csv_types())
            kept = [field.name for field in _FIELDS if field.name in frame.columns]
            rows = frame.select(kept).iter_rows(named=True)
            return [msgspec.json.encode({name: value for name, value in row.items() if value is not None}) for row in rows]
        return [line for line in path.read_bytes().splitlines() if line.strip()]
    except (OSError, pl.exceptions.PolarsError) as error:
        raise HistoryError(f"{path} cannot be read as labels ({str(error).partition(chr(10))[0]})") from error


def _csv_types() -> dict[str, pl.DataType]:
    types: dict[str, pl.DataType] = {"is_fraud": pl.Boolean(), "label_time_ms": pl.Int64(), "event_time_ms": pl.Int64()}
    return {field.name: types.get(field.name, pl.String()) for field in _FIELDS}

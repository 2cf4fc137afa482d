"""Read archived topics: superseded files left out, repeated answers dropped."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

from domain.decision import Flag
from domain.errors import HistoryError
from features.archive_files import ArchiveFile, current, files_of, is_archive
from features.archive_schema import ALERTS, SCHEMAS, SCORES

#: Topics whose records answer a transaction; a redelivered transaction is answered again.
_ANSWERS: Final = frozenset({SCORES, ALERTS})
_SAME_ANSWER: Final = ("topic_uuid", "transaction_id", "source_partition", "source_offset")
#: A compaction may remove a part between the listing and the reading of it.
_ATTEMPTS: Final = 5


def read_archive(directory: Path, topic: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the archived records of a topic, each once, in the order of its partitions' offsets.

    Of scores and alerts the first answer to each `source` is kept, and the first one flagged `restated` beside it;
    records that could not be decoded are all kept. It may be read while `weir archive` writes.

    Args:
        directory: The archive.
        topic: Name without the installation's prefix, like `scores.v1`.
        columns: Those wanted, of `features.archive_schema.SCHEMAS`; None: all.

    Raises:
        HistoryError: It is no archive, the topic is not archived, or a file cannot be read.
    """
    if not is_archive(directory):
        raise HistoryError(f"{directory} is not an archive of weir archive: it has no archive.json")
    if topic not in SCHEMAS:
        raise HistoryError(f"topic must be one of {', '.join(SCHEMAS)}; found {topic}")
    frame = _read(directory, topic, columns)
    if topic in _ANSWERS:
        frame = frame.filter(_is_first_answer())
    return frame.select(columns or list(SCHEMAS[topic])).collect()


def _read(directory: Path, topic: str, columns: Sequence[str] | None) -> pl.LazyFrame:
    needed = list(SCHEMAS[topic])
    if columns is not None:
        keys = (*_SAME_ANSWER, "flags", "undecodable") if topic in _ANSWERS else ()
        needed = [name for name in needed if name in {*columns, *keys}]
    for attempt in range(1, _ATTEMPTS + 1):
        files, _ = current(files_of(directory, topic))
        try:
            return pl.concat([read_file(file, topic, needed) for file in files if file.kind == "records"] or [_empty(topic, needed)]).lazy()
        except FileNotFoundError as error:
            if attempt == _ATTEMPTS:
                raise HistoryError(f"{error.filename or directory} vanished while the archive was read; read it again") from error
    raise AssertionError


def read_file(file: ArchiveFile, topic: str, needed: Sequence[str], where: pl.Expr | None = None) -> pl.DataFrame:
    """Return rows of a file; columns that are newer than the file are null.

    Args:
        file: A file of the topic.
        topic: Of `features.archive_schema.SCHEMAS`.
        needed: Columns wanted.
        where: Which rows; None: all. Of row groups that cannot hold any, nothing is read but their statistics.

    Raises:
        FileNotFoundError: A compaction has removed it since; list the files again.
        HistoryError: It cannot be read.
    """
    try:
        scan = pl.scan_parquet(file.path, schema=SCHEMAS[topic], missing_columns="insert", extra_columns="ignore", hive_partitioning=False)
        return (scan if where is None else scan.filter(where)).select(needed).collect()
    except FileNotFoundError:
        raise
    except (pl.exceptions.PolarsError, OSError) as error:
        raise HistoryError(
            f"{file.path} cannot be read ({str(error).splitlines()[0]}); "
            "remove it: weir archive fetches its offsets again while Kafka has them"
        ) from error


def _empty(topic: str, needed: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(schema={name: SCHEMAS[topic][name] for name in needed})


def _is_first_answer() -> pl.Expr:
    is_restated = pl.col("flags").list.contains(Flag.RESTATED.value).fill_null(value=False)
    same = pl.struct(*_SAME_ANSWER, is_restated.alias("is_restated"))
    return pl.col("undecodable").is_not_null() | same.is_first_distinct()

"""Read the mapped columns of a foreign CSV or Parquet file, row by row as they stand there."""

import csv
import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, TextIO

import polars as pl

from domain.errors import HistoryError

ROW: Final = "source_row"
REASON: Final = "reason"
_PARQUET: Final = (".parquet", ".pq")
_LONGEST_FIELD_BYTES: Final = 1 << 24


class ForeignTable(NamedTuple):
    """The rows of a file."""

    rows: pl.DataFrame
    """ROW (from 0, without the header) and the columns asked for, typed as in the file; all text for CSV."""
    unreadable: pl.DataFrame
    """ROW, REASON and `text` of lines that are not rows of the table."""


def read_foreign(path: Path, columns: list[str]) -> ForeignTable:
    """Return the columns of the Parquet or CSV file (also .csv.gz; a comma, semicolon or tab between values).

    Raises:
        HistoryError: The file cannot be read as a table, or lacks one of the columns.
    """
    if not path.is_file():
        raise HistoryError(f"{path} is not a file")
    try:
        return _read_parquet(path, columns) if path.suffix in _PARQUET else _read_csv(path, columns)
    except (pl.exceptions.PolarsError, OSError, EOFError, csv.Error) as error:
        raise HistoryError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def _read_parquet(path: Path, columns: list[str]) -> ForeignTable:
    _check_columns(path, columns, pl.read_parquet_schema(path))
    rows = pl.read_parquet(path, columns=columns).select(columns)
    return ForeignTable(rows.with_row_index(ROW), _no_lines())


def _read_csv(path: Path, columns: list[str]) -> ForeignTable:
    with _text(path) as file:
        header = file.readline().lstrip("\ufeff")
    separator = max(",;\t", key=header.count)
    names = next(csv.reader([header], delimiter=separator), [])
    _check_columns(path, columns, names)
    try:
        # Without a schema to guess, a wrong value stays in its row instead of failing the file.
        rows = pl.read_csv(path, separator=separator, columns=columns, infer_schema=False, row_index_name=ROW)
        return ForeignTable(rows.select(ROW, *columns), _no_lines())
    except pl.exceptions.ComputeError:
        return _read_broken_csv(path, columns, names, separator)


def _read_broken_csv(path: Path, columns: list[str], names: list[str], separator: str) -> ForeignTable:
    """Return what can be read of a file with lines of the wrong length or bytes that are not UTF-8."""
    csv.field_size_limit(_LONGEST_FIELD_BYTES)
    places = [names.index(name) for name in columns]
    good: list[list[str]] = [[] for _ in columns]
    good_rows: list[int] = []
    lost: list[tuple[int, str, str]] = []
    with _text(path) as file:
        for number, found in _lines(csv.reader(file, delimiter=separator)):
            # A short line lacks its last values, for the fast reader too.
            fields = found + [""] * (len(names) - len(found))
            if len(fields) > len(names):
                lost.append((number, "the line has more values than the header", separator.join(fields)))
            elif any("\ufffd" in fields[place] for place in places):
                lost.append((number, "the line is not UTF-8", separator.join(fields)))
            else:
                good_rows.append(number)
                for column, place in zip(good, places, strict=True):
                    column.append(fields[place])
    rows = pl.DataFrame(
        {ROW: good_rows, **dict(zip(columns, good, strict=True))}, schema={ROW: pl.UInt32(), **dict.fromkeys(columns, pl.String())}
    )
    return ForeignTable(rows, pl.DataFrame(lost, schema=_no_lines().schema, orient="row"))


def _lines(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    next(reader, None)
    return enumerate(fields for fields in reader if fields)


def _text(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", errors="replace", newline="")
    return path.open(encoding="utf-8", errors="replace", newline="")


def _no_lines() -> pl.DataFrame:
    return pl.DataFrame(schema={ROW: pl.UInt32(), REASON: pl.String(), "text": pl.String()})


def _check_columns(path: Path, columns: list[str], found: Iterable[str]) -> None:
    names = list(found)
    if ROW in columns:
        raise HistoryError(f"{path} has a column called {ROW}, a name that the import needs itself; rename it")
    if missing := [name for name in columns if name not in names]:
        raise HistoryError(f"{path} has no column {', '.join(missing)}; it has {', '.join(names)}")

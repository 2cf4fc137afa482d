"""Read one column of a foreign table as a field of ours."""

from collections.abc import Callable
from typing import Final, NamedTuple

import polars as pl

from features.history import SCHEMA
from features.mapping import Mapping, Scalar, TimeMapping

_TRUE: Final = ("true", "t", "yes", "y", "1")
_FALSE: Final = ("false", "f", "no", "n", "0")
_HAS_OFFSET: Final = r"[T ].*(?:Z|[+-]\d\d:?\d\d)$"
_TIMES: Final = ("event_time", "label_time")


class Field(NamedTuple):
    """A column read."""

    values: pl.Series
    """In the type of SCHEMA (date-times: Int64, ms since the epoch); null where there is nothing or nothing readable."""
    is_unreadable: pl.Series
    """Where the file has a value that cannot be read."""
    kind: str
    """What the value should have been, to be read after "cannot be read as"."""


def read_field(name: str, column: pl.Series, mapping: Mapping) -> Field:
    """Return the foreign column as our field `name`, a name of [columns]; prefixes are put before the values."""
    given = _blanks_gone(column)
    if name in mapping.values:
        given = _translated(given, mapping.values[name])
    kind, read = _reader(name, mapping.time)
    values = read(given)
    is_unreadable = values.is_null() & given.is_not_null()
    if name in mapping.prefix:
        values = pl.Series([mapping.prefix[name]]) + values
    return Field(values.alias(name), is_unreadable, kind)


def as_text(column: pl.Series) -> pl.Series:
    """Return the column as text; whole numbers without a decimal point, however they are stored."""
    if column.dtype.is_float():
        whole = column.drop_nulls()
        whole = whole.filter(whole.is_finite())
        if (whole == whole.round(0)).all() and (whole.abs() < 2**63).all():
            column = column.cast(pl.Int64, strict=False)
    return column.cast(pl.String)


def read_number(column: pl.Series) -> pl.Series:
    """Return the column as Float64, null where it is no finite number."""
    number = _blanks_gone(column).cast(pl.Float64, strict=False)
    return number.to_frame().select(pl.when(pl.first().is_finite()).then(pl.first()))[column.name]


def _blanks_gone(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, (pl.Categorical, pl.Enum)):
        column = column.cast(pl.String)
    if column.dtype == pl.String:
        return column.to_frame().select(pl.first().str.strip_chars().replace("", None))[column.name]
    if column.dtype.is_float():
        return column.fill_nan(None)
    return column


def _translated(column: pl.Series, table: dict[str, Scalar]) -> pl.Series:
    text = as_text(column)
    return text.replace(list(table), [str(value) for value in table.values()])


def _reader(name: str, time: TimeMapping) -> tuple[str, Callable[[pl.Series], pl.Series]]:
    if name in _TIMES:
        return "a date-time (for numbers map the field ending in _ms)", lambda column: _time_ms(column, time)
    dtype = SCHEMA[name]
    if dtype.is_integer():
        return f"a whole number ({dtype})", lambda column: _integer(column, dtype)
    if dtype.is_float():
        return "a number", read_number
    if dtype == pl.Boolean:
        return "true or false", _boolean
    if name == "channel":
        return "text", lambda column: as_text(column).str.to_lowercase()
    return "text", as_text


def _integer(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    whole = (
        column.cast(pl.Int64, strict=False)
        if not column.dtype.is_float()
        else pl.Series(column.name, [None], pl.Int64).new_from_index(0, len(column))
    )
    number = read_number(column)
    # 5411.0 is how a column with gaps often writes 5411.
    is_whole = (number == number.round(0)) & (number.abs() < 2**53)
    frame = pl.DataFrame({"whole": whole, "number": number, "is_whole": is_whole})
    rounded = pl.when("is_whole").then(pl.col("number").cast(pl.Int64, strict=False))
    return frame.select(pl.coalesce("whole", rounded).cast(dtype, strict=False).alias(column.name))[column.name]


def _boolean(column: pl.Series) -> pl.Series:
    text = as_text(column).str.to_lowercase()
    frame = text.alias("text").to_frame()
    spelt = pl.when(pl.col("text").is_in(_TRUE)).then(pl.lit(value=True)).when(pl.col("text").is_in(_FALSE)).then(pl.lit(value=False))
    return frame.select(spelt.alias(column.name))[column.name]


def _time_ms(column: pl.Series, time: TimeMapping) -> pl.Series:
    dtype = column.dtype
    if dtype == pl.Date:
        column = column.cast(pl.Datetime("ms"))
    elif dtype == pl.String:
        column = _parsed(column, time)
    elif not isinstance(dtype, pl.Datetime):
        return pl.Series(column.name, [None], dtype=pl.Int64).new_from_index(0, len(column))
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is None:
        column = _located(column, time.zone)
    return column.dt.timestamp("ms")


def _located(column: pl.Series, zone: str) -> pl.Series:
    """Return naive times as times of the zone: of the hour that occurs twice a year the first, never the missing one."""
    if zone == "UTC":
        return column.dt.replace_time_zone("UTC")
    return column.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")


def _parsed(column: pl.Series, time: TimeMapping) -> pl.Series:
    frame = column.alias("text").to_frame()
    if time.format is not None:
        parsed = frame.select(pl.col("text").str.to_datetime(time.format, time_unit="ms", strict=False))["text"]
        return _located(parsed, time.zone) if parsed.dtype == pl.Datetime("ms") else parsed
    iso = pl.col("text").str.replace(" ", "T", literal=True)
    with_offset = iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="ms", time_zone="UTC", strict=False)
    patterns = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
    naive = pl.coalesce(*(iso.str.to_datetime(pattern, time_unit="ms", strict=False) for pattern in patterns))
    located = _located(frame.select(naive)["text"], time.zone)
    has_offset = pl.col("text").str.contains(_HAS_OFFSET)
    absolute = frame.select(pl.when(has_offset).then(with_offset).alias("text"))["text"]
    return pl.DataFrame({"absolute": absolute, "located": located}).select(pl.coalesce("absolute", "located"))["absolute"]

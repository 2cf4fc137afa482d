"""A history: past transactions and what became known about them, as a Parquet file or a folder of them.

A row's label is what was *known*, and when: `is_fraud` null means not known (never a target); True or False with
`label_time_ms` became known at that time; False without a time is good by maturity (nobody complained).
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from domain.card_number import is_card_number
from domain.errors import HistoryError
from domain.transaction import CHANNELS
from domain.wire import SECRET_FIELDS, shown
from features.archive_files import is_archive

#: Columns of a history in their order, with the type that `read_history` returns.
SCHEMA: Final[dict[str, pl.DataType]] = {
    "transaction_id": pl.String(),
    "event_time_ms": pl.Int64(),
    "card_id": pl.String(),
    "amount_minor": pl.Int64(),
    "currency": pl.String(),
    "merchant_id": pl.String(),
    "device_id": pl.String(),
    "ip": pl.String(),
    "mcc": pl.Int32(),
    "country": pl.String(),
    "channel": pl.String(),
    "lat": pl.Float64(),
    "lon": pl.Float64(),
    "account_age_days": pl.Int32(),
    "is_fraud": pl.Boolean(),
    "label_time_ms": pl.Int64(),
}
REQUIRED: Final = ("transaction_id", "event_time_ms", "card_id", "amount_minor", "currency", "merchant_id")

CARD_ID_RULE: Final = "an opaque token, not a card number (13 to 19 digits, Luhn check passes)"

_LAST_TIME_MS: Final = 253_402_300_800_000
_CARD_NUMBER_SHAPE: Final = r"^[ -]*(?:[0-9][ -]*){13,19}$"


class Rule(NamedTuple):
    """What a value of one column must be; the same ranges as those of `domain.transaction.Transaction`."""

    column: str
    is_kept: Callable[[pl.DataFrame], pl.Series]
    """Frame with the columns of SCHEMA -> Boolean series, True where the rule is kept; null counts as kept."""
    text: str
    """The rule, to be read after "must be"."""


def _when(expression: pl.Expr) -> Callable[[pl.DataFrame], pl.Series]:
    return lambda frame: frame.select(expression.alias("kept"))["kept"]


def _is_opaque(frame: pl.DataFrame) -> pl.Series:
    card_id = frame["card_id"]
    shaped = card_id.unique().drop_nulls()
    shaped = shaped.filter(shaped.str.contains(_CARD_NUMBER_SHAPE))
    numbers = [text for text in shaped.to_list() if is_card_number(text)]
    return ~card_id.is_in(numbers) if numbers else pl.repeat(value=True, n=frame.height, dtype=pl.Boolean, eager=True)


def _identifier(column: str) -> Rule:
    return Rule(column, _when(pl.col(column).str.len_chars().is_between(1, 64)), "1 to 64 characters")


def _number(column: str, low: float, above: float) -> Rule:
    return Rule(column, _when((pl.col(column) >= low) & (pl.col(column) < above)), f">= {low} and < {above}")


#: Every rule that a row must keep, in the order in which they are reported.
RULES: Final[tuple[Rule, ...]] = (
    *(Rule(column, _when(pl.col(column).is_not_null()), "present in every row") for column in REQUIRED),
    Rule("card_id", _is_opaque, CARD_ID_RULE),
    *(_identifier(column) for column in ("transaction_id", "card_id", "merchant_id", "device_id", "ip")),
    _number("event_time_ms", 0, _LAST_TIME_MS),
    _number("amount_minor", 0, 1 << 40),
    Rule("currency", _when(pl.col("currency").str.contains("^[A-Z]{3}$")), "an ISO 4217 code of three capitals"),
    _number("mcc", 0, 10_000),
    Rule("country", _when(pl.col("country").str.contains("^[A-Z]{2}$")), "an ISO 3166 code of two capitals"),
    Rule("lat", _when(pl.col("lat").is_between(-90, 90)), ">= -90 and <= 90"),
    Rule("lon", _when(pl.col("lon").is_between(-180, 180)), ">= -180 and <= 180"),
    Rule("account_age_days", _when(pl.col("account_age_days") >= 0), ">= 0"),
    _number("label_time_ms", 0, _LAST_TIME_MS),
    Rule("label_time_ms", _when(pl.col("label_time_ms") > pl.col("event_time_ms")), "later than event_time_ms"),
    Rule(
        "is_fraud",
        _when(pl.col("label_time_ms").is_null() | pl.col("is_fraud").is_not_null()),
        "true or false where label_time_ms is given",
    ),
    Rule(
        "label_time_ms",
        _when(pl.col("label_time_ms").is_not_null() | ~pl.col("is_fraud").fill_null(value=False)),
        "given where is_fraud is true (when did it become known?)",
    ),
    # Last, so that of rows that keep all other rules the first one counts.
    Rule("transaction_id", _when(pl.col("transaction_id").is_first_distinct()), "unique"),
)


def read_history(path: Path, *, with_further: bool = True) -> pl.DataFrame:
    """Return the history at `path`, a Parquet file, a folder of them (subfolders included) or an archive, normalised.

    The columns of SCHEMA come first, in its order and types, optional ones that the file lacks filled with null;
    then any further columns, untouched. Rows are sorted by (event_time_ms, transaction_id). Every row keeps RULES.

    Args:
        path: Where.
        with_further: Whether further columns are wanted; without them it takes less memory.

    Raises:
        HistoryError: The message names the column, the rule and the first row that breaks it.
    """
    if is_archive(path):
        from features.archive_history import archive_history  # which normalises its rows by this module

        archived = archive_history(path)
        return archived if with_further else archived.select(*SCHEMA)
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise HistoryError(f"{path} holds no history: expected a Parquet file or a folder of them")
    frames = [_typed(_read_parquet(file, with_further=with_further), str(file)) for file in files]
    return normalised(pl.concat(frames, how="diagonal_relaxed", rechunk=True), str(path))


def write_history(frame: pl.DataFrame, path: Path) -> None:
    """Write `frame` to `path`, replacing what was there. The file appears whole or not at all.

    Raises:
        HistoryError: A required column is missing.
    """
    _check_columns(frame, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        frame.write_parquet(unfinished, compression="zstd")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def normalised(frame: pl.DataFrame, origin: str) -> pl.DataFrame:
    """Return `frame` as `read_history` would; `origin` says in errors where it came from.

    Raises:
        HistoryError: A column is missing or of the wrong type, or a row breaks one of RULES.
    """
    typed = _typed(frame, origin)
    for rule in RULES:
        _check_rule(typed, rule, origin)
    return typed.sort("event_time_ms", "transaction_id")


def known_channel() -> pl.Expr:
    """Return the expression that makes every unknown channel `other`, as decoding a transaction does."""
    is_known = pl.col("channel").is_in(CHANNELS) | pl.col("channel").is_null()
    return pl.when(is_known).then("channel").otherwise(pl.lit("other")).alias("channel")


def in_range(frame: pl.DataFrame, from_ms: int | None = None, to_ms: int | None = None) -> pl.DataFrame:
    """Return the rows with from_ms <= event_time_ms < to_ms; None leaves that end open."""
    low = pl.lit(value=True) if from_ms is None else pl.col("event_time_ms") >= from_ms
    high = pl.lit(value=True) if to_ms is None else pl.col("event_time_ms") < to_ms
    return frame.filter(low & high)


def _read_parquet(file: Path, *, with_further: bool) -> pl.DataFrame:
    try:
        columns = None if with_further else [name for name in pl.read_parquet_schema(file) if name in SCHEMA]
        return pl.read_parquet(file, columns=columns, hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise HistoryError(f"{file} cannot be read as Parquet ({str(error).splitlines()[0]}); use weir import for other formats") from error


def _check_columns(frame: pl.DataFrame, origin: str) -> None:
    if missing := [column for column in REQUIRED if column not in frame.columns]:
        raise HistoryError(f"{origin} lacks the column {', '.join(missing)}; map the file's own names with weir import")


def _typed(frame: pl.DataFrame, origin: str) -> pl.DataFrame:
    _check_columns(frame, origin)
    columns = [_column(frame, name, dtype, origin) for name, dtype in SCHEMA.items()]
    further = [frame[name] for name in frame.columns if name not in SCHEMA]
    typed = pl.DataFrame([*columns, *further])
    return typed.with_columns(known_channel(), pl.col("lat", "lon").fill_nan(None))


def _column(frame: pl.DataFrame, name: str, dtype: pl.DataType, origin: str) -> pl.Series:
    if name not in frame.columns:
        return pl.Series(name, [None], dtype=dtype).new_from_index(0, frame.height)
    column = frame[name]
    found = column.dtype
    fits = found in (dtype, pl.Null)
    fits |= dtype.is_integer() and found.is_integer()
    fits |= dtype.is_float() and found.is_numeric()
    fits |= dtype == pl.String and isinstance(found, (pl.Categorical, pl.Enum))
    if not fits:
        raise HistoryError(f"{origin}: column {name} must be {dtype}, found {found}; convert it with weir import")
    try:
        return column.cast(dtype)
    except pl.exceptions.PolarsError as error:
        raise HistoryError(f"{origin}: column {name} must fit {dtype}, found a value of {found} that does not") from error


def _check_rule(frame: pl.DataFrame, rule: Rule, origin: str) -> None:
    breaks = ~rule.is_kept(frame).fill_null(value=True)
    n_broken = int(breaks.sum())
    if n_broken == 0:
        return
    row = breaks.arg_true()[0]
    found = "value not shown" if rule.column in SECRET_FIELDS else f"found {shown(frame[rule.column][row])}"
    raise HistoryError(
        f"{origin}: {rule.column} must be {rule.text}; {n_broken} of {frame.height} rows break this, "
        f"the first is row {row} ({found}); correct them, or set them aside with weir import"
    )

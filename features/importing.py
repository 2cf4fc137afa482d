"""Turn a foreign table into a history; every row is either kept or set aside with a reason."""

import re
from typing import Final, NamedTuple

import polars as pl

from domain.card_number import is_card_number
from domain.errors import HistoryError
from features.currency import exponent
from features.foreign_field import Field, as_text, read_field, read_number
from features.foreign_table import REASON, ROW, ForeignTable
from features.history import CARD_ID_RULE, RULES, SCHEMA, known_channel
from features.mapping import Mapping

_DAY_MS: Final = 86_400_000
_LONG_NUMBER: Final = r"[0-9](?:[ -]?[0-9]){12,}"


class Imported(NamedTuple):
    """What an import made of a file: `history.height + rejected.height` is the file's number of rows."""

    history: pl.DataFrame
    """The columns of features.history.SCHEMA, sorted by (event_time_ms, transaction_id); every row keeps its RULES."""
    rejected: pl.DataFrame
    """ROW, REASON and the columns read, as text, card numbers masked; sorted by ROW."""

    def reasons(self) -> dict[str, int]:
        """Return the number of rejected rows by reason, most frequent first."""
        counted = self.rejected.group_by(REASON).len().sort(["len", REASON], descending=[True, False])
        return {str(reason): int(n) for reason, n in counted.iter_rows()}


def import_table(table: ForeignTable, mapping: Mapping) -> Imported:
    """Return the history that the mapping makes of the table, and the rows that it cannot make one of.

    A value that is there but cannot be read rejects its row, in optional columns too: nothing is lost silently.
    A row is counted once, under its first reason.

    Raises:
        HistoryError: A constant of the mapping has the wrong type.
    """
    source = table.rows
    kept = source.select(ROW)
    reason = pl.Series(REASON, [None], dtype=pl.String).new_from_index(0, source.height)
    for name, theirs in mapping.columns.items():
        field = read_field(name, source[theirs], mapping)
        kept = kept.with_columns(field.values)
        reason = _first(reason, field.is_unreadable, f"{name} cannot be read as {field.kind}")
    # The prefix would hide the number from the rule, so the value is judged as it came.
    reason = _first(reason, _holds_card_number(source[mapping.columns["card_id"]]), f"card_id must be {CARD_ID_RULE}")
    kept = kept.with_columns(_constant(name, mapping) for name in mapping.constants)
    if mapping.amount:
        amount = _amount_minor(source[mapping.amount.column], kept["currency"], is_major=mapping.amount.unit == "major")
        kept = kept.with_columns(amount.values)
        reason = _first(reason, amount.is_unreadable, f"amount_minor cannot be read as {amount.kind}")
    kept = _completed(kept, mapping)
    aside = [_set_aside(kept, reason)]
    kept = kept.filter(reason.is_null())
    for rule in RULES:
        breaks = ~rule.is_kept(kept).fill_null(value=True)
        if breaks.any():
            aside.append(kept.filter(breaks).select(ROW, pl.lit(f"{rule.column} must be {rule.text}").alias(REASON)))
            kept = kept.filter(~breaks)
    rejected = _masked(pl.concat(aside).join(source, on=ROW, how="left"))
    return Imported(
        kept.select(list(SCHEMA)).sort("event_time_ms", "transaction_id"),
        pl.concat([rejected, _masked(table.unreadable)], how="diagonal").sort(ROW),
    )


def _first(reason: pl.Series, flags: pl.Series, text: str) -> pl.Series:
    if not flags.any():
        return reason
    return pl.DataFrame([reason, flags.alias("flag")]).select(pl.coalesce(REASON, pl.when("flag").then(pl.lit(text))).alias(REASON))[REASON]


def _set_aside(rows: pl.DataFrame, reason: pl.Series) -> pl.DataFrame:
    return rows.select(ROW).with_columns(reason).filter(pl.col(REASON).is_not_null())


def _constant(name: str, mapping: Mapping) -> pl.Expr:
    value = mapping.constants[name]
    field = read_field(name, pl.Series(name, [value]), mapping)
    if field.is_unreadable.any() or field.values.is_null().any():
        raise HistoryError(f"[constants] {name} cannot be read as {field.kind}; found {value!r}")
    return pl.lit(field.values.item()).cast(field.values.dtype).alias(name)


def _amount_minor(column: pl.Series, currency: pl.Series, *, is_major: bool) -> Field:
    number = read_number(column)
    if is_major:
        codes = currency.unique().drop_nulls().to_list()
        factors = currency.replace_strict(codes, [10.0 ** exponent(code) for code in codes], default=100.0, return_dtype=pl.Float64)
        number = number * factors
    # Beyond 2**62 nothing is an amount; it is left for the rule on the range.
    values = number.round(0).clip(-(2.0**62), 2.0**62).cast(pl.Int64).alias("amount_minor")
    given = as_text(column).str.strip_chars()
    return Field(values, values.is_null() & given.is_not_null() & (given != ""), "a number")


def _completed(rows: pl.DataFrame, mapping: Mapping) -> pl.DataFrame:
    """Return the rows with all columns of SCHEMA: times under their own names, label times, nulls for what is not mapped."""
    rows = rows.rename({ours: f"{ours}_ms" for ours in ("event_time", "label_time") if ours in rows.columns})
    if mapping.label:
        delay_ms = round(mapping.label.delay_days * _DAY_MS)
        rows = rows.with_columns(pl.when("is_fraud").then(pl.col("event_time_ms") + delay_ms).alias("label_time_ms"))
    absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in SCHEMA.items() if name not in rows.columns]
    return rows.with_columns(absent).with_columns(known_channel())


def _holds_card_number(column: pl.Series) -> pl.Series:
    text = as_text(column)
    shaped = text.unique().drop_nulls()
    shaped = shaped.filter(shaped.str.contains(_LONG_NUMBER))
    return text.is_in([value for value in shaped.to_list() if is_card_number(value.strip())]).fill_null(value=False)


def _masked(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with everything but ROW as text, and stars for all but the last four digits of card numbers."""
    columns = [as_text(rows[name]) for name in rows.columns if name != ROW]
    return pl.DataFrame([rows[ROW], *(_stars(column) for column in columns)])


def _stars(column: pl.Series) -> pl.Series:
    distinct = column.unique().drop_nulls()
    shaped = distinct.filter(distinct.str.contains(_LONG_NUMBER)).to_list()
    return column.replace(shaped, [re.sub(_LONG_NUMBER, _star, text) for text in shaped]) if shaped else column


def _star(found: re.Match[str]) -> str:
    text = found[0]
    return "*" * (len(text) - 4) + text[-4:] if is_card_number(text) else text

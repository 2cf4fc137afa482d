"""A history as columns for the kernel: the same arithmetic as for records, and entity codes instead of ids."""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features import layout as at
from features.batch import CHANNEL_CODES, Batch, counterparty_hash, country_code, places
from features.currency import Rates, to_base

_ENTITY_COLUMNS = ("card_id", "merchant_id", "device_id", "ip")


class Entities(NamedTuple):
    """One entity type of a history."""

    ids: list[str]
    """Distinct ids."""
    code: NDArray[np.int64]
    """Place in `ids` of each row's entity, -1 = none, (n,)."""


class Columns(NamedTuple):
    """A history of n transactions for the kernel."""

    batch: Batch
    """Its `source` is empty and its `entities` are: codes stand in `entities` here."""
    entities: tuple[Entities, ...]
    """By entity type."""
    counterparty: NDArray[np.int64]
    """Hash of each row's counterparty by entity type, (N_ENTITIES, n)."""


def columns_of(history: pl.DataFrame, rates: Rates) -> Columns:
    """Return the columns of a normalised history (see `features.history`)."""
    n = len(history)
    time_ms = history["event_time_ms"].to_numpy().astype(np.int64)
    amount = to_base(history["amount_minor"].to_numpy().astype(np.int64), factors(history, rates), at.LARGEST_AMOUNT)
    lat, lon = places(
        history["lat"].fill_null(float("nan")).to_numpy().astype(np.float64),
        history["lon"].fill_null(float("nan")).to_numpy().astype(np.float64),
    )
    codes = np.empty((n, 3), np.int32)
    channels = [None, *CHANNEL_CODES]
    numbers = [-1, *CHANNEL_CODES.values()]
    codes[:, 0] = history["channel"].replace_strict(channels, numbers, default=CHANNEL_CODES["other"], return_dtype=pl.Int32).to_numpy()
    codes[:, 1] = history["mcc"].fill_null(-1).to_numpy()
    countries = history["country"].unique().to_list()
    codes[:, 2] = history["country"].replace_strict(countries, [country_code(c) for c in countries], return_dtype=pl.Int32).to_numpy()
    entities = tuple(_entities(history[name]) for name in _ENTITY_COLUMNS)
    card, merchant = (_hashes(found) for found in entities[:2])
    counterparty = np.stack([merchant if kind == at.CARD else card for kind in range(at.N_ENTITIES)])
    nothing = np.empty(0, np.int64)
    batch = Batch(nothing, time_ms, amount, lat, lon, codes, np.zeros(n, np.uint16), ())
    return Columns(batch, entities, counterparty)


def factors(history: pl.DataFrame, rates: Rates) -> NDArray[np.float64]:
    """Return base minor units per minor unit of each row (columns currency, event_time_ms), float64 (n,); NaN = no rate."""
    if history["currency"].n_unique() <= 1 and (len(history) == 0 or history["currency"][0] == rates.base_currency):
        return np.ones(len(history))
    pairs = history.select("currency", (pl.col("event_time_ms") // 86_400_000).alias("day"))
    distinct = pairs.unique()
    found = [rates.factor(c, d * 86_400_000) for c, d in distinct.iter_rows()]
    joined = pairs.join(
        distinct.with_columns(pl.Series("factor", found, pl.Float64)), on=["currency", "day"], how="left", maintain_order="left"
    )
    return joined["factor"].to_numpy().astype(np.float64)


def _entities(ids: pl.Series) -> Entities:
    distinct = ids.drop_nulls().unique().sort()
    if len(distinct) == 0:
        return Entities([], np.full(len(ids), -1, np.int64))
    table = pl.DataFrame([distinct.alias("id"), pl.int_range(len(distinct), dtype=pl.Int64, eager=True).alias("code")])
    codes = ids.alias("id").to_frame().join(table, on="id", how="left", maintain_order="left")["code"]
    return Entities(distinct.to_list(), codes.fill_null(-1).to_numpy())


def _hashes(entities: Entities) -> NDArray[np.int64]:
    hashes = np.fromiter((counterparty_hash(i) for i in entities.ids), np.int64, len(entities.ids))
    return hashes[entities.code]

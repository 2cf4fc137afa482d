"""The columns of archived topics: where each record stood, its decoded fields, its bytes where they cannot be decoded."""

from typing import Final

import polars as pl

TRANSACTIONS: Final = "transactions.v1"
LABELS: Final = "labels.v1"
SCORES: Final = "scores.v1"
ALERTS: Final = "alerts.v1"
FEATURE_ROWS: Final = "features.v1"

Schema = dict[str, pl.DataType]

#: Where a record stood. `append_ms` is the broker's append time: UTC, milliseconds since the epoch.
PLACE: Final[Schema] = {"topic_uuid": pl.String(), "partition": pl.Int32(), "offset": pl.Int64(), "append_ms": pl.Int64()}
#: The record's bytes (a card number masked) if it cannot be decoded, all other fields null then; null if it was decoded.
UNDECODABLE: Final = "undecodable"

_TRANSACTION: Final[Schema] = {
    "transaction_id": pl.String(),
    "card_id": pl.String(),
    "amount_minor": pl.Int64(),
    "currency": pl.String(),
    "merchant_id": pl.String(),
    "event_time_ms": pl.Int64(),
    "device_id": pl.String(),
    "ip": pl.String(),
    "mcc": pl.Int32(),
    "country": pl.String(),
    "channel": pl.String(),
    "lat": pl.Float64(),
    "lon": pl.Float64(),
    "account_age_days": pl.Int32(),
    "extra": pl.String(),
}
_LABEL: Final[Schema] = {
    "transaction_id": pl.String(),
    "is_fraud": pl.Boolean(),
    "label_time_ms": pl.Int64(),
    "source": pl.String(),
    "event_time_ms": pl.Int64(),
    "card_id": pl.String(),
    "merchant_id": pl.String(),
    "device_id": pl.String(),
    "ip": pl.String(),
}
#: The source (partition, offset) of an answer, in place of the pair on the wire.
_SOURCE: Final[Schema] = {"source_partition": pl.Int32(), "source_offset": pl.Int64()}
_SCORE: Final[Schema] = {
    "transaction_id": pl.String(),
    "card_id": pl.String(),
    "event_time_ms": pl.Int64(),
    "scored_at_ms": pl.Int64(),
    "probability": pl.Float64(),
    "decision": pl.String(),
    "tier": pl.String(),
    "flags": pl.List(pl.String()),
    "model": pl.String(),
    "variant": pl.String(),
    "policy": pl.String(),
    "spec": pl.String(),
    **_SOURCE,
    "shadow": pl.Struct({"model": pl.String(), "probability": pl.Float64()}),
    "rule": pl.String(),
    "control": pl.Boolean(),
    "control_p": pl.Float64(),
}
_REASON: Final = pl.Struct(
    {
        "code": pl.String(),
        "text": pl.String(),
        "feature": pl.String(),
        "value": pl.Float64(),
        "usual": pl.Float64(),
        "contribution": pl.Float64(),
    }
)
_ALERT: Final[Schema] = {
    **_SCORE,
    "amount_minor": pl.Int64(),
    "currency": pl.String(),
    "merchant_id": pl.String(),
    "reasons": pl.List(_REASON),
    "extra": pl.String(),
}
_FEATURE_ROW: Final[Schema] = {
    "transaction_id": pl.String(),
    "kind": pl.String(),
    "flags": pl.List(pl.String()),
    **_SOURCE,
    "time_ms": pl.Int64(),
    "spec": pl.String(),
    "positions": pl.List(pl.Int32()),
    "vector": pl.Binary(),
}


def _whole(fields: Schema) -> Schema:
    return {**PLACE, **fields, UNDECODABLE: pl.Binary()}


#: Archived topic (name without the installation's prefix) -> its columns, in their order.
SCHEMAS: Final[dict[str, Schema]] = {
    TRANSACTIONS: _whole(_TRANSACTION),
    LABELS: _whole(_LABEL),
    SCORES: _whole(_SCORE),
    ALERTS: _whole(_ALERT),
    FEATURE_ROWS: _whole(_FEATURE_ROW),
}

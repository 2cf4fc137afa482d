"""Whether alerts are still right: outcomes of archived alerts, in event-time order, for the test of a changed concept."""

from collections import deque
from pathlib import Path
from typing import Final

import polars as pl

from domain.decision import Flag
from features.archive_reader import read_archive
from features.archive_schema import ALERTS, LABELS
from monitoring.concept import Alerts, ConceptChange, concept_changes, matured_outcomes

_ALERT_COLUMNS: Final = ["transaction_id", "event_time_ms", "model", "policy", "flags", "undecodable"]
_LABEL_COLUMNS: Final = ["transaction_id", "label_time_ms", "is_fraud", "undecodable"]


def newest_change(archive: Path, model: str, policy: str, *, maturity_ms: int, now_ms: int) -> ConceptChange | None:
    """Return the newest change of the share of right alerts, None if there is none. It takes time.

    Args:
        archive: Its folder.
        model: `name@version`; with another one, or another policy, the outcomes begin anew.
        policy: Version of the thresholds.
        maturity_ms: Age at which an alert without a report of fraud counts as wrong.
        now_ms: The archive's own time.

    Raises:
        HistoryError: The archive cannot be read.
    """
    outcomes = matured_outcomes(_alerts(archive, model, policy), maturity_ms=maturity_ms, now_ms=now_ms)
    return next(iter(deque(concept_changes(*outcomes), maxlen=1)), None)


def _alerts(archive: Path, model: str, policy: str) -> Alerts:
    """Return each alert once, with the first report of fraud, unless the last word on it is that it was none."""
    alerts = (
        read_archive(archive, ALERTS, _ALERT_COLUMNS)
        .filter(pl.col("undecodable").is_null() & (pl.col("model") == model) & (pl.col("policy") == policy))
        .filter(~pl.col("flags").list.contains(Flag.DUPLICATE.value))
        .unique("transaction_id", keep="first")
        .select("transaction_id", "event_time_ms")
    )
    frauds = (
        read_archive(archive, LABELS, _LABEL_COLUMNS)
        .filter(pl.col("undecodable").is_null())
        .sort("label_time_ms", maintain_order=True)
        .group_by("transaction_id")
        .agg(pl.col("is_fraud").last().alias("is_fraud_now"), pl.col("label_time_ms").filter(pl.col("is_fraud")).first())
        .filter(pl.col("is_fraud_now"))
    )
    found = alerts.join(frauds, on="transaction_id", how="left").with_columns(pl.col("label_time_ms").fill_null(-1))
    return Alerts(found["event_time_ms"].to_numpy(), found["label_time_ms"].to_numpy())

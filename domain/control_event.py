"""What happened to the installation, for people and other systems: a record of `control.v1`, keyed by what it is about."""

from typing import Literal

import msgspec


class ControlEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The newest word about one thing; an earlier record of the same key is out of date. Readers tolerate unknown fields."""

    event: Literal["incident"]
    """An alarm of the drift engine began, grew or ended."""
    id: str
    """Key of the record."""
    at_ms: int
    """Wall clock when it was said: UTC, milliseconds since the epoch."""
    state: Literal["open", "ended"]
    kind: str
    """`feature_drift`, `missing`, `score_drift`, `alert_rate` or `concept`."""
    severity: str
    """`attention` or `alarm`."""
    model: str
    """`name@version`."""
    features: tuple[str, ...]
    """By importance."""
    started_ms: int
    """Event time: UTC, milliseconds since the epoch."""
    ended_ms: int | None = None
    sentence: str
    """What changed, by how much, what it weighs and does to the score."""
    advice: str
    runbook: str
    """Where the runbook says what to do."""

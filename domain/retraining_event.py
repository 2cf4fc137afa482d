"""What came of a retraining that an alarm began: a record of `control.v1`, for people and other systems."""

from typing import Literal

import msgspec


class RetrainingEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The newest word about a candidate trained for an alarm. Readers tolerate unknown fields."""

    event: Literal["retraining"]
    id: str
    """Key of the record."""
    at_ms: int
    """Wall clock when it was said: UTC, milliseconds since the epoch."""
    incident: str
    """Key of the alarm that began it."""
    outcome: Literal["shadow", "registered", "refused", "unchanged", "failed"]
    """shadow: the candidate passed the gate and is on trial; registered: it passed and waits; refused: by the gate; unchanged: it is
    the champion again, or on trial before; failed: there is no candidate."""
    model: str = ""
    """`name@version` of the candidate."""
    champion: str = ""
    """`name@version` that it was compared with."""
    sentence: str

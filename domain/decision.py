"""What weir answers: a score for every transaction, an alert for the suspicious ones."""

from enum import StrEnum
from functools import cache
from typing import Final, Literal

import msgspec

Outcome = Literal["approve", "review", "decline"]
Variant = Literal["champion", "challenger"]


class Tier(StrEnum):
    """Which model answered, from best to last resort."""

    FULL = "full"
    SMALL = "small"
    RULES = "rules"
    DEGRADED = "degraded"


class Flag(StrEnum):
    """What was unusual about a transaction or its answer; the value is the name on the wire."""

    LATE = "late"
    STALE = "stale"
    FUTURE = "future"
    CURRENCY_UNKNOWN = "currency_unknown"
    DUPLICATE = "duplicate"
    DEGRADED = "degraded"
    RESTATED = "restated"
    REPLAY_APPROX = "replay_approx"
    CONTROL = "control"


#: Bit of each flag in arrays and feature rows: 1 << place.
FLAG_BITS: Final = {flag: 1 << place for place, flag in enumerate(Flag)}


@cache
def flag_names(bits: int) -> tuple[str, ...]:
    """Return the flags that `bits` holds, in the order of `Flag`.

    >>> flag_names(FLAG_BITS[Flag.STALE] | FLAG_BITS[Flag.LATE])
    ('late', 'stale')
    """
    return tuple(flag.value for flag, bit in FLAG_BITS.items() if bits & bit)


class Shadow(msgspec.Struct, frozen=True):
    """What another model would have said."""

    model: str
    probability: float


class Score(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The answer to one transaction. Two answers are the same when all fields but `scored_at_ms` are equal."""

    transaction_id: str
    card_id: str
    event_time_ms: int
    scored_at_ms: int
    """Wall clock of the worker: UTC, milliseconds since the epoch."""
    probability: float
    """Calibrated probability of fraud, in [0, 1]."""
    decision: Outcome
    tier: Tier
    flags: tuple[str, ...]
    """Names of `Flag`, in its order."""
    model: str
    """`name@version`."""
    variant: Variant
    policy: str
    """Version of the policy that decided."""
    spec: str
    """Feature fingerprint."""
    source: tuple[int, int]
    """(partition, offset) of the transaction."""
    shadow: Shadow | None = None
    rule: str | None = None
    """The list or limit that decided, if one did."""
    control: bool | None = None
    """True: drawn for random review."""
    control_p: float | None = None


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One reason for an alert, from a stable vocabulary."""

    code: str
    text: str
    """One readable sentence."""
    feature: str
    value: float | None
    """The feature's value; None where it is missing."""
    usual: float | None = None
    """What is usual for this card (or in training), in the same unit."""
    contribution: float
    """Share in the score, in log-odds."""


class Alert(Score, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A score whose decision is `review` or `decline`, with its reasons."""

    amount_minor: int
    currency: str
    merchant_id: str
    reasons: tuple[Reason, ...]
    """At most five, the strongest first."""
    extra: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

"""What was done about dead letters, as it stands on `control.v1`: for the team, and for the next run."""

from typing import Literal

import msgspec

Action = Literal["replayed", "discarded"]


class DeadLetterAction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event", tag="dead_letter_action"):
    """One dead letter was handled: the audit line. Unknown fields are tolerated: newer versions write first."""

    action: Action
    topic: str
    """Full name of the dead-letter topic."""
    partition: int
    offset: int
    append_ms: int
    """When the dead letter was appended; tells it from one at the same place of a topic that was made anew."""
    user: str
    """Of the operating system."""
    host: str
    time_ms: int
    """When it was handled: UTC, milliseconds since the epoch."""
    run: str
    """Identity of the command's run."""
    reason: str
    """Replayed: why the record had been rejected. Discarded: why nothing is to be done about it."""
    attempt: int | None = None
    """Replayed: which try of the record this is, the first one included."""
    to_topic: str | None = None
    """Replayed: full name of the topic that the record went back to."""
    to_partition: int | None = None
    to_offset: int | None = None
    is_recovered: bool = False
    """True: the run ended between sending and this line, which a later run wrote."""


class DeadLetterTurn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event", tag="dead_letter_turn"):
    """A run has its turn, and tells what it is about to send."""

    run: str
    user: str
    host: str
    process: int
    """Process id on `host`."""
    time_ms: int
    """UTC, milliseconds since the epoch."""
    takes_over: str = ""
    """A run that is known to have died."""
    sending: tuple[tuple[str, str], ...] = ()
    """Origin (see `stream.dead_letter.replay_headers`) and reason of each dead letter that may be sent from now on."""
    ends: tuple[tuple[str, int, int], ...] = ()
    """Topic, partition and its end before that: where to look for what was sent."""


ControlEvent = DeadLetterAction | DeadLetterTurn

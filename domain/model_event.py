"""What changed about who decides: a record of `control.v1`, for people and other systems."""

from typing import Literal

import msgspec

ModelEventName = Literal["model_promoted", "policy_changed", "rollout_started", "rollout_ended", "bundle_refused"]


class ModelEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A worker serves otherwise than before, or refused to; the newest word of its kind. Readers tolerate unknown fields."""

    event: ModelEventName
    id: str
    """Key of the record: the kind of event, and for `bundle_refused` the model. All workers say the same under one key."""
    at_ms: int
    """Wall clock of the worker: UTC, milliseconds since the epoch. It answers so from the next chunk on."""
    worker: str
    """The one that says so; the others do the same within their poll (setting model.poll_s)."""
    model: str
    """`name@version` that the event is about."""
    policy: str = ""
    """Version of the policy under which it decides now."""
    live: str = ""
    """Version of the live policy in the registry, which is a part of `policy`; empty: the bundle's own decides alone."""
    previous: str = ""
    """What was in force before: a model, or a policy."""
    mode: Literal["", "shadow", "canary"] = ""
    """Of a rollout."""
    percent: float = 0.0
    """Cards that the challenger answers."""
    who: str = ""
    why: str = ""
    sentence: str

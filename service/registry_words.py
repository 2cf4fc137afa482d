"""The registry's history in sentences."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.registry_history import Event


def event_sentence(event: "Event") -> str:
    """Return one event as a sentence: what happened, by whom, why.

    >>> from models.registry_history import Event
    >>> event_sentence(Event(0, "promoted", "weir@1", {}, who="ann", why="it is better"))
    'weir@1 promoted to champion by ann: it is better'
    """
    by = f" by {event.who}" if event.who else ""
    because = f": {event.why}" if event.why else ""
    return f"{_what(event)}{by}{because}"


def _what(event: "Event") -> str:
    match event.event:
        case "registered":
            is_first = event.aliases.get("champion") == event.model
            return f"{event.model} registered" + (", the first champion" if is_first else "")
        case "promoted":
            return f"{event.model} promoted to champion" + (" although the gate refused it" if event.is_forced else "")
        case "rolled_back":
            return f"{event.model} champion again, rolled back to"
        case "shadow":
            return f"{event.model} scores beside the champion"
        case "canary":
            percent = event.rollout.percent if event.rollout else 0.0
            return f"{event.model} decides for {percent:g} % of the cards"
        case "ended":
            return f"trial of {event.model} ended"
        case "policy":
            return f"policy {event.policy} set" if event.policy else "policy removed: each model's own is in force"
        case "collected":
            return f"{event.model} deleted"

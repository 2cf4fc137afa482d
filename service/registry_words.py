"""The registry's history in sentences."""

from models.registry_history import CHAMPION, Event


def event_sentence(event: Event) -> str:
    """Return one event as a sentence: what happened, by whom, why.

    >>> event_sentence(Event(0, "promoted", "weir@1", {}, who="ann", why="it is better"))
    'weir@1 promoted to champion by ann: it is better'
    """
    model = f"{event.model} " if event.model else ""
    by = f" by {event.who}" if event.who else ""
    because = f": {event.why}" if event.why else ""
    return f"{model}{what_happened(event)}{by}{because}"


def what_happened(event: Event) -> str:
    """Return what happened to the event's model, to stand behind its name."""
    match event.event:
        case "registered":
            return "registered" + (", the first champion" if event.aliases.get(CHAMPION) == event.model else "")
        case "promoted":
            return "promoted to champion" + (" although the gate refused it" if event.is_forced else "")
        case "rolled_back":
            return "champion again after a rollback"
        case "shadow":
            return "scores beside the champion"
        case "canary":
            return f"decides for {event.rollout.percent if event.rollout else 0:g} % of the cards"
        case "ended":
            return "no longer on trial"
        case "policy" if not event.policy:
            return "live policy removed, each model's own is in force"
        case "policy":
            return f"{'gets' if event.model else 'every model gets'} the live policy {event.policy}"
        case "collected":
            return "deleted"

"""What changed between two lineups, in events and sentences. Pure."""

from collections.abc import Sequence

from domain.model_event import ModelEvent, ModelEventName
from models.registry_history import Event, EventName
from stream.lineup import Lineup, model_of


def changes(before: Lineup, after: Lineup, history: Sequence[Event], *, worker: str, at_ms: int) -> list[ModelEvent]:
    """Return what is new about who decides.

    Args:
        before: Answered so far.
        after: Answers from now on.
        history: Of the registry: who did it and why.
        worker: That changes.
        at_ms: Wall clock.
    """

    def event(kind: ModelEventName, model: str, sentence: str, causes: Sequence[EventName], **more: object) -> ModelEvent:
        cause = next((found for found in reversed(history) if found.event in causes), None)
        fields = {
            "policy": after.champion.policy_version, "live": history[-1].policy if history else "",
            "who": cause.who if cause else "", "why": cause.why if cause else "",
        } | more  # fmt: skip
        return ModelEvent(event=kind, id=kind, at_ms=at_ms, worker=worker, model=model, sentence=sentence, **fields)  # type: ignore[arg-type]  # of the fields above

    found = []
    old, new = model_of(before.champion), model_of(after.champion)
    if new != old:
        sentence = f"{new} decides now, {old} did before."
        found.append(event("model_promoted", new, sentence, ("promoted", "rolled_back", "registered"), previous=old))
    elif after.champion.policy_version != before.champion.policy_version:
        was = before.champion.policy_version
        sentence = f"{new} decides under policy {after.champion.policy_version} now, under {was} before."
        found.append(event("policy_changed", new, sentence, ("policy",), previous=was))
    if _trial(before) != _trial(after):
        if before.challenger is not None and (after.challenger is None or _trial(before)[:2] != _trial(after)[:2]):
            model = model_of(before.challenger)
            how = "it decides everything now" if model == new else "it decides nothing any more"
            sentence = f"The {before.mode} of {model} has ended: {how}."
            found.append(event("rollout_ended", model, sentence, ("ended", "promoted", "rolled_back"), mode=before.mode))
        if after.challenger is not None:
            model = model_of(after.challenger)
            what = "scores everything and decides nothing" if after.mode == "shadow" else f"decides for {after.percent:g} % of the cards"
            found.append(
                event(
                    "rollout_started", model, f"{model} {what}.", ("shadow", "canary"), mode=after.mode, percent=after.percent,
                    policy=after.challenger.policy_version,
                )
            )  # fmt: skip
    return found


def refused(what: str, reason: str, lineup: Lineup, *, worker: str, at_ms: int) -> ModelEvent:
    """Return the event of a model or policy that may not answer.

    Args:
        what: `name@version`, or the policy.
        reason: In one sentence.
        lineup: Goes on answering.
        worker: That refused it.
        at_ms: Wall clock.
    """
    champion = model_of(lineup.champion)
    sentence = f"{what} is refused, {champion} goes on answering: {reason}"
    return ModelEvent(
        event="bundle_refused", id=f"bundle_refused:{what}", at_ms=at_ms, worker=worker, model=what, policy=lineup.champion.policy_version,
        sentence=sentence,
    )  # fmt: skip


def _trial(lineup: Lineup) -> tuple[str, str, float, int]:
    if lineup.challenger is None:
        return "", "", 0.0, 0
    return lineup.mode, model_of(lineup.challenger), lineup.percent, lineup.started_ms

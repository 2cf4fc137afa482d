"""How an answer came about, in sentences: which model saw what, and how its probability became a decision."""

from typing import Final, NamedTuple

from domain.decision import Flag, Outcome, Tier
from models.policy import Thresholds
from monitoring.figures import share

_TIERS: Final = {
    Tier.FULL: "the whole ensemble scored it on all features",
    Tier.SMALL: "the small model scored it, because the ensemble could not in time",
    Tier.RULES: "rules decided, because no model could",
    Tier.DEGRADED: "it was scored on its own fields alone, because the history in Redis was not available",
}
_FLAGS: Final = {
    Flag.LATE: "it came more than 10 minutes behind a newer transaction of one of its entities, and was counted at its own time",
    Flag.STALE: "it was more than 30 days behind the newest transaction of one of its entities, and changed nothing there",
    Flag.FUTURE: "its event time was more than 5 minutes ahead of the broker, whose time was taken",
    Flag.CURRENCY_UNKNOWN: "its currency has no rate, so its amount counted as missing",
    Flag.DUPLICATE: "its transaction_id had been sent before, so it got the first answer again and counted nothing",
    Flag.DEGRADED: "it was answered without history during an outage of Redis",
    Flag.RESTATED: "it was answered once more, with its history, after an outage",
    Flag.REPLAY_APPROX: "its place in the order of events was lost, so features may differ a little from an exact replay",
    Flag.CONTROL: "it was drawn for the random review sample",
}
_OUTCOMES: Final[dict[Outcome, str]] = {"approve": "approved", "review": "marked for review", "decline": "declined"}


class Answer(NamedTuple):
    """An answer, as far as it is known."""

    outcome: Outcome
    probability: float
    tier: Tier
    flags: tuple[str, ...]
    model: str
    """`name@version`; empty: not known."""
    policy: str
    """Version of the thresholds."""
    rule: str | None = None
    control_p: float | None = None


def decision_path(answer: Answer, thresholds: Thresholds | None) -> list[str]:
    """Return how an answer came about, a sentence each, in order.

    Args:
        answer: The answer.
        thresholds: Those of its policy and tier; None: not known.

    >>> answer = Answer("approve", 0.031, Tier.FULL, (), "weir@1f2e3d", "77aa")
    >>> print(decision_path(answer, Thresholds(0.2, 0.6))[-1])
    The probability of fraud, 3.1 %, is below the threshold for review (20.0 %): approved.
    """
    by = f"Model {answer.model}, policy {answer.policy}" if answer.model else "A model that is not noted"
    path = [f"{by}: {_TIERS[answer.tier]}."]
    known = {flag.value: text for flag, text in _FLAGS.items()}
    path += [f"Flag {name}: {known[name]}." for name in answer.flags if name in known]
    if answer.rule is not None:
        return [*path, f"The rule {answer.rule} decided: {_OUTCOMES[answer.outcome]}."]
    path.append(_compared(answer, thresholds))
    if answer.control_p is not None:
        path.append(f"Of transactions like it {share(answer.control_p)} are drawn for random review, whatever their score.")
    return path


def _compared(answer: Answer, limits: Thresholds | None) -> str:
    found = f"The probability of fraud, {share(answer.probability)},"
    if limits is None:
        return f"{found} was {_OUTCOMES[answer.outcome]}; the thresholds of policy {answer.policy or '?'} are not known here."
    review, decline = f"for review ({share(limits.review)})", f"for decline ({share(limits.decline)})"
    said: Outcome = "decline" if answer.probability >= limits.decline else "review" if answer.probability >= limits.review else "approve"
    compared = {
        "approve": f"is below the threshold {review}",
        "review": f"is at or above the threshold {review} and below that {decline}",
        "decline": f"is at or above the threshold {decline}",
    }[said]
    if said == answer.outcome:
        return f"{found} {compared}: {_OUTCOMES[said]}."
    if answer.outcome == "review" and Flag.CONTROL.value in answer.flags:
        return f"{found} {compared}, but it was released for review as part of the random sample (setting scoring.release_control)."
    return f"{found} {compared}, yet it was {_OUTCOMES[answer.outcome]}: something other than the model's own policy decided."

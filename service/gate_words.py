"""A verdict of the gate as people read it: on a terminal, and behind a model's card."""

from models.gate import Verdict


def verdict_text(verdict: Verdict) -> str:
    """Return a verdict as lines: check, outcome, sentence."""
    width = max((len(check.name) for check in verdict.checks), default=0) + 2
    lines = [f"{check.name:<{width}}{check.outcome:<14}{check.sentence}" for check in verdict.checks]
    return "\n".join([f"{_head(verdict)}: {verdict.outcome}", "", *lines])


def verdict_markdown(verdict: Verdict) -> str:
    """Return a verdict as a chapter of a model's card."""
    rows = [f"| {check.name} | {check.outcome} | {check.sentence.replace('|', '/')} |" for check in verdict.checks]
    head = ["## The gate", f"{verdict.outcome.capitalize()}: {_head(verdict)}.", ""]
    return "\n".join([*head, "| check | outcome | found |", "|---|---|---|", *rows, ""])


def _head(verdict: Verdict) -> str:
    compared = f"against {verdict.champion}" if verdict.champion else "without a champion to compare with"
    return f"{verdict.model} {compared}, on {verdict.history}"

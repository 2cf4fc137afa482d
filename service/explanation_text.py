"""An explanation as people read it on a terminal."""

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from features.currency import exponent
from monitoring.explanation import ExplainedFeature, Explanation
from monitoring.figures import UNKNOWN, moment, quantity, share
from service.dead_letter_text import printable

#: Features that are shown unless all are asked for: these many, by contribution.
_STRONGEST: Final = 12
_COLOURS: Final = {"approve": "green", "review": "yellow", "decline": "bold red"}
_FIRST: Final = ("event_time_ms", "amount_minor", "currency", "card_id", "merchant_id")


def print_explanation(explanation: Explanation, *, show_all: bool) -> None:
    """Print an explanation to standard output, in colours where the terminal can."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(_headline(explanation))
    for sentence in explanation.decision_path:
        console.print(Text(f"  {printable(sentence)}"))
    _print_fields(console, explanation)
    _print_reasons(console, explanation)
    _print_features(console, explanation, show_all=show_all)
    if explanation.labels:
        console.print(Text("Labels", "bold"))
    for label in explanation.labels:
        by = f" by {printable(label.source)}" if label.source else ""
        console.print(Text(f"  {moment(label.at_ms)}  {'fraud' if label.is_fraud else 'genuine'}{by}"))
    if explanation.missing:
        console.print(Text("Not known", "bold"))
    for sentence in explanation.missing:
        console.print(Text(f"  {printable(sentence)}", "dim"))


def _headline(explanation: Explanation) -> Text:
    text = Text(printable(explanation.transaction_id), "bold")
    score = explanation.score or {}
    decision, probability = score.get("decision"), score.get("probability")
    if isinstance(decision, str):
        text.append(f"  {decision.upper()}", _COLOURS.get(decision, ""))
    if isinstance(probability, float):
        text.append(f"  {share(probability)}")
    text.append(f"  (from the {explanation.found_in})", "dim")
    return text


def _print_fields(console: Console, explanation: Explanation) -> None:
    fields = explanation.transaction or {}
    if not fields:
        return
    console.print(Text("What arrived", "bold"))
    names = [name for name in _FIRST if name in fields] + [name for name in fields if name not in _FIRST and name != "transaction_id"]
    for name in names:
        console.print(Text(f"  {printable(name):<18}{_shown(name, fields)}"))


def _shown(name: str, fields: dict[str, object]) -> str:
    value, currency = fields[name], str(fields.get("currency", ""))
    if name.endswith("_ms") and isinstance(value, int):
        return moment(value)
    if name == "amount_minor" and isinstance(value, int):
        digits = exponent(currency)
        return f"{value / 10**digits:,.{digits}f} {printable(currency)}"
    return repr(value) if isinstance(value, float) else printable(str(value))


def _print_reasons(console: Console, explanation: Explanation) -> None:
    reasons = (explanation.score or {}).get("reasons")
    if not isinstance(reasons, list) or not reasons:
        return
    console.print(Text("Reasons of the alert", "bold"))
    for reason in reasons:
        if isinstance(reason, dict):
            console.print(Text(f"  {_signed(reason.get('contribution')):>7}  {printable(str(reason.get('text', '')))}"))


def _print_features(console: Console, explanation: Explanation, *, show_all: bool) -> None:
    chosen = explanation.features if show_all else explanation.features[:_STRONGEST]
    if not chosen:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("contribution", "value"):
        table.add_column(title, justify="right")
    for title in ("usual", "feature", ""):
        table.add_column(title, overflow="fold")
    for feature in chosen:
        mark = Text("unusual", "yellow") if feature.is_unusual else Text("")
        value, currency = feature.value, explanation.base_currency
        usual = _usual(feature, currency)
        shown = quantity(value, feature.unit, currency=currency, name=feature.name)
        table.add_row(_signed(feature.contribution), shown, usual, f"{feature.name}: {feature.description}", mark)
    n_unusual = sum(feature.is_unusual for feature in explanation.features)
    title = f"Features ({len(chosen)} of {len(explanation.features)}; {n_unusual} unusual; contributions in log-odds, of the booster)"
    console.print(Text(title, "bold"))
    console.print(table)


def _usual(feature: ExplainedFeature, currency: str) -> str:
    if feature.usual_low is None and feature.usual_high is None:
        return UNKNOWN
    low, high = (
        UNKNOWN if bound is None else quantity(bound, feature.unit, currency=currency, name=feature.name)
        for bound in (feature.usual_low, feature.usual_high)
    )
    return low if low == high else f"{low} to {high}"


def _signed(value: object) -> str:
    return f"{value:+.2f}" if isinstance(value, int | float) else UNKNOWN

"""Answers and dead letters as people read them: one or a few lines each, coloured where the terminal can."""

import base64
from typing import Any, Final

from rich.text import Text

from domain.card_mask import mask_card_bytes
from domain.decision import Alert, Score
from features.currency import exponent
from service.dead_letter_text import printable
from service.times import format_time
from stream.records import Record

_COLOURS: Final = {"approve": "green", "review": "yellow", "decline": "bold red"}


def money(amount_minor: int, currency: str) -> str:
    """Return an amount in major units.

    >>> money(123456, "EUR"), money(500, "JPY")
    ('1,234.56 EUR', '500 JPY')
    """
    digits = exponent(currency)
    return f"{amount_minor / 10**digits:,.{digits}f} {currency}"


def score_text(score: Score) -> Text:
    """Return a score on one line."""
    text = Text(f"{format_time(score.event_time_ms)}  ")
    text.append(f"{score.decision:<7}", _COLOURS[score.decision])
    text.append(f"  {score.probability:.4f}  {score.transaction_id}  card {score.card_id}  {score.model} {score.tier.value}")
    if score.variant != "champion":
        text.append(f"  {score.variant}", "cyan")
    if score.rule is not None:
        text.append(f"  rule {score.rule}", "cyan")
    if score.flags:
        text.append("  " + " ".join(score.flags), "magenta")
    return text


def alert_text(alert: Alert) -> Text:
    """Return an alert: a line with the transaction, then one line for each reason."""
    text = Text(f"{format_time(alert.event_time_ms)}  ")
    text.append(alert.decision.upper(), _COLOURS[alert.decision])
    text.append(f"  {alert.probability:.1%}  {money(alert.amount_minor, alert.currency)} at {alert.merchant_id}")
    text.append(f"  card {alert.card_id}  {alert.transaction_id}", "dim")
    if alert.flags:
        text.append("  " + " ".join(alert.flags), "magenta")
    if alert.rule is not None:
        text.append(f"\n    - the rule {alert.rule} decided it", "cyan")
    for reason in alert.reasons:
        text.append(f"\n    - {reason.text}")
    return text


def dead_letter(record: Record) -> dict[str, Any]:
    """Return a dead letter as JSON values: place, key, headers, and the value as text (`value`) or base64 (`value_base64`).

    Card numbers are masked everywhere.
    """
    found: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "time_ms": record.timestamp,
        "key": None if record.key is None else _masked(record.key),
        "headers": dict(_masked(b"%b:%b" % (name.encode(), value)).split(":", 1) for name, value in record.headers),
    }
    value = None if record.value is None else mask_card_bytes(record.value)
    try:
        found["value"] = None if value is None else value.decode()
    except UnicodeDecodeError:
        found["value_base64"] = base64.b64encode(value or b"").decode()
    return found


def dead_letter_text(record: Record) -> Text:
    """Return a dead letter on two lines: why and where from, then the beginning of its value; fit for a terminal."""
    found = dead_letter(record)
    headers = {name: printable(value) for name, value in found["headers"].items()}
    text = Text(f"{format_time(record.timestamp)}  ")
    text.append(headers.get("error", "?"), "bold red")
    text.append(
        f"  {headers.get('topic', '?')}[{headers.get('partition', '?')}]@{headers.get('offset', '?')}: {headers.get('reason', '?')}"
    )
    shown = repr(found["value"]) if "value" in found else f"base64 {found['value_base64']}"
    text.append(f"\n    {shown if len(shown) <= 200 else shown[:200] + '...'}", "dim")
    return text


def _masked(data: bytes) -> str:
    return mask_card_bytes(data).decode("utf-8", "backslashreplace")

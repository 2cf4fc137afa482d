"""Dead letters as people and programs read them; card numbers are masked everywhere."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from domain.card_mask import mask_card_numbers
from service.dead_letter_log import Handled
from service.dead_letter_verdict import Step
from service.dead_letters import DeadLetter
from service.times import format_time

HEADINGS: Final = ("place", "appended", "error", "field", "tries", "state", "key", "reason")
_WIDTHS: Final = (30, 21, 19, 16, 6, 10, 18)
_LONGEST_VALUE: Final = 20_000


def printable(text: str) -> str:
    r"""Return `text` on one line, without card numbers and without what a terminal would obey.

    >>> printable("4111111111111111 \x1b[2J")
    '************1111 \\x1b[2J'
    """
    masked = mask_card_numbers(text)
    return masked if masked.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in masked)


def key_text(letter: DeadLetter) -> str | None:
    """Return the key, fit for a terminal."""
    return None if letter.key is None else printable(letter.key.decode("utf-8", "backslashreplace"))


def row(letter: DeadLetter, handled: Handled | None) -> dict[str, Any]:
    """Return a dead letter as JSON values, without its content."""
    return {
        "place": str(letter.place),
        "time_ms": letter.append_ms,
        "error": printable(letter.error),
        "reason": printable(letter.reason),
        "field": None if letter.field is None else printable(letter.field),
        "topic": printable(letter.topic),
        "partition": letter.partition,
        "offset": letter.offset,
        "append_ms": letter.record_append_ms,
        "attempts": letter.attempts,
        "replay_of": None if letter.replay_of is None else printable(letter.replay_of),
        "key": key_text(letter),
        "bytes": len(letter.value or b""),
        "state": "open" if handled is None else handled.action,
        "handled": None if handled is None else _handled(handled),
    }


def table_row(cells: Iterable[str]) -> str:
    """Return the cells of a line in columns; the last one takes what it needs."""
    *narrow, last = cells
    return " ".join(cell.ljust(width) for cell, width in zip(narrow, _WIDTHS, strict=True)) + f" {last}"


def list_line(letter: DeadLetter, handled: Handled | None) -> str:
    """Return a dead letter on one line of the table."""
    found = row(letter, handled)
    cells = (
        found["place"], format_time(letter.append_ms), found["error"], found["field"] or "-", str(letter.attempts), found["state"],
        found["key"] or "-", found["reason"],
    )  # fmt: skip
    return table_row(cells)


def step_line(step: Step) -> str:
    """Return on one line what became, or would become, of a dead letter."""
    letter, why, message, offset = step
    if why is not None:
        return f"{letter.place}  refused: {printable(why)}"
    if message is None:
        return f"{letter.place}  discarded"
    to = f"{message.topic}:{message.partition}" + ("" if offset is None else f":{offset}")
    return f"{letter.place} -> {to}  key {key_text(letter) or '-'}, {len(message.value or b''):,} bytes, try {letter.attempts + 1}"


def step_row(step: Step, action: str) -> dict[str, Any]:
    """Return the same as JSON values."""
    letter, why, message, offset = step
    return {
        "place": str(letter.place),
        "action": None if why is not None else action,
        "refused": None if why is None else printable(why),
        "to_topic": None if message is None else message.topic,
        "to_partition": None if message is None else message.partition,
        "to_offset": offset,
        "attempt": None if message is None else letter.attempts + 1,
        "key": key_text(letter),
        "bytes": len(letter.value or b""),
    }


def content(value: bytes | None) -> str:
    """Return a record's content for a terminal: JSON in lines of its own, other text on one; card numbers masked.

    >>> content(b'{"card_id":"4111111111111111"'), content(None)
    ('{"card_id":"************1111"', '(empty)')
    """
    if not value:
        return "(empty)"
    try:
        shown = msgspec.json.format(msgspec.json.encode(msgspec.json.decode(value)), indent=2).decode()
        text = "\n".join(printable(line) for line in shown.split("\n"))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        text = printable(value.decode("utf-8", "backslashreplace"))
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}... ({len(value):,} bytes in all)"


def details(letter: DeadLetter, handled: Handled | None) -> str:
    """Return everything about a dead letter, in lines."""
    found = row(letter, handled)
    came = f"{found['topic']}:{'?' if letter.partition is None else letter.partition}:{'?' if letter.offset is None else letter.offset}"
    if letter.record_append_ms is not None:
        came += f", appended {format_time(letter.record_append_ms)}"
    lines = [
        ("place", f"{found['place']}, appended {format_time(letter.append_ms)}"),
        ("error", found["error"] + (f", field {found['field']}" if found["field"] else "")),
        ("reason", found["reason"]),
        ("record", came),
        ("tries", f"{letter.attempts}" + (f", a replay of {found['replay_of']}" if found["replay_of"] else "")),
        ("key", found["key"] or "(none)"),
        ("state", "open" if handled is None else f"{handled} at {format_time(handled.time_ms)}: {printable(handled.reason)}"),
    ]
    head = "\n".join(f"{name:<8}{value}" for name, value in lines)
    return f"{head}\n{content(letter.value)}\n"


class Summary:
    """Counts dead letters by topic, error and field."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str | None, str]] = Counter()
        self._times: dict[tuple[str, str, str | None, str], tuple[int, int]] = {}

    def add(self, letter: DeadLetter, handled: Handled | None) -> None:
        """Count one."""
        key = (letter.place.topic, printable(letter.error), letter.field and printable(letter.field), handled.action if handled else "open")
        self._counts[key] += 1
        oldest, newest = self._times.get(key, (letter.append_ms, letter.append_ms))
        self._times[key] = (min(oldest, letter.append_ms), max(newest, letter.append_ms))

    def rows(self) -> list[dict[str, Any]]:
        """Return the counts, largest first."""
        return [
            {
                "topic": key[0], "error": key[1], "field": key[2], "state": key[3], "letters": n,
                "oldest_ms": self._times[key][0], "newest_ms": self._times[key][1],
            }
            for key, n in sorted(self._counts.items(), key=lambda item: (-item[1], str(item[0])))
        ]  # fmt: skip

    def lines(self) -> list[str]:
        """Return the counts as lines of a table, a heading first."""
        lines = [f"{'letters':>9}  {'topic':<24} {'error':<19} {'field':<18} {'state':<10} {'oldest':<21} newest"]
        for found in self.rows():
            times = f"{format_time(found['oldest_ms']):<21} {format_time(found['newest_ms'])}"
            kind = f"{found['topic']:<24} {found['error']:<19} {found['field'] or '-':<18} {found['state']:<10}"
            lines.append(f"{found['letters']:>9,}  {kind} {times}")
        return lines


def _handled(handled: Handled) -> dict[str, Any]:
    return {
        "action": handled.action,
        "user": handled.user,
        "time_ms": handled.time_ms,
        "reason": printable(handled.reason),
        "to": None if handled.to is None else "{}:{}:{}".format(*handled.to),
    }

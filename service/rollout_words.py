"""A trial in lines of text, for the terminal."""

from datetime import UTC, datetime
from typing import Final

from monitoring.rollout import evidence_of, shown
from monitoring.rollout_windows import found_harm
from service.rollout_record import TrialRecord
from service.times import format_time

_ENDED: Final = {
    "running": "in force", "promoted": "promoted", "rolled_back": "rolled back", "inconclusive": "undecided", "ended": "ended",
}  # fmt: skip
_COLUMNS: Final = ("day", "transactions", "alerts each", "frauds", "both", "challenger alone", "champion alone", "for", "against")
_WIDTHS: Final = (12, 14, 13, 8, 6, 18, 16, 12, 12)


def trial_lines(record: TrialRecord) -> list[str]:
    """Return a trial with its evidence: what it is, what is found, each matured day, and what harm was seen."""
    how = "shadow" if record.mode == "shadow" else f"canary for {record.percent:g} % of the cards"
    until = f" to {format_time(record.ended_ms)}" if record.ended_ms is not None else ""
    lines = [
        f"trial beside {record.champion}, {how}, {format_time(record.started_ms)}{until}: {_ENDED[record.outcome]}",
        f"  {record.sentence}",
    ]
    if record.outcome == "running":
        lines.append(f"  {record.n_waiting:,} transactions that both scored wait for their labels")
    if record.days:
        lines.append("  " + _line(_COLUMNS))
    for n_days, day in enumerate(record.days, start=1):
        found = evidence_of(record.days[:n_days])
        date = datetime.fromtimestamp(day.day_ms / 1000, UTC).strftime("%Y-%m-%d")
        alerts = f"{day.n_champion_alerts:,}" if day.is_comparable else "unequal"
        cells = (
            date, f"{day.n_rows:,}", alerts, f"{day.n_frauds:,}", f"{day.n_both:,}", f"{day.n_challenger_only:,}",
            f"{day.n_champion_only:,}", f"{shown(found.e_promote)} to 1", f"{shown(found.e_roll_back)} to 1",
        )  # fmt: skip
        lines.append("  " + _line(cells))
    lines += [f"  {format_time(window.from_ms)}: {said}" for window in record.windows if (said := found_harm(window))]
    return lines


def _line(cells: tuple[str, ...]) -> str:
    first, *rest = zip(cells, _WIDTHS, strict=True)
    return f"{first[0]:<{first[1]}}" + "".join(f"{cell:>{width}}" for cell, width in rest)

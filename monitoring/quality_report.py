"""The facts of the days as the report: every number with its maturity, every gap with a sentence."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np

from monitoring.label_delay import DelayCurve
from monitoring.quality import ALERTED, MISSED, STRATA, Estimate, QualityDay, QualityReport
from monitoring.quality_facts import DAY_MS, DayFacts
from monitoring.quality_matured import Threshold, calibration, control, thresholds
from monitoring.quality_maturity import FEWEST_FRAUDS, MATURED_SHARE, Outlook, Stratum, estimate, maturity, outlook, strata

_NAMES: Final = {MISSED: "missed frauds", ALERTED: "frauds among the alerts"}
_WEEK: Final = 7
_UNREPORTED: Final = "Fraud that is never reported cannot be seen here."


def report(
    days: Sequence[DayFacts],
    *,
    to_ms: int,
    holes: Mapping[int, str],
    notes: Sequence[str] = (),
    threshold: Threshold | None = None,
    seed: int = 1,
) -> QualityReport:
    """Return the report of the days as of `to_ms`; the same arguments give the same report.

    Args:
        days: Ascending; each has answers.
        to_ms: Every label in the facts became known before it.
        holes: Midnight of a day -> sentence on what of it is missing in the archive.
        notes: Further sentences for the page.
        threshold: That of the present policy; it gets a row of its own.
        seed: Of the bootstrap.
    """
    found = strata(days, to_ms=to_ms)
    shown = [_day(day, found, to_ms=to_ms, hole=holes.get(day.day_ms, ""), seed=seed) for day in days]
    matured = [facts for facts, day in zip(days, shown, strict=True) if not day.is_provisional]
    return QualityReport(
        at_ms=to_ms,
        days=shown,
        delay_curve={name: _points(stratum.curve) for name, stratum in found.items() if stratum.curve is not None},
        control=control(matured),
        thresholds=thresholds(matured, threshold),
        calibration=calibration(matured),
        n_matured_days=len(matured),
        sentence=_sentence(days, shown),
        notes=[*notes, *_notes(days, found, to_ms)] if days else list(notes),
    )


def _day(day: DayFacts, found: Mapping[str, Stratum], *, to_ms: int, hole: str, seed: int) -> QualityDay:
    shares = maturity(found, day, to_ms=to_ms)
    random = np.random.default_rng((seed, day.day_ms))
    missed, alerted = (
        outlook(random, found[name], day, is_alerted=name == ALERTED, share=shares.get(name), to_ms=to_ms) for name in STRATA
    )
    is_final = all(shares.get(name, 0.0) >= MATURED_SHARE and (found[name].curve is None or found[name].is_complete) for name in STRATA)
    caught_minor, missed_minor = (int(np.maximum(day.amount_minor[day.is_alert == is_alert], 0).sum()) for is_alert in (True, False))
    return QualityDay(
        day_ms=day.day_ms,
        n=day.n,
        n_alerts=day.n_alerts,
        is_provisional=not is_final,
        is_incomplete=bool(hole),
        note=" ".join(text for text in (hole, _unpriced(day)) if text),
        maturity=shares,
        n_frauds=len(day.is_alert),
        caught_minor=caught_minor,
        missed_minor=missed_minor,
        frauds=_frauds(day, missed, alerted),
        caught=_money(alerted, caught_minor),
        missed=_money(missed, missed_minor),
        precision=_precision(day, alerted),
        recall=_recall(day, missed, alerted),
        ap=None if not is_final or np.isnan(day.ap) else day.ap,
        brier=None if not is_final or np.isnan(day.brier) else day.brier,
    )


def _n_alerted(day: DayFacts, alerted: Outlook) -> float:
    return min(alerted.n_known / alerted.share, day.n_alerts)


def _frauds(day: DayFacts, missed: Outlook | None, alerted: Outlook | None) -> Estimate:
    raw, expected = len(day.is_alert), day.label_free.frauds
    if missed is None or alerted is None:
        return estimate(None, value=None, raw=raw, label_free=expected)
    value = _n_alerted(day, alerted) + missed.n_known / missed.share
    return estimate(alerted.frauds + missed.frauds, value=value, raw=raw, label_free=expected)


def _precision(day: DayFacts, alerted: Outlook | None) -> Estimate | None:
    if not day.n_alerts:
        return None
    raw, expected = int(day.is_alert.sum()) / day.n_alerts, day.label_free.precision
    if alerted is None:
        return estimate(None, value=None, raw=raw, label_free=expected)
    return estimate(alerted.frauds / day.n_alerts, value=_n_alerted(day, alerted) / day.n_alerts, raw=raw, label_free=expected)


def _recall(day: DayFacts, missed: Outlook | None, alerted: Outlook | None) -> Estimate:
    raw, expected = float(day.is_alert.mean()) if len(day.is_alert) else None, day.label_free.recall
    if missed is None or alerted is None or raw is None:
        return estimate(None, value=None, raw=raw, label_free=expected)
    n_alerted, n_missed = _n_alerted(day, alerted), missed.n_known / missed.share
    with np.errstate(invalid="ignore"):  # a draw without any fraud has no recall
        draws = alerted.frauds / (alerted.frauds + missed.frauds)
    return estimate(draws, value=n_alerted / (n_alerted + n_missed), raw=raw, label_free=expected)


def _money(stratum: Outlook | None, raw: int) -> Estimate:
    if stratum is None:
        return estimate(None, value=None, raw=raw)
    return estimate(stratum.amount_minor, value=stratum.known_minor / stratum.share, raw=raw)


def _unpriced(day: DayFacts) -> str:
    n = int((day.amount_minor < 0).sum())
    if not n:
        return ""
    return f"The amount of {n} known {'fraud' if n == 1 else 'frauds'} is not known in the base currency and counts as 0."


def _points(curve: DelayCurve) -> list[tuple[float, float]]:
    """Return the curve by the quarter of a day up to two days, then by the day, until it is at its end."""
    last_day = int(curve.delays_ms[-1] // DAY_MS) + 1
    ages = np.unique(np.concatenate([np.arange(min(8, 4 * last_day)) / 4, np.arange(2, last_day + 1, dtype=np.float64), [float(last_day)]]))
    shares = curve.share((ages * DAY_MS).astype(np.int64))
    return list(zip(ages.tolist(), shares.tolist(), strict=True))


def _sentence(facts: Sequence[DayFacts], days: Sequence[QualityDay]) -> str:
    if not days:
        return "The archive holds no answers yet; weir archive writes them by the hour."
    if not any(day.n_frauds for day in days):
        n = sum(day.n for day in days)
        return f"No fraud has been reported among {n:,} transactions yet; quality shows when labels come. {_UNREPORTED}"
    matured = [(fact, day) for fact, day in zip(facts, days, strict=True) if not day.is_provisional][-_WEEK:]
    if not matured:
        return f"The labels of no day are all in yet, so every number is provisional. {_UNREPORTED}"
    n_alerts, n_frauds = sum(day.n_alerts for _, day in matured), sum(day.n_frauds for _, day in matured)
    n_caught = sum(int(fact.is_alert.sum()) for fact, _ in matured)
    first, last = _date(matured[0][1].day_ms), _date(matured[-1][1].day_ms)
    span = f"On {first}" if first == last else f"From {first} to {last}"
    precise = f"{_percent(n_caught, n_alerts)} of the alerts were fraud" if n_alerts else "there was no alert"
    caught = f"{_percent(n_caught, n_frauds)} of the reported fraud was caught" if n_frauds else "no fraud was reported"
    later = [day for day in days if day.day_ms > matured[-1][1].day_ms]
    since = f" Days since {_date(later[0].day_ms)} are provisional: their labels are still coming in." if later else ""
    return f"{span}, the last days whose labels are in, {precise} and {caught}.{since} {_UNREPORTED}"


def _notes(days: Sequence[DayFacts], found: Mapping[str, Stratum], to_ms: int) -> list[str]:
    notes = []
    for name, stratum in found.items():
        if stratum.curve is None:
            n = sum(int((day.is_alert == (name == ALERTED)).sum()) for day in days)
            notes.append(
                f"Only {n} {_NAMES[name]} are known, and a delay curve needs {FEWEST_FRAUDS}: numbers that need it are not shown yet."
            )
        elif not stratum.is_complete:
            n_days = (to_ms - days[0].day_ms) // DAY_MS
            notes.append(
                f"The answers go back {n_days} days, and labels of {_NAMES[name]} were still coming in at the end of that time: "
                "later ones cannot be foreseen, so all days are provisional."
            )
    return notes


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}".replace("%", " %")


def _date(day_ms: int) -> str:
    return datetime.fromtimestamp(day_ms / 1000, UTC).strftime("%Y-%m-%d")

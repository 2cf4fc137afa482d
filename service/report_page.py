"""The report as one HTML page that needs nothing else: style and charts are inside, there is no script and no address to load."""

from importlib.resources import files
from typing import Final

from monitoring.figures import UNKNOWN, count, date, figure, index, moment, plural, share, total
from monitoring.quality import Estimate, QualityDay
from service.report import DriftPart, QualityPart, Report
from service.report_html import Child, Markup, element, joined, table
from service.report_models import models_section
from service.report_svg import Bar, Point, bars, lines, spark
from service.web.answers import State
from service.web.drift_answers import DriftRow, Incident

_MOST_QUIET: Final = 20
_WORDS: Final[dict[State, str]] = {"alarm": "alarm", "attention": "attention", "well": "well", "empty": "not judged"}
_SPAN: Final = {"1h": "the last hour", "24h": "the last 24 hours", "7d": "the last 7 days"}


def page(report: Report) -> str:
    """Return the page: a complete HTML document, every text escaped."""
    style = files("service").joinpath("report.css").read_text("utf-8")
    title = f"weir report, {date(report.from_ms)} to {date(report.to_ms - 1)}"
    head = element("head", element("meta", charset="utf-8"),
                   element("meta", name="viewport", content="width=device-width, initial-scale=1"),
                   element("title", title), element("style", Markup(style)))  # fmt: skip
    body = element(
        "body",
        element("h1", title),
        element(
            "p", f"Event times from {moment(report.from_ms)} up to {moment(report.to_ms)}. Made {moment(report.made_ms)}.", class_="note"
        ),
        element("p", headline(report), class_="headline"),
        _traffic(report),
        _incidents(report.drift),
        _drift(report.drift),
        _quality(report.quality, report.currency),
        _alerts(report),
        models_section(report),
        _gaps(report),
    )
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


def headline(report: Report) -> str:
    """Return what the report comes to, in a sentence or two."""
    n, n_alerts = _answered(report)
    said = f"{plural(n, 'transaction')} answered, {plural(n_alerts, 'alert')} ({share(n_alerts / n)})" if n else "No answer is known"
    settled = [day for day in report.quality.days if not day.is_provisional and day.frauds.value is not None]
    if caught := _caught(settled):
        said += f"; {caught}"
    n_open = sum(incident.ended_ms is None for incident in report.drift.incidents)
    if report.drift.incidents:
        said += f"; {plural(len(report.drift.incidents), 'drift incident')}, {n_open} of them open"
    else:
        said += "; no drift incident" if report.drift.answer is not None else "; drift is not known"
    champion = report.models.models.champion
    return f"{said}. The champion is {champion}." if champion else f"{said}. There is no champion."


def _answered(report: Report) -> tuple[int, int]:
    """Return transactions and alerts: as archived, else as counted."""
    if report.quality.days:
        return sum(day.n for day in report.quality.days), sum(day.n_alerts for day in report.quality.days)
    return sum(day.n_rows for day in report.drift.traffic), sum(day.n_alerts for day in report.drift.traffic)


def _caught(days: list[QualityDay]) -> str:
    """Return how much fraud was caught on matured days."""
    n_frauds = sum(day.n_frauds for day in days)
    caught, missed = sum(day.caught_minor for day in days), sum(day.missed_minor for day in days)
    if not caught + missed:
        return ""
    frauds, matured = plural(n_frauds, "known fraud"), plural(len(days), "matured day")
    return f"{share(caught / (caught + missed))} of the money of {frauds} was caught on {matured}"


def _traffic(report: Report) -> Markup:
    quality = {day.day_ms: (day.n, day.n_alerts) for day in report.quality.days}
    days = quality or {day.day_ms: (day.n_rows, day.n_alerts) for day in report.drift.traffic}
    if not days:
        return _section("Traffic", _empty("Nothing is known of the traffic: there is no archive, and nothing was counted."))
    shares = [Bar(date(day), n_alerts / n if n else None) for day, (n, n_alerts) in days.items()]
    return _section(
        "Traffic",
        element("p", f"Per UTC day of event time, {'as archived' if quality else 'as counted by the workers'}."),
        _figure(bars([Bar(date(day), n) for day, (n, _) in days.items()], title="Transactions a day", shown=figure), "Transactions a day."),
        _figure(
            bars(shares, title="Alerts a day, share of the transactions", shown=share), "Alerts a day, as a share of the transactions."
        ),
    )


def _incidents(drift: DriftPart) -> Markup:
    if not drift.incidents:
        known = drift.answer is not None
        return _section("Incidents", element("p", "No incident was open in this span.") if known else _empty(drift.problem))
    headings = [("State", ""), ("Began", ""), ("Ended", ""), ("What happened", "")]
    return _section("Incidents", table(headings, [_incident(one) for one in drift.incidents], caption="Newest first; times of events."))


def _incident(incident: Incident) -> list[Child]:
    what = joined(
        element("div", incident.sentence),
        element("div", incident.advice, class_="note"),
        element("div", f"{incident.model}, runbook {incident.runbook}", class_="note"),
    )
    state: State = "well" if incident.ended_ms is not None else incident.state
    word = "ended" if incident.ended_ms is not None else _WORDS[state]
    ended = moment(incident.ended_ms) if incident.ended_ms is not None else "open"
    return [element("span", word, class_=state), moment(incident.started_ms), ended, what]


def _drift(drift: DriftPart) -> Markup:
    answer = drift.answer
    if answer is None:
        return _section("Drift", _empty(drift.problem))
    loud = [row for row in answer.features if row.state in ("alarm", "attention")]
    quiet = sorted((row for row in answer.features if row not in loud), key=lambda row: -(row.importance or 0.0))[:_MOST_QUIET]
    shown = [*([answer.score] if answer.score is not None else []), *loud, *quiet]
    headings = [("State", ""), ("Feature", "name"), ("PSI", "number"), ("limit", "number"), ("earlier weeks", "number"),
                ("missing", "number"), ("in training", "number"), ("weight", "number"), ("last 24 hours", "")]  # fmt: skip
    end = "" if answer.event_ms is None else f" before {moment(answer.event_ms)}"
    caption = (
        f"PSI of {_SPAN[answer.window]}{end}, against training and against the same hours of earlier weeks; above its limit it is more "
        f"than noise. {plural(len(shown), 'row')} of {len(answer.features) + 1}: the score, what is loud, and the {_MOST_QUIET} weightiest "
        "of the others."
    )
    waiting = (
        f"{answer.baseline_days:.0f} of the {answer.baseline_days_needed} days that set the limits are counted; until then nothing alarms."
    )
    rows = [_drift_row(row) for row in shown]
    return _section(
        "Drift",
        element("p", answer.sentence),
        _empty(drift.problem) if drift.problem else None,
        None if answer.has_baseline else _empty(waiting),
        table(headings, rows, caption=caption),
    )  # fmt: skip


def _drift_row(row: DriftRow) -> list[Child]:
    name = joined(row.feature, element("div", row.sentence, class_="note") if row.state in ("alarm", "attention") else None)
    title = f"PSI of {row.feature} over the last {len(row.spark)} evaluations"
    weight = share(row.importance) if row.importance is not None else UNKNOWN
    return [
        element("span", _WORDS[row.state], class_=row.state), name, index(row.psi), index(row.psi_limit), index(row.psi_past),
        share(row.missing), share(row.missing_reference), weight, spark(row.spark, row.psi_limit, title=title),
    ]  # fmt: skip


def _quality(quality: QualityPart, currency: str) -> Markup:
    if not quality.days:
        return _section("Quality", _empty(quality.problem))
    headings = [("Day", "day"), ("Answered", "number"), ("Alerts", "number"), ("Precision", "number"), ("Recall", "number"),
                ("Known frauds", "number"), ("Caught", "number"), ("Missed", "number"), ("", "")]  # fmt: skip
    series = [
        ("a", [_point(day, day.precision) for day in quality.days]),
        ("b", [_point(day, day.recall) for day in quality.days]),
    ]
    title = "Precision (blue, solid) and recall (brown, dashed) by day, corrected for labels still to come; bands: 95 % intervals"
    n_late = sum(day.is_provisional for day in quality.days)
    shaded = f" {plural(n_late, 'day')} shaded, whose labels are still to come." if n_late else ""
    return _section(
        "Quality",
        element("p", quality.sentence),
        _figure(lines(series, title=title, shown=share), f"{title}.{shaded} Fraud that is never reported cannot be seen."),
        table(
            headings, [_quality_row(day, currency) for day in quality.days], caption="By UTC day of event time; in brackets: 95 % interval."
        ),
    )


def _quality_row(day: QualityDay, currency: str) -> list[Child]:
    mark = element("span", "provisional", class_="attention") if day.is_provisional else None
    note = element("div", day.note, class_="note") if day.note else None
    return [
        date(day.day_ms), count(day.n), count(day.n_alerts), _estimate(day.precision), _estimate(day.recall), count(day.n_frauds),
        total(day.caught_minor, currency), total(day.missed_minor, currency), joined(mark, note),
    ]  # fmt: skip


def _point(day: QualityDay, found: Estimate | None) -> Point:
    if found is None:
        return Point(date(day.day_ms), None, is_marked=day.is_provisional)
    return Point(date(day.day_ms), found.value, found.low, found.high, is_marked=day.is_provisional)


def _estimate(found: Estimate | None) -> str:
    if found is None or found.value is None:
        return UNKNOWN
    said, low, high = share(found.value), share(found.low), share(found.high)
    return said if low == high else f"{said} ({low} to {high})"


def _alerts(report: Report) -> Markup:
    found = report.alerts.statistics
    if found is None:
        return _section("Alerts", _empty(report.alerts.problem))
    n = found.n_review + found.n_decline
    if not n:
        return _section("Alerts", element("p", "No alert was archived in this span."))
    headings = [("Reason", "name"), ("Alerts", "number"), ("share", "number"), ("strongest in", "number"), ("For example", "")]
    rows: list[list[Child]] = [[one.code, count(one.n), share(one.n / n), count(one.n_strongest), one.example] for one in found.reasons]
    return _section(
        "Alerts",
        element("p", f"{plural(n, 'alert')}: {count(found.n_review)} for review, {count(found.n_decline)} declined."),
        table(headings, rows, caption="What alerts were given for, most frequent first; an alert has up to five reasons."),
    )


def _gaps(report: Report) -> Markup:
    gaps = [*report.drift.silent, *report.alerts.lost, *report.quality.notes]
    if not gaps:
        is_judged = not (report.drift.problem or report.quality.problem or report.alerts.problem)
        return _section("Gaps in the data", element("p", "None was found." if is_judged else "None was found in what there is to look at."))
    return _section("Gaps in the data", element("ul", *(element("li", gap) for gap in gaps)))


def _section(title: str, *children: Child) -> Markup:
    return element("section", element("h2", title), *children)


def _figure(chart: Markup, caption: str) -> Markup:
    return element("figure", chart, element("figcaption", caption))


def _empty(sentence: str) -> Markup:
    return element("p", sentence, class_="empty")

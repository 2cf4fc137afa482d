"""The models of a report: what is champion, how it was made, what happened in the registry."""

from monitoring.figures import count, date, index, moment, share
from service.report import Report
from service.report_html import Child, Markup, element, table
from service.web.model_answers import ModelAnswer, ModelEvent


def models_section(report: Report) -> Markup:
    """Return the section."""
    found, champion = report.models.models, report.models.champion
    events = [event for event in found.history if report.from_ms <= event.time_ms < report.to_ms]
    return element(
        "section",
        element("h2", "Models"),
        element("p", found.sentence, class_="" if found.champion else "empty"),
        None if champion is None else _champion(champion),
        element("h3", "History"),
        _history(events, n_earlier=len(found.history) - len(events)),
        None if champion is None or not champion.card else element("h3", "Model card"),
        None if champion is None or not champion.card else element("pre", champion.card),
    )


def _champion(model: ModelAnswer) -> Markup:
    row = model.row
    span = f"{date(row.trained_from_ms)} to {date(row.trained_to_ms)}"
    thresholds = "; ".join(
        f"{tier}: review from {share(t.review)}, decline from {share(t.decline)}" for tier, t in model.thresholds.items()
    )
    facts: list[tuple[str, str]] = [
        ("Model", row.model),
        ("Trained on", f"{count(row.n_rows)} transactions of {span}, {count(row.n_frauds)} frauds"),
        ("On the calibration slice", f"average precision {index(row.average_precision)}, ROC AUC {index(row.roc_auc)}"),
        ("Thresholds", f"{thresholds} (policy {model.policy})"),
        ("Weights", ", ".join(f"{name} {weight:.2f}" for name, weight in model.weights.items())),
        ("Features", f"spec {model.spec}, amounts in {model.base_currency}"),
    ]  # fmt: skip
    weighty: list[list[Child]] = [[one.feature, one.description, share(one.share)] for one in model.importance[:10]]
    shown: list[list[Child]] = [[title, text] for title, text in facts]
    return element(
        "div",
        table([("Champion", ""), ("", "")], shown, caption="From its manifest, whose signature was verified."),
        table([("Weightiest features", "name"), ("meaning", ""), ("share of gain", "number")], weighty, caption="By the booster's gain.")
        if weighty
        else None,
    )


def _history(events: list[ModelEvent], *, n_earlier: int) -> Markup:
    if not events:
        return element("p", f"Nothing happened in the registry in this span; {count(n_earlier)} events at other times.")
    rows: list[list[Child]] = [[moment(event.time_ms), event.event, event.model, event.who, event.why] for event in events]
    return table(
        [("When", ""), ("Event", ""), ("Model", "name"), ("Who", ""), ("Why", "")],
        rows,
        caption="In this span, by the clock; newest first.",
    )

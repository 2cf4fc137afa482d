"""The report of a span: what is kept, archived and registered, on one page that loads nothing."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from domain.errors import ConfigError
from features.archive_files import Partition
from features.archive_schema import ALERTS
from monitoring.packed import HOUR_MS, pack
from service.archive_file import hour_folder, write_empty
from service.cli import weir
from service.quality_log import QualityLog
from service.report import gather
from service.report_page import headline, page
from service.web.evaluation import ModelDrift
from service.web.hours import HourLog
from service.wiring import rates_of
from tests.unit.archive_sample import add_file, make_archive, record
from tests.unit.web_scenes import counts, settings_of, shelf_of

GOLDEN = Path(__file__).parents[1] / "golden" / "report_outline.txt"
FIRST_H = 497_000 // 24 * 24
BASELINE_H = 28 * 24
FROM_MS = (FIRST_H + BASELINE_H - 5 * 24) * HOUR_MS
TO_MS = (FIRST_H + BASELINE_H + 24) * HOUR_MS
MADE_MS = TO_MS + 7 * HOUR_MS
SILENT = range(FIRST_H + BASELINE_H - 30, FIRST_H + BASELINE_H - 27)
MOVED = "card_count_24h"
UGLY = "<script>alert('4 & 5')</script>"


def _score(i, event_ms, **more):
    fields = {
        "transaction_id": f"t{i}", "card_id": "c", "event_time_ms": event_ms, "scored_at_ms": event_ms + 5, "probability": 0.01,
        "decision": "approve", "tier": "full", "flags": [], "model": "weir@1", "variant": "champion", "policy": "p", "spec": "s",
        "source": [0, i],
    }  # fmt: skip
    return fields | more


def _reason(code, text):
    return {"code": code, "text": text, "feature": "card_count_1h", "value": 3.0, "contribution": 1.5}


def _archive(folder):
    """Seven days, 200 answers each: every tenth is an alert, all alerts but one in five are frauds, and so is every fortieth other."""
    make_archive(folder)
    scores, alerts, labels, payments = [], [], [], []
    for i in range(1_400):
        event_ms = FROM_MS + i // 200 * 24 * HOUR_MS + i % 200 * 60_000
        known = {"transaction_id": f"t{i}", "card_id": "c", "amount_minor": 5_000 + i, "currency": "EUR", "merchant_id": "m"}
        payments.append(known | {"event_time_ms": event_ms})
        if i % 10:
            scores.append(_score(i, event_ms))
            if i % 40 == 7:
                labels.append({"transaction_id": f"t{i}", "is_fraud": True, "label_time_ms": event_ms + 30 * HOUR_MS, "source": "customer"})
            continue
        decision = "decline" if i % 20 else "review"
        scores.append(_score(i, event_ms, probability=0.7, decision=decision))
        reasons = [_reason("card_velocity", UGLY), _reason("new_device", "first time on this device in 30 days")][: 1 + i % 20 // 10]
        alerts.append(scores[-1] | {"amount_minor": 5_000 + i, "currency": "EUR", "merchant_id": "m", "reasons": reasons})
        if i % 50:
            labels.append({"transaction_id": f"t{i}", "is_fraud": True, "label_time_ms": event_ms + 9 * HOUR_MS, "source": "chargeback"})
    for topic, values in (("transactions.v1", payments), ("scores.v1", scores), ("alerts.v1", alerts), ("labels.v1", labels)):
        append_ms = TO_MS - HOUR_MS
        records = [record(n, append_ms + n, json.dumps(value).encode()) for n, value in enumerate(values)]
        add_file(folder, topic, records, hour_ms=append_ms)
    lost_ms = FROM_MS + 30 * HOUR_MS
    write_empty(hour_folder(folder, ALERTS, lost_ms), Partition(ALERTS, "0a1b2c3d", 0), len(alerts), len(alerts) + 11, "lost")


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    """A month that was counted, its last day with a moved feature, and a week in the archive."""
    folder = tmp_path_factory.mktemp("installation")
    shelf, champion = shelf_of(folder)
    shelved = shelf.get(champion)
    log = HourLog(folder / "monitoring" / "hours.sqlite")
    drift = ModelDrift(shelved, log)
    end = FIRST_H + BASELINE_H
    quiet = [h for h in range(FIRST_H, end) if h not in SILENT]
    drift.put("a", {h: pack(counts(shelved.profile, h, n=800)) for h in quiet})
    drift.advance(end + 1)
    drift.put("a", {h: pack(counts(shelved.profile, h, n=800, moved=(MOVED,))) for h in range(end, end + 24)})
    for hour in range(end + 2, end + 6):
        drift.advance(hour)
    assert [one.features for one in drift.incidents] == [(MOVED,), (MOVED,)], "its values, and that it is never missing any more"
    log.close()
    _archive(folder / "archive")
    return settings_of(folder)


@pytest.fixture(scope="module")
def html(installation):
    return page(gather(installation, FROM_MS, TO_MS, made_ms=MADE_MS))


class _Outline(HTMLParser):
    """Checks that elements nest, and writes down headings, captions, columns and the number of rows and charts."""

    def __init__(self):
        super().__init__()
        self.open, self.lines, self.text, self.n_rows = [], [], "", 0

    def handle_starttag(self, tag, attrs):
        if tag == "meta":
            return
        self.open.append(tag)
        self.n_rows += tag == "tr"
        if tag in ("h1", "h2", "h3", "caption", "th", "figcaption"):
            self.text = ""
        if tag == "svg":
            self.lines.append(f"    svg {dict(attrs)['class']}")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("h1", "h2", "h3", "caption", "th", "figcaption"):
            self.lines.append(f"{'' if tag[0] == 'h' else '  '}{tag}: {self.text.strip()}")
        if tag == "table":
            self.lines.append(f"  rows: {self.n_rows}")
            self.n_rows = 0

    def handle_data(self, data):
        self.text += data


def _outline(html):
    outline = _Outline()
    outline.feed(html)
    outline.close()
    assert outline.open == []
    sparks = "    svg spark"
    lines = [line for n, line in enumerate(outline.lines) if line != sparks or outline.lines[n - 1] != sparks]
    return "\n".join(lines) + "\n"


def test_the_outline_of_the_page_is_the_agreed_one(html):
    assert _outline(html) == GOLDEN.read_text()


def test_the_page_needs_nothing_else_and_can_be_mailed(html):
    assert len(html.encode()) < 1_000_000
    assert not re.findall(r"<(?:script|link|img|iframe|object|embed|base|form)\b", html)
    assert not re.findall(r"""(?:src|href|action|srcset)\s*=|url\(|@import|https?:""", html)
    assert not re.findall(r"\son\w+\s*=", html)


def test_what_came_from_outside_is_text_and_never_markup(html):
    assert "&lt;script&gt;alert(" in html
    assert "<script" not in html


def test_the_page_says_what_happened(installation, html):
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL)

    assert "1,200 transactions answered, 120 alerts (10.0 %)" in text
    assert "2 drift incidents, 2 of them open" in text
    assert MOVED in text
    assert "120 alerts: 60 for review, 60 declined." in text
    assert "(3 hours)" in text
    assert "alerts.v1, partition 0: 12 records were removed from Kafka before they were archived" in text
    assert "provisional" in text


def test_the_span_is_half_open(installation):
    found = gather(installation, FROM_MS + 24 * HOUR_MS, FROM_MS + 48 * HOUR_MS, made_ms=MADE_MS)

    assert [day.n for day in found.quality.days] == [200]
    assert found.alerts.statistics.n_by_day == {FROM_MS + 24 * HOUR_MS: 20}
    assert [day.n_rows for day in found.drift.traffic] == [24 * 800]
    assert found.drift.incidents == []
    assert found.drift.answer.window == "24h"


def test_each_missing_source_is_a_sentence(tmp_path):
    report = gather(settings_of(tmp_path), FROM_MS, TO_MS, made_ms=MADE_MS)
    text = page(report)

    assert _outline(text).count("h2: ") == 7
    assert headline(report) == "No answer is known; drift is not known. There is no champion."
    for words in (
        "holds no counters; weir web keeps them",
        "there is no archive at",
        "The registry .* is empty",
        "Nothing is known of the traffic",
    ):
        assert re.search(words, text), words


def test_a_report_is_written_while_the_dashboard_keeps_the_folder(installation, tmp_path):
    folder = Path(installation.monitoring.directory)
    kept = QualityLog(Path(installation.archive.directory), folder, rates=rates_of(installation))
    try:
        environ = {
            "WEIR_MODEL_REGISTRY": installation.model.registry, "WEIR_MODEL_SIGNING_KEY": installation.model.signing_key,
            "WEIR_MONITORING_DIRECTORY": str(folder), "WEIR_ARCHIVE_DIRECTORY": installation.archive.directory,
            "WEIR_EMBEDDED_DIRECTORY": str(tmp_path),
        }  # fmt: skip
        line = ["report", "--from", str(FROM_MS), "--to", str(TO_MS), "--out", str(tmp_path / "r.html"), "--json"]
        result = CliRunner().invoke(weir, line, env=environ, catch_exceptions=False)
    finally:
        kept.close()

    said = json.loads(result.output)
    assert (tmp_path / "r.html").stat().st_size == said["bytes"]
    assert said["headline"].startswith("1,200 transactions answered")


def test_a_span_that_ends_before_it_begins_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--to must be later"):
        CliRunner().invoke(weir, ["report", "--from", "2026-01-02", "--to", "2026-01-01"], catch_exceptions=False)

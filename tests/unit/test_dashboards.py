"""Grafana's dashboards and the alert rules query what the processes show, and nothing else."""

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from monitoring.dashboards import DASHBOARDS, files
from monitoring.grafana import Dashboard, Panel, Query, Row, render
from service.gauge_file import write_gauges
from tests.unit.exposed_metrics import archive_text, web_text, worker_text

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "grafana" / "dashboards"
RULES = {
    rule["alert"]: " ".join(rule["expr"].split())
    for group in yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
}
PANELS = [panel for dashboard in DASHBOARDS for row in dashboard.rows for panel in row.panels]
QUERIES = [(panel.title, query) for panel in PANELS for query in panel.queries]
EXPRESSIONS = [*RULES.items(), *((title, query.expression) for title, query in QUERIES)]
OF_PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate"}}
TARGET_LABELS = {"job", "instance"}


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Name of everything that is exported -> its labels, those of the target included."""
    gauges = tmp_path_factory.mktemp("gauges") / "weir_replay.prom"
    # What `weir replay --verify` counts is read from its own source: computing it takes a served stream.
    names = re.findall(r'"(compared|different|misplaced)":', (ROOT / "service" / "commands" / "replay.py").read_text())
    write_gauges(gauges, "weir_replay", dict.fromkeys(names, 1.0))
    found = dict(OF_PROMETHEUS)
    for text in (worker_text(), web_text(), archive_text(), gauges.read_text()):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, TARGET_LABELS) | sample.labels.keys()
    return found


def names_in(expression):
    """Return the metrics that a PromQL expression reads."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    bare = re.sub(r"\b(?:by|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", bare)
    words = re.findall(r"(?<![\w$.])[a-zA-Z_]\w*(?!\s*\(|\w)", bare)
    return set(words) - {"and", "or", "unless", "offset"}


def labels_in(expression):
    """Return the labels that a PromQL expression selects or groups by."""
    grouped = re.findall(r"\b(?:by|on|ignoring)\s*\(([^)]*)\)", expression)
    return set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)) | {
        name.strip() for names in grouped for name in names.split(",") if name.strip()
    }


def test_names_and_labels_are_found_in_an_expression():
    expression = 'sum by (le, a) (rate(x_total{b!="y or z"}[5m])) / on (c) group_left () max(y offset 7d) > 1e9 and z_seconds == 0'

    assert names_in(expression) == {"x_total", "y", "z_seconds"}
    assert labels_in(expression) == {"le", "a", "b", "c"}


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS)
def test_every_metric_that_is_queried_is_exported_with_its_labels(shown, title, expression):
    names = names_in(expression)

    assert names
    assert names <= shown.keys()
    assert labels_in(expression) <= set().union(*(shown[name] for name in names))


@pytest.mark.parametrize(("title", "query"), QUERIES)
def test_a_legend_names_labels_that_the_query_leaves(title, query):
    left = re.search(r"\bby \(([^)]*)\)", query.expression)
    wanted = set(re.findall(r"{{(\w+)}}", query.legend))

    assert left is None or wanted <= {name.strip() for name in left[1].split(",")}


@pytest.mark.parametrize("panel", [panel for panel in PANELS if panel.alert and panel.limit is not None], ids=lambda panel: panel.title)
def test_a_limit_that_is_drawn_is_the_alerts(panel):
    assert float(RULES[panel.alert].split()[-1]) == panel.limit


def test_panels_name_alerts_that_exist():
    assert {panel.alert for panel in PANELS} - {""} <= RULES.keys()


def test_the_files_are_those_of_the_code():
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == files(), "run `make docs`"


def test_panels_lie_beside_each_other_and_none_over_another():
    panels = [Panel(str(i), "s", [Query("up")], "x.", width=8) for i in range(4)]
    document = render(Dashboard("a", "a", "a", [Row("one", panels), Row("two", panels[:1])]))
    places = [tuple(panel["gridPos"][key] for key in "xywh") for panel in document["panels"]]

    assert places == [(0, 0, 24, 1), (0, 1, 8, 8), (8, 1, 8, 8), (16, 1, 8, 8), (0, 9, 8, 8), (0, 17, 24, 1), (0, 18, 8, 8)]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)
def test_a_dashboard_fills_its_grid_and_every_panel_says_what_it_shows(dashboard):
    document = json.loads(files()[f"{dashboard.uid}.json"])
    panels = [panel for panel in document["panels"] if panel["type"] != "row"]
    taken = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    assert all(panel["description"].endswith(".") and panel["fieldConfig"]["defaults"]["unit"] for panel in panels)
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}

"""The alert rules, by Prometheus' own tool."""

import re
from pathlib import Path

import pytest
import yaml

from tests.prometheus_binary import promtool
from tests.unit.exposed_metrics import archive_text, web_text, worker_text

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES = [rule for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"] for rule in group["rules"]]
CASES = [
    case for name in ("rules_test.yml", "rules_days_test.yml") for case in yaml.safe_load((FOLDER / name).read_text())["tests"]
]  # fmt: skip
HEADINGS = re.findall(r"^#+ (.+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)


def anchor(heading):
    """Return the anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_prometheus_takes_the_configuration_and_the_rules():
    promtool("check", "config", FOLDER / "prometheus.yml")


@pytest.mark.parametrize("name", ["rules_test.yml", "rules_days_test.yml"])
def test_every_alert_fires_when_it_should_and_not_before(name):
    promtool("test", "rules", FOLDER / name)


@pytest.mark.parametrize("text", [worker_text, web_text, archive_text], ids=["worker", "web", "archive"])
def test_metrics_are_named_as_prometheus_wants_them(text):
    promtool("check", "metrics", text=text())


def test_every_alert_is_tested_quiet_and_firing():
    for case in CASES:
        quiet, firing, *over = case["promql_expr_test"]
        assert f'alertname="{case["name"]}"' in quiet["expr"] == firing["expr"]
        assert [each["exp_samples"] for each in (quiet, *over)] == [[]] * (1 + len(over))
        assert len(firing["exp_samples"]) == 1

    assert sorted(case["name"] for case in CASES) == sorted(rule["alert"] for rule in RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_waits_has_a_severity_and_says_what_is_wrong_and_what_to_do(rule):
    page, _, place = rule["annotations"]["runbook_url"].partition("#")

    assert rule["for"]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")
    assert page == "docs/operations.md"
    assert place == rule["alert"].lower()
    assert rule["alert"] in HEADINGS


def test_links_inside_the_operations_guide_lead_somewhere():
    places = re.findall(r"\]\(#([^)]+)\)", (ROOT / "docs" / "operations.md").read_text())

    assert places
    assert set(places) <= {anchor(heading) for heading in HEADINGS}

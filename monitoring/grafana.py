"""What a Grafana dashboard is made of, and its form as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

Kind = Literal["stat", "timeseries", "heatmap", "table"]
TAG: Final = "weir"
"""Every dashboard carries it; their links to each other go by it."""
_SCHEMA_VERSION: Final = 39
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_GRID_WIDTH: Final = 24
_HEIGHTS: Final[dict[Kind, int]] = {"stat": 4, "timeseries": 8, "heatmap": 8, "table": 8}


class Query(NamedTuple):
    """One line of a panel, or several that differ in labels."""

    expression: str
    """PromQL; `$__rate_interval` is Grafana's."""
    legend: str = ""
    """`{{label}}` stands for a label's value."""


class Panel(NamedTuple):
    """One chart with its unit, and with the limit that an alert watches where there is one."""

    title: str
    unit: str
    """One of Grafana's: `s`, `bytes`, `percentunit`, `suffix:/s` ..."""
    queries: Sequence[Query]
    description: str
    """What it shows, in a sentence."""
    kind: Kind = "timeseries"
    width: int = 8
    """Of 24."""
    limit: float | None = None
    """Drawn in; values beyond it are red."""
    alert: str = ""
    """The alert that fires beyond `limit`."""
    maximum: float | None = None
    """End of the axis; None = by the values."""


class Row(NamedTuple):
    """Panels under one heading."""

    title: str
    panels: Sequence[Panel]


class Dashboard(NamedTuple):
    """One page."""

    uid: str
    """Its address and the name of its file."""
    title: str
    description: str
    rows: Sequence[Row]


def render(dashboard: Dashboard) -> dict[str, Any]:
    """Return the dashboard as Grafana imports it; the same dashboard gives the same document."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": [TAG],
        "schemaVersion": _SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [{"type": "dashboards", "title": TAG, "tags": [TAG], "asDropdown": False, "includeVars": False, "keepTime": True}],
        "templating": {"list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}]},
        "annotations": {"list": []},
        "panels": list(_placed(dashboard.rows)),
    }


def _placed(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Lay the panels from left to right, each row below the one before."""
    top, number = 0, 0
    for row in rows:
        number += 1
        yield {
            "id": number, "type": "row", "title": row.title, "collapsed": False, "panels": [],
            "gridPos": {"x": 0, "y": top, "w": _GRID_WIDTH, "h": 1},
        }  # fmt: skip
        top += 1
        left, height = 0, 0
        for panel in row.panels:
            if left + panel.width > _GRID_WIDTH:
                top, left, height = top + height, 0, 0
            number += 1
            yield _panel(panel, number, {"x": left, "y": top, "w": panel.width, "h": _HEIGHTS[panel.kind]})
            left += panel.width
            height = max(height, _HEIGHTS[panel.kind])
        top += height


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    watched = f" Alert: {panel.alert}." if panel.alert else ""
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description + watched,
        "datasource": _DATASOURCE,
        "gridPos": place,
        "targets": [_target(panel, query, place) for place, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _options(panel.kind),
    }


def _target(panel: Panel, query: Query, place: int) -> dict[str, Any]:
    # A table shows what is now; buckets of a heatmap need their own format.
    return {
        "refId": chr(ord("A") + place),
        "datasource": _DATASOURCE,
        "expr": query.expression,
        "legendFormat": query.legend or "__auto",
        "instant": panel.kind == "table",
        "range": panel.kind != "table",
        "format": {"table": "table", "heatmap": "heatmap"}.get(panel.kind, "time_series"),
    }


def _field(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    found: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        found |= {"min": 0, "custom": {"lineWidth": 1, "fillOpacity": 0, "showPoints": "never", "spanNulls": False}}
        if panel.limit is not None:
            found["custom"]["thresholdsStyle"] = {"mode": "dashed"}
    if panel.maximum is not None:
        found["max"] = panel.maximum
    return found


def _options(kind: Kind) -> dict[str, Any]:
    if kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"], "values": False}, "colorMode": "value", "graphMode": "area", "textMode": "auto"}
    if kind == "heatmap":
        return {"calculate": False, "yAxis": {"unit": "s"}, "color": {"mode": "scheme", "scheme": "Blues"}, "cellGap": 1}
    if kind == "table":
        return {"showHeader": True}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}

"""Charts as inline SVG: each with its unit, its limit where there is one, and a title that a screen reader says."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from service.report_html import Child, Markup, element

_WIDTH: Final = 720.0
_HEIGHT: Final = 200.0
_LEFT: Final = 56.0
_RIGHT: Final = 8.0
_TOP: Final = 10.0
_BOTTOM: Final = 24.0
_N_LABELS: Final = 8
_SPARK: Final = (96.0, 20.0)


class Bar(NamedTuple):
    """One bar."""

    label: str
    value: float | None
    """None: not known."""
    is_marked: bool = False
    """Drawn lighter."""


class Point(NamedTuple):
    """One place of a line."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    is_marked: bool = False
    """Lies in the shaded zone."""


def bars(found: Sequence[Bar], *, title: str, shown: Callable[[float], str]) -> Markup:
    """Return a bar chart from zero.

    Args:
        found: From left to right.
        title: What it shows, with its unit.
        shown: Writes a value.
    """
    top = nice_top(max((bar.value for bar in found if bar.value is not None), default=0.0))
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(found), 1)
    drawn: list[Child] = []
    for place, bar in enumerate(found):
        if bar.value is None:
            continue
        y = _y(bar.value, top)
        name = element("title", f"{bar.label}: {shown(bar.value)}")
        drawn.append(
            element("rect", name, x=_LEFT + place * step + step * 0.15, y=y, width=step * 0.7, height=_HEIGHT - _BOTTOM - y,
                    class_="bar marked" if bar.is_marked else "bar")
        )  # fmt: skip
    return _chart(title, [*_scale(top, shown), *drawn, *_labels([bar.label for bar in found], step)])


def lines(series: Sequence[tuple[str, Sequence[Point]]], *, title: str, shown: Callable[[float], str]) -> Markup:
    """Return a line chart from 0 to 1 with intervals as bands and the shaded zone of marked places.

    Args:
        series: Class (`a` or `b`) and places of each line; all of the same labels.
        title: What it shows, with its unit.
        shown: Writes a value.
    """
    labels = [point.label for point in series[0][1]] if series else []
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(labels), 1)
    marked = [place for place, point in enumerate(series[0][1]) if point.is_marked] if series else []
    drawn: list[Child] = [
        element("rect", x=_LEFT + place * step, y=_TOP, width=step, height=_HEIGHT - _BOTTOM - _TOP, class_="zone") for place in marked
    ]
    for kind, points in series:
        drawn += _band(points, step, kind)
        drawn += _line(points, step, kind, shown)
    return _chart(title, [*_scale(1.0, shown), *drawn, *_labels(labels, step)])


def spark(values: Sequence[float | None], limit: float | None, *, title: str) -> Markup:
    """Return a small line from zero, its limit drawn in."""
    width, height = _SPARK
    top = max([value for value in values if value is not None] + ([limit] if limit is not None else []), default=0.0) * 1.1 or 1.0
    step = width / max(len(values) - 1, 1)
    known = [(place * step, height - value / top * height) for place, value in enumerate(values) if value is not None]
    drawn: list[Child] = [element("title", title)]
    if limit is not None:
        drawn.append(element("line", x1=0, x2=width, y1=height - limit / top * height, y2=height - limit / top * height, class_="limit"))
    drawn.append(element("polyline", points=_points(known), class_="line a"))
    return element("svg", *drawn, viewBox=f"0 0 {width:.0f} {height:.0f}", class_="spark", role="img", aria_label=title)


def nice_top(largest: float) -> float:
    """Return the end of a scale: 1, 2 or 5 times a power of ten, at least `largest`.

    >>> nice_top(0.0), nice_top(37.0), nice_top(0.0042)
    (1.0, 50.0, 0.005)
    """
    if largest <= 0:
        return 1.0
    power = 10.0 ** (len(f"{largest:.0f}") - 1)
    while power > largest:
        power /= 10
    return float(f"{next(step * power for step in (1, 2, 5, 10) if step * power >= largest * (1 - 1e-9)):.6g}")


def _chart(title: str, children: Sequence[Child]) -> Markup:
    return element(
        "svg", element("title", title), *children, viewBox=f"0 0 {_WIDTH:.0f} {_HEIGHT:.0f}", class_="chart", role="img", aria_label=title
    )  # fmt: skip


def _scale(top: float, shown: Callable[[float], str]) -> list[Child]:
    found: list[Child] = []
    for share in (0.0, 0.5, 1.0):
        y = _y(share * top, top)
        found.append(element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        found.append(element("text", shown(share * top), x=_LEFT - 6, y=y + 4, class_="end"))
    return found


def _labels(labels: Sequence[str], step: float) -> list[Child]:
    every = -(-len(labels) // _N_LABELS) or 1
    return [
        element("text", label, x=_LEFT + (place + 0.5) * step, y=_HEIGHT - 6, class_="middle")
        for place, label in enumerate(labels)
        if place % every == 0
    ]


def _band(points: Sequence[Point], step: float, kind: str) -> list[Child]:
    """Return the intervals of each unbroken stretch."""
    found: list[Child] = []
    for stretch in _stretches(points, lambda point: point.low is not None and point.high is not None):
        upper = [(_x(place, step), _y(points[place].high or 0.0, 1.0)) for place in stretch]
        lower = [(_x(place, step), _y(points[place].low or 0.0, 1.0)) for place in reversed(stretch)]
        found.append(element("polygon", points=_points([*upper, *lower]), class_=f"band {kind}"))
    return found


def _line(points: Sequence[Point], step: float, kind: str, shown: Callable[[float], str]) -> list[Child]:
    found: list[Child] = []
    for stretch in _stretches(points, lambda point: point.value is not None):
        found.append(
            element("polyline", points=_points([(_x(p, step), _y(points[p].value or 0.0, 1.0)) for p in stretch]), class_=f"line {kind}")
        )
        for place in stretch:
            value = points[place].value or 0.0
            name = element("title", f"{points[place].label}: {shown(value)}")
            found.append(element("circle", name, cx=_x(place, step), cy=_y(value, 1.0), r=2.5, class_=f"dot {kind}"))
    return found


def _stretches(points: Sequence[Point], is_known: Callable[[Point], bool]) -> list[list[int]]:
    found: list[list[int]] = [[]]
    for place, point in enumerate(points):
        if is_known(point):
            found[-1].append(place)
        elif found[-1]:
            found.append([])
    return [stretch for stretch in found if stretch]


def _x(place: int, step: float) -> float:
    return _LEFT + (place + 0.5) * step


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _BOTTOM - _TOP)


def _points(found: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in found)

"""`python -m benchmarks.quality_trial`: label-free estimates against what came out, and intervals against final values.

Prints the tables of docs/quality.md. A model is trained once on the past of seed 1; everything after it is new to it.
"""

import json
from collections.abc import Iterator
from itertools import product
from typing import Any, Final, NamedTuple

import click
import numpy as np
import polars as pl
from rich.console import Console

from benchmarks.quality_speed import quality
from benchmarks.quality_world import N_DAYS, PAST_DAYS, STREAM_MS, Scored, days_of, history_of, reviewed, scored, trained
from monitoring.label_free import LabelFree
from monitoring.quality import ALERTED, STRATA, Estimate, QualityDay
from monitoring.quality_facts import DAY_MS, Answers, DayFacts
from monitoring.quality_report import report
from simulate.drift import Drift

__all__ = ["coverage", "label_free", "main", "quality"]

CHANGE_DAY: Final = 50
"""Scored day from which the world differs."""
WORLDS: Final[dict[str, tuple[Drift, ...]]] = {
    "nothing changes": (),
    "40 % of shop purchases move online": (Drift("channel_shift", PAST_DAYS + CHANGE_DAY),),
    "prices rise by 25 %": (Drift("inflation", PAST_DAYS + CHANGE_DAY),),
    "**concept:** a new kind of fraud": (Drift("new_story", PAST_DAYS + CHANGE_DAY),),
}
MORE_FRAUD: Final = "**concept:** fraud becomes 2.5 times as frequent"
_KEPT: Final = 0.4
_REPORT_DAYS: Final = range(60, N_DAYS + 1, 5)
_END_OF_TIME_MS: Final = 1 << 60
_BINS: Final = ((0, 3), (3, 7), (7, 14), (14, 21), (21, 30), (30, 46))


class Checked(NamedTuple):
    """One quantity of one day in one report, and what it was in the end."""

    what: str
    age_days: int
    is_covered: bool
    error: float
    raw_error: float
    width: float


@click.command()
@click.option("--seeds", default=3, show_default=True, help="Simulated banks.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of Markdown.")
def main(*, seeds: int, as_json: bool) -> None:
    """Print the tables of docs/quality.md; about ten minutes on two cores.

    Example: python -m benchmarks.quality_trial --seeds 3
    """
    console = Console(stderr=True, highlight=False)
    console.print("training on the past of seed 1")
    scorer = trained(history_of(1), lambda stage, share: console.print(f"  {stage}") if share >= 1.0 else None)
    free: list[dict[str, Any]] = []
    checked: dict[str, list[Checked]] = {"analysts, customers and charge-backs": [], "alerts reviewed, the rest by charge-back": []}
    for seed, (name, drifts) in product(range(1, seeds + 1), WORLDS.items()):
        console.print(f"seed {seed}: {name.replace('*', '')}")
        world = scored(history_of(seed, drifts), scorer)
        free.append(label_free(name, world))
        if not drifts:
            free.append(label_free(MORE_FRAUD, _more_fraud(world, np.random.default_rng(seed))))
            other = reviewed(world, np.random.default_rng(seed))
            for found, labelled in zip(checked.values(), (world, other), strict=True):
                found.extend(coverage(labelled))
    tables = {"label_free": _label_free_table(free), **{name: _coverage_table(found) for name, found in checked.items()}}
    if as_json:
        click.echo(json.dumps(tables, indent=2))
        return
    for name, rows in tables.items():
        click.echo(f"\n{name}\n\n{_markdown(rows)}")


def label_free(name: str, world: Scored) -> dict[str, Any]:
    """Return counts of the days from CHANGE_DAY on: promised by the probabilities, and reported in the end."""
    later = world.answers.event_ms >= STREAM_MS + CHANGE_DAY * DAY_MS
    p, is_alert, is_fraud = world.answers.probability[later], world.answers.is_alert[later], world.is_reported[later]
    expected = LabelFree.of(p, is_alert)
    return {"world": name, "alerts": expected.n_alerts, "frauds": int(is_fraud.sum()), "caught": int((is_alert & is_fraud).sum()),
            "expected_frauds": expected.frauds, "expected_caught": expected.frauds_alerted}  # fmt: skip


def coverage(world: Scored) -> Iterator[Checked]:
    """Yield every estimate, of days whose labels were still coming in, of a report every five days, with its final value."""
    final = days_of(world, from_day=0, to_day=N_DAYS, known_before_ms=_END_OF_TIME_MS)
    for now in _REPORT_DAYS:
        to_ms = STREAM_MS + now * DAY_MS
        shown = report(days_of(world, from_day=0, to_day=now, known_before_ms=to_ms), to_ms=to_ms, holes={})
        for place, (day, truth) in enumerate(zip(shown.days, final, strict=False)):
            yield from _checked(day, truth, now - place)


def _checked(day: QualityDay, truth: DayFacts, age_days: int) -> Iterator[Checked]:
    n_caught, n_frauds = int(truth.is_alert.sum()), len(truth.is_alert)
    pairs: tuple[tuple[str, Estimate | None, float, tuple[str, ...]], ...] = (
        ("precision", day.precision, n_caught / max(truth.n_alerts, 1), (ALERTED,)),
        ("recall", day.recall, n_caught / max(n_frauds, 1), STRATA),
        ("number of frauds", day.frauds, n_frauds, STRATA),
        ("amount caught, EUR", day.caught, float(truth.amount_minor[truth.is_alert].sum()), (ALERTED,)),
        ("amount missed, EUR", day.missed, float(truth.amount_minor[~truth.is_alert].sum()), (STRATA[0],)),
    )
    for what, found, value, strata in pairs:
        if found is None or found.value is None or found.low is None or found.high is None or found.raw is None:
            continue
        if min(day.maturity[name] for name in strata) < 1.0:  # else all is known, and covering it is no feat
            unit = 100.0 if "EUR" in what else 1.0
            errors = (found.value - value) / unit, (found.raw - value) / unit
            yield Checked(what, age_days, found.low <= value <= found.high, *errors, (found.high - found.low) / unit)


def _more_fraud(world: Scored, random: np.random.Generator) -> Scored:
    """Return the world with a share of what is not fraud left out from CHANGE_DAY on: each probability then means more than it says."""
    is_early = world.answers.event_ms < STREAM_MS + CHANGE_DAY * DAY_MS
    kept = is_early | world.is_reported | (random.random(len(is_early)) < _KEPT)
    answers = Answers._make(column[kept] for column in world.answers)
    return Scored(answers, world.amount_minor[kept], world.is_reported[kept], world.label_ms[kept])


def _label_free_table(free: list[dict[str, Any]]) -> list[dict[str, str]]:
    sums = pl.DataFrame(free).group_by("world", maintain_order=True).sum()
    order = [*WORLDS, MORE_FRAUD]
    return [
        {
            "from scored day 50 on": row["world"],
            "precision, final": f"{row['caught'] / row['alerts']:.3f}",
            "label-free": f"{row['expected_caught'] / row['alerts']:.3f}",
            "recall, final": f"{row['caught'] / row['frauds']:.3f}",
            "label-free ": f"{row['expected_caught'] / row['expected_frauds']:.3f}",
            "frauds, final": f"{row['frauds']:,}",
            "label-free  ": f"{row['expected_frauds']:,.0f}",
        }
        for row in sorted(sums.iter_rows(named=True), key=lambda row: order.index(row["world"]))
    ]


def _coverage_table(found: list[Checked]) -> list[dict[str, str]]:
    frame = pl.DataFrame(found, schema=list(Checked._fields), orient="row")
    parts = [(what, frame.filter(pl.col("what") == what)) for what in dict.fromkeys(one.what for one in found)]
    recall = frame.filter(pl.col("what") == "recall")
    for low, end in _BINS:
        part = recall.filter(pl.col("age_days").is_between(low, end, closed="left"))
        if not part.is_empty():
            parts.append((f"recall, {low} to {end - 1} days old", part))
    return [
        {
            "": name,
            "days checked": f"{part.height:,}",
            "covered": f"{part['is_covered'].sum() / part.height:.1%}",
            "mean error": _number(part["error"]),
            "mean error, uncorrected": _number(part["raw_error"]),
            "mean width": _number(part["width"]).lstrip("+"),
        }
        for name, part in parts
    ]  # fmt: skip


def _number(values: pl.Series) -> str:
    mean = float(values.to_numpy().mean())
    return f"{mean:+,.0f}" if abs(mean) >= 100 else f"{mean:+.1f}" if abs(mean) >= 2 else f"{mean:+.3f}"


def _markdown(rows: list[dict[str, str]]) -> str:
    lines = ["| " + " | ".join(name.strip() for name in rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join([*lines, *("| " + " | ".join(row.values()) + " |" for row in rows)])


if __name__ == "__main__":
    main()

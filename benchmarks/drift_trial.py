"""`python -m benchmarks.drift_trial`: how soon changes are seen, and how often stationary months cry wolf.

Each seed is a world of its own: simulated people, features by the offline twin, a model trained on four weeks, counters
as a worker keeps them, 28 days that set the limits, then 30 days that are evaluated every hour.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from statistics import median
from typing import Any, Final, NamedTuple

import click
from rich.console import Console

from benchmarks.drift_world import MATURITY_DAYS, TRIAL_DAY, TRIAL_DAYS, MeanShift, Served, World
from models.options import DAY_MS
from monitoring.concept import concept_changes, matured_outcomes
from monitoring.design_effect import DesignEffects, estimate
from monitoring.drift_evaluation import evaluate
from monitoring.incident_words import Kind
from monitoring.incidents import IncidentEvent, Incidents, fold
from monitoring.packed import HOUR_MS
from simulate.drift import Drift
from simulate.generate import START_MS

DRIFT_DAY: Final = TRIAL_DAY + 2
"""After two quiet days, and before the holiday of 1 May."""
_BASELINE_END: Final = (START_MS + TRIAL_DAY * DAY_MS) // HOUR_MS
_END: Final = _BASELINE_END + TRIAL_DAYS * 24
_DRIFT_HOUR: Final = (START_MS + DRIFT_DAY * DAY_MS) // HOUR_MS
_ABOUT_H: Final = 24


class Case(NamedTuple):
    """One change, and which incident means that it was seen."""

    name: str
    change: Drift | MeanShift
    shows: Callable[[IncidentEvent], bool]


def _touches(feature: str) -> Callable[[IncidentEvent], bool]:
    return lambda event: feature in event.features


def _is_of_model(event: IncidentEvent) -> bool:
    return event.kind in {"score_drift", "alert_rate", "concept"}


CASES: Final = (
    *(
        Case(f"mean of {feature} + {n_sd} sd", MeanShift(feature, n_sd), _touches(feature))
        for feature in ("event_log_amount", "merchant_mean_24h")
        for n_sd in (0.25, 0.5)
    ),
    Case("broken field (no merchant category)", Drift("broken_field", DRIFT_DAY), _touches("event_category")),
    Case("channel shift (40 % of local purchases go online)", Drift("channel_shift", DRIFT_DAY), _touches("event_channel")),
    Case("inflation (all amounts + 25 %)", Drift("inflation", DRIFT_DAY), _touches("event_log_amount")),
    Case("new fraud story (0.15 % of transactions)", Drift("new_story", DRIFT_DAY), _is_of_model),
)


class Trial(NamedTuple):
    """What one seed showed."""

    seed: int
    incidents: tuple[tuple[float, str, str], ...]
    """Of the stationary days: day, kind, sentence of each incident."""
    n_messages: int
    """Incidents and their growth."""
    delays: Mapping[str, tuple[int, int] | None]
    """Case -> (transactions, minutes) from the change to the alarm; None: not seen."""
    transactions_per_day: int


@click.command()
@click.option("--seeds", default=10, show_default=True, help="Stationary worlds.")
@click.option("--drift-seeds", default=3, show_default=True, help="Of them, worlds in which each change is tried.")
@click.option("--cards", default=5_000, show_default=True, help="Cards of each world.")
@click.option("--jobs", default=1, show_default=True, help="Worlds at a time; each needs about 1 GB.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def main(*, seeds: int, drift_seeds: int, cards: int, jobs: int, as_json: bool) -> None:
    """Print false alarms and detection delays."""
    console = Console(stderr=True, highlight=False)
    trials = []
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(_trial, seed, cards, seed <= drift_seeds) for seed in range(1, seeds + 1)]
        for done in as_completed(waiting):
            trial = done.result()
            trials.append(trial)
            for day, kind, sentence in trial.incidents:
                console.print(f"seed {trial.seed}, day {day:.1f}, {kind}: {sentence}")
            for name, delay in trial.delays.items():
                console.print(f"seed {trial.seed}, {name}: {'not seen' if delay is None else f'{delay[1]} min, {delay[0]:,} transactions'}")
            console.print(f"seed {trial.seed}: {len(trial.incidents)} incidents in {TRIAL_DAYS} stationary days")
    click.echo(json.dumps(_summary(trials), indent=None if as_json else 2))


def _summary(trials: Sequence[Trial]) -> dict[str, Any]:
    trials = sorted(trials)
    detection = {}
    for name in trials[0].delays:
        found = [trial.delays[name] for trial in trials if trial.delays]
        seen = [delay for delay in found if delay is not None]
        detection[name] = {
            "seen": f"{len(seen)} of {len(found)}",
            "transactions": int(median(delay[0] for delay in seen)) if seen else None,
            "minutes": [delay[1] for delay in seen],
        }
    return {
        "transactions_per_day": round(sum(trial.transactions_per_day for trial in trials) / len(trials)),
        "stationary_days": TRIAL_DAYS * len(trials),
        "incidents": sum(len(trial.incidents) for trial in trials),
        "incidents_by_seed": [len(trial.incidents) for trial in trials],
        "incidents_by_kind": dict(Counter(kind for trial in trials for _, kind, _ in trial.incidents)),
        "messages": sum(trial.n_messages for trial in trials),
        "detection": detection,
    }


def _trial(seed: int, cards: int, with_changes: bool) -> Trial:  # noqa: FBT001 - `submit` takes positions
    world = World(seed, cards)
    served = world.stationary
    effects = estimate({hour: counts for hour, counts in served.hours.items() if hour < _BASELINE_END}, world.profile)
    told = list(_told(world, effects, served, _BASELINE_END + 1))
    first = {event.id: ((hour - _BASELINE_END) / 24, event.kind, event.sentence) for hour, event in reversed(told)}
    anyway = [(hour, event.kind) for hour, event in told]
    delays = {case.name: _delay(world, effects, case, anyway) for case in CASES} if with_changes else {}
    per_day = round(sum(counts.n_rows for counts in served.hours.values()) / (len(served.hours) / 24))
    return Trial(seed, tuple(sorted(first.values())), len(told), delays, per_day)


def _told(world: World, effects: DesignEffects, served: Served, first_hour: int) -> Iterator[tuple[int, IncidentEvent]]:
    """Evaluate every hour to the end of the trial; yield each incident when it begins and when it grows."""
    state = Incidents()
    outcomes = matured_outcomes(served.alerts, maturity_ms=MATURITY_DAYS * DAY_MS, now_ms=_END * HOUR_MS)
    changes = list(concept_changes(*outcomes))
    for hour in range(first_hour, _END + 1):
        report = evaluate(served.hours, world.profile, effects, now_hour=hour, importance=world.importance)
        # A change of concept is known when the alert that showed it is mature.
        known = [change for change in changes if change.time_ms + MATURITY_DAYS * DAY_MS <= hour * HOUR_MS]
        state, events = fold(state, report, hour, concept=known[-1] if known else None)
        yield from ((hour, event) for event in events if event.ended_ms is None)


def _delay(world: World, effects: DesignEffects, case: Case, anyway: Sequence[tuple[int, Kind]]) -> tuple[int, int] | None:
    """Return the delay; an alarm that the same world raises without the change, a day earlier or later at most, is none."""
    served = world.changed(DRIFT_DAY, case.change)
    for hour, event in _told(world, effects, served, _DRIFT_HOUR + 1):
        is_of_change = not any(kind == event.kind and abs(hour - at) <= _ABOUT_H for at, kind in anyway)
        if is_of_change and case.shows(event):
            return sum(counts.n_rows for at, counts in served.hours.items() if _DRIFT_HOUR <= at < hour), (hour - _DRIFT_HOUR) * 60
    return None


if __name__ == "__main__":
    main()

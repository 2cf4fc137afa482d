"""`python -m benchmarks.drift_speed`: what an evaluation of drift takes, of 200 features over three windows and two references."""

import json
import time
from collections.abc import Callable
from typing import Final

import click
import numpy as np

from monitoring.design_effect import estimate
from monitoring.drift_evaluation import evaluate
from monitoring.drift_windows import PAST_WEEKS, WEEK_H
from monitoring.incidents import Incidents, fold
from monitoring.packed import Counts
from monitoring.profile import N_BINS, Profile

N_FEATURES: Final = 200
_FIRST_HOUR: Final = 480_000
_ROWS_AN_HOUR: Final = 1_000
_N_TIMES: Final = 20


def evaluation() -> dict[str, float]:
    """Return median milliseconds of processor time of one evaluation, of its folding, and of measuring the limits (once a model)."""
    random = np.random.default_rng(1)
    names = [f"feature_{i}" for i in range(N_FEATURES)]
    profile = Profile.of(names, random.normal(size=(20_000, N_FEATURES)).astype(np.float32), random.random(20_000))
    share = np.r_[np.full(N_BINS, 0.99 / N_BINS), 0.01]
    hours = {
        _FIRST_HOUR + hour: Counts(_ROWS_AN_HOUR, 5, random.multinomial(_ROWS_AN_HOUR, share, N_FEATURES + 1))
        for hour in range(WEEK_H * (PAST_WEEKS + 1))
    }
    end = _FIRST_HOUR + len(hours)
    effects = estimate(hours, profile)
    report = evaluate(hours, profile, effects, now_hour=end, importance={})
    return {
        "evaluate_ms": _median_ms(lambda: evaluate(hours, profile, effects, now_hour=end, importance={}), _N_TIMES),
        "fold_ms": _median_ms(lambda: fold(Incidents(), report, end), _N_TIMES),
        "estimate_ms": _median_ms(lambda: estimate(hours, profile), 3),
    }


def _median_ms(call: Callable[[], object], n_times: int) -> float:
    found = []
    for _ in range(n_times):
        began_s = time.process_time()
        call()
        found.append((time.process_time() - began_s) * 1e3)
    return round(float(np.median(found)), 1)


@click.command()
def main() -> None:
    """Print the times as JSON."""
    click.echo(json.dumps(evaluation(), indent=2))


if __name__ == "__main__":
    main()

"""One fold's models: each fitted as of T, each asked for the test window and for the newest days before T."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.decision import Tier
from models.baselines import fit_baselines
from models.dataset import Dataset, Window
from models.ensemble import compile_members
from models.fitted import Fitted
from models.options import TrainingOptions
from models.policy import from_alert_rate
from models.session import run_in_blocks
from models.training import fit


@dataclass(frozen=True, slots=True)
class Contender:
    """A model's answers.

    Attributes:
        probability: Of the test rows.
        threshold: From which on a row is an alert: the target alert rate on the newest days before T, no labels needed.
    """

    probability: NDArray[np.float64]
    threshold: float


@dataclass(frozen=True, slots=True)
class Contest:
    """All models of a configuration on one fold."""

    contenders: Mapping[str, Contender]
    weights: Mapping[str, float]
    """Of the members in the ensemble."""


def contest(
    dataset: Dataset,
    newest: NDArray[np.float32],
    tests: NDArray[np.float32],
    window: Window,
    options: TrainingOptions,
    *,
    with_baselines: bool,
) -> Contest:
    """Fit a configuration, and the baselines if wanted, and return what they say of the test rows.

    Args:
        dataset: The rows that may train.
        newest: Vectors of the newest days before T.
        tests: Vectors of the test rows.
        window: What the dataset holds.
        options: The configuration.
        with_baselines: Whether the baselines take part.

    Raises:
        TrainingRefused: The rows cannot carry a model.
    """
    fitted = fit(dataset, newest, window, options)
    before = newest if len(newest) else dataset.vectors
    of_tests, of_newest = _answers(fitted, tests, options), _answers(fitted, before, options)
    if with_baselines:
        for name, baseline in fit_baselines(dataset, options).items():
            of_tests[name], of_newest[name] = baseline.probability(tests), baseline.probability(before)
    found = {name: Contender(p, _threshold(of_newest[name], options)) for name, p in of_tests.items()}
    return Contest(found, fitted.ensemble.mixture.weight)


def _answers(fitted: Fitted, vectors: NDArray[np.float32], options: TrainingOptions) -> dict[str, NDArray[np.float64]]:
    """Return the calibrated probabilities of the ensemble, the small model and every member."""
    ensemble, calibrated = fitted.ensemble, fitted.calibrated
    columns = run_in_blocks(compile_members(ensemble.members, ensemble.tables), "members", vectors, options.n_jobs)
    logits = {name: columns[:, place] for place, name in enumerate(ensemble.members)}
    small = run_in_blocks(fitted.small, "logit", vectors, options.n_jobs)[:, 0]
    found = {
        "ensemble": calibrated.tiers[Tier.FULL].probability(ensemble.mixture.logit(logits)),
        "small": calibrated.tiers[Tier.SMALL].probability(small),
    }
    return found | {name: ensemble.mixture.calibration[name].probability(logit) for name, logit in logits.items()}


def _threshold(probabilities: NDArray[np.float64], options: TrainingOptions) -> float:
    return from_alert_rate(probabilities, alert_rate=options.alert_rate, decline_share=options.decline_share).review

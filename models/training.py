"""From a history to what a model learns: replay, fit, calibrate, refit, compile."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from domain.decision import Tier
from domain.errors import TrainingRefused
from features.currency import Rates
from features.offline import replay
from features.spec import FeatureSettings
from models.categories import CategoryTables
from models.dataset import Dataset, Window, build, calibration_start, late_frauds, require_eligible
from models.ensemble import Ensemble, compile_ensemble, compile_members, fit_members, fit_mixture
from models.fitted import Calibrated, Fitted, Trained
from models.hidden import hidden_columns
from models.members import Member, chosen
from models.metrics import measure
from models.missing import without_state
from models.options import DAY_MS, TrainingOptions
from models.sample import Sample, draw
from models.session import run_in_blocks
from models.small import SmallModel
from models.stages import Progress, Stages, silent
from models.tier_calibration import calibrated_tier

NO_MEMBERS: Mapping[str, Member] = {}


def train(
    history: pl.DataFrame,
    *,
    features: FeatureSettings,
    rates: Rates,
    options: TrainingOptions,
    name: str = "weir",
    from_ms: int | None = None,
    to_ms: int | None = None,
    foreign: Mapping[str, Member] = NO_MEMBERS,
    observe: Callable[[Fitted], None] | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train a model as of `to_ms`; the same history, settings and options give the same files.

    Memory is linear in the eligible rows and those of the newest days: about 188 x 4 bytes a row, three times.

    Args:
        history: Normalised, see `features.history`.
        features: What the features depend on.
        rates: Of the base currency.
        options: Every choice.
        name: Of the model.
        from_ms: First event time that may train; None = T - maturity - 28 days.
        to_ms: T, exclusive for events and labels; None = just after the newest event.
        foreign: Members that were trained elsewhere, by name: not fitted here, but calibrated and weighed like the others.
        observe: Shown what was learnt before it becomes a bundle; changes nothing.
        progress: Told stage and finished share.

    Raises:
        ConfigError: The options name a member or a feature that does not exist.
        TrainingRefused: The history cannot carry a model; the sentence says what is missing.
        ModelError: A compiled graph differs from what was fitted.
    """
    stages = Stages(progress)
    prepared = prepare(history, features=features, rates=rates, options=options, from_ms=from_ms, to_ms=to_ms, stages=stages)
    fitted = fit(prepared.dataset, prepared.newest, prepared.window, options, stages, foreign)
    if observe is not None:
        observe(fitted)
    return fitted.finish(name=name, features=features, rates=rates.digest(), warnings=prepared.warnings)


class Prepared(NamedTuple):
    """Rows that a training may use."""

    dataset: Dataset
    newest: NDArray[np.float32]
    """Vectors of the newest days before T."""
    window: Window
    warnings: tuple[str, ...]


def prepare(
    history: pl.DataFrame,
    *,
    features: FeatureSettings,
    rates: Rates,
    options: TrainingOptions,
    from_ms: int | None = None,
    to_ms: int | None = None,
    stages: Stages | None = None,
) -> Prepared:
    """Check a history and replay its features; arguments and errors as for `train`."""
    stages = stages or Stages()
    # Names are checked before the long work.
    chosen(options)
    hidden_columns(options.without)
    window = Window.ending(history, from_ms=from_ms, to_ms=to_ms, maturity_days=features.maturity_days, days=options.days)
    past = history.filter(pl.col("event_time_ms") < window.to_ms)
    eligible, newest = window.eligible(past), window.newest(past, options.threshold_days)
    require_eligible(past, window)
    # Refuse before the long work: the frauds are counted without vectors.
    try:
        calibration_start(build(past, np.empty((int(eligible.sum()), 0), np.float32), window), options)
    except TrainingRefused as error:
        if not (n_late := late_frauds(past, window)):
            raise
        raise TrainingRefused(
            f"{error}; {n_late} frauds became known only at or after the moment of training and count as good: give a later --to"
        ) from error
    with stages.stage("replay"):
        kept = eligible | newest
        vectors = replay(past, features, rates, keep=kept, progress=lambda share: stages.progress("replay", share))
    # The largest array there is goes with the end of this function; both parts are copies.
    return Prepared(build(past, vectors[eligible[kept]], window), vectors[newest[kept]], window, _warnings(past, window, options))


def fit(
    dataset: Dataset,
    newest: NDArray[np.float32],
    window: Window,
    options: TrainingOptions,
    stages: Stages | None = None,
    foreign: Mapping[str, Member] = NO_MEMBERS,
) -> Fitted:
    """Learn everything from a dataset.

    Args:
        dataset: The eligible rows.
        newest: Vectors of the newest days before T, which set the thresholds.
        window: What the dataset holds.
        options: Every choice.
        stages: Times the stages.
        foreign: Members that were trained elsewhere, by name.

    Raises:
        TrainingRefused: Too few frauds, or the members learnt nothing.
    """
    stages = stages or Stages()
    start_day = calibration_start(dataset, options)
    calibrated = _calibrate(dataset, start_day, options, stages, foreign)
    with stages.stage("fit"):
        tables = CategoryTables.fit(dataset.vectors, dataset.target)
        ensemble = Ensemble(tables, {**fit_members(draw(dataset, options), options), **foreign}, calibrated.early.mixture)
    with stages.stage("compile"):
        full, small = compile_ensemble(ensemble), calibrated.small.compile()
    if not len(newest):
        newest = dataset.vectors[dataset.day >= start_day]
    return Fitted(dataset, newest, window, options, stages, start_day, calibrated, ensemble, full, small)


def _calibrate(dataset: Dataset, start_day: int, options: TrainingOptions, stages: Stages, foreign: Mapping[str, Member]) -> Calibrated:
    before, slice_ = dataset.take(dataset.day < start_day), dataset.take(dataset.day >= start_day)
    with stages.stage("calibrate"):
        sample, tables = draw(before, options), CategoryTables.fit(before.vectors, before.target)
        del before
        members = {**fit_members(sample, options), **foreign}
        graph = compile_members(members, tables)
        logits = _member_logits(graph, members, slice_.vectors, options)
        mixture = fit_mixture(logits, slice_.target, slice_.weight)
        early = Ensemble(tables, members, mixture)
        mean = mixture.logit(logits)
        full = calibrated_tier(mean, slice_, "ensemble")
        hidden = without_state(slice_.vectors)
        degraded_mean = mixture.logit(_member_logits(graph, members, hidden, options))
        degraded = calibrated_tier(degraded_mean, slice_, "degraded")
    with stages.stage("distil"):
        small_model = SmallModel.fit(sample.inputs, full.probability(_teach(early, sample, options)), tables, options)
        small_logit = run_in_blocks(small_model.compile(), "logit", slice_.vectors, options.n_jobs)[:, 0]
        small = calibrated_tier(small_logit, slice_, "small")
    found = {"ensemble": full.probability(mean), "small": small.probability(small_logit), "degraded": degraded.probability(degraded_mean)}
    found |= {name: mixture.calibration[name].probability(logit) for name, logit in logits.items()}
    metrics = {name: measure(probability, slice_.target) for name, probability in found.items()}
    return Calibrated(early, {Tier.FULL: full, Tier.SMALL: small, Tier.DEGRADED: degraded}, small_model, metrics)


def _teach(early: Ensemble, sample: Sample, options: TrainingOptions) -> NDArray[np.float64]:
    return early.mixture.logit(_member_logits(compile_members(early.members, None), early.members, sample.inputs, options))


def _member_logits(
    graph: bytes, members: Mapping[str, Member], rows: NDArray[np.float32], options: TrainingOptions
) -> dict[str, NDArray[np.float64]]:
    found = run_in_blocks(graph, "members", rows, options.n_jobs)
    return {name: found[:, place] for place, name in enumerate(members)}


def _warnings(past: pl.DataFrame, window: Window, options: TrainingOptions) -> tuple[str, ...]:
    first = past["event_time_ms"].min()
    assert isinstance(first, int)
    days = (window.from_ms - first) / DAY_MS
    if days > options.warm_up_days - 1:
        return ()
    return (
        (
            f"the history starts {max(days, 0):.0f} days before the first training day; with less than {options.warm_up_days} days "
            "the first rows know too little about their cards and merchants"
        ),
    )

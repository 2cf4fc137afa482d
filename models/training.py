"""From a history to the files of a bundle: replay, fit, calibrate, refit, compile, prove, set thresholds."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from io import BytesIO
from time import perf_counter
from typing import Final

import joblib
import numpy as np
import polars as pl
from numpy.typing import NDArray

from domain.decision import Tier
from domain.errors import TrainingRefused
from features.currency import Rates
from features.offline import replay
from features.spec import FEATURES, FeatureSettings, fingerprint
from models import bundle
from models.calibration import Platt
from models.card import model_card
from models.categories import CategoryTables
from models.dataset import Dataset, Window, build, calibration_start
from models.ensemble import Ensemble, Mixture, compile_ensemble, compile_members, fit_members, fit_mixture
from models.manifest import FORMAT, Manifest, TrainingWindow
from models.metrics import measure
from models.missing import without_state
from models.options import DAY_MS, TrainingOptions
from models.parity import Parity, check_parity, reference_rows
from models.policy import Policy, from_alert_rate
from models.sample import draw
from models.serving import Serving
from models.session import run_in_blocks
from models.small import SmallModel
from models.trees import Nodes, from_booster, from_classifiers
from monitoring.profile import Profile

STAGES: Final = ("replay", "calibrate", "distil", "fit", "compile", "thresholds")
_LIBRARIES: Final = ("numpy", "onnx", "onnxruntime", "scikit-learn", "xgboost-cpu")
_GOLDEN_ROWS: Final = 64

Progress = Callable[[str, float], None]
Metrics = Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class Trained:
    """A model ready to be written by `bundle.write_bundle`.

    Attributes:
        manifest: Complete but for the digests of the files.
        files: Name -> bytes; together with the manifest a function of data, settings and seeds alone.
        seconds: Time of each stage; not part of the bundle.
        warnings: What a person should know.
    """

    manifest: Manifest
    files: Mapping[str, bytes]
    seconds: Mapping[str, float]
    warnings: tuple[str, ...]


@dataclass
class _Stages:
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage and tell where it stands."""
        self.progress(name, 0.0)
        start = perf_counter()
        yield
        self.seconds[name] = perf_counter() - start
        self.progress(name, 1.0)


@dataclass(frozen=True)
class _Calibrated:
    """What the calibration slice taught, with members that had not seen it."""

    mixture: Mixture
    tiers: Mapping[Tier, Platt]
    small: SmallModel
    metrics: Metrics


def train(
    history: pl.DataFrame,
    *,
    features: FeatureSettings,
    rates: Rates,
    options: TrainingOptions,
    name: str = "weir",
    from_ms: int | None = None,
    to_ms: int | None = None,
    progress: Progress = lambda _stage, _share: None,
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
        progress: Told stage and finished share.

    Raises:
        TrainingRefused: The history cannot carry a model; the sentence says what is missing.
        ModelError: A compiled graph differs from what was fitted.
    """
    stages = _Stages(progress)
    window = Window.ending(history, from_ms=from_ms, to_ms=to_ms, maturity_days=features.maturity_days, days=options.days)
    past = history.filter(pl.col("event_time_ms") < window.to_ms)
    eligible, newest = window.eligible(past), window.newest(past, options.threshold_days)
    if not eligible.any():
        raise TrainingRefused(f"no transaction is at least {features.maturity_days} days old inside the window; give an earlier --from")
    # Refuse before the long work: the frauds are counted without vectors.
    calibration_start(build(past, np.empty((int(eligible.sum()), 0), np.float32), window), options)
    with stages.stage("replay"):
        kept = eligible | newest
        vectors = replay(past, features, rates, keep=kept, progress=lambda share: progress("replay", share))
    dataset, young = build(past, vectors[eligible[kept]], window), vectors[newest[kept]]
    del vectors  # the largest array there is; both parts are copies
    return fit(dataset, young, window, options, stages).finish(
        name=name, features=features, rates=rates.digest(), warnings=_warnings(past, window, options)
    )


@dataclass(frozen=True)
class Fitted:
    """Everything learnt; `finish` makes it files."""

    dataset: Dataset
    newest: NDArray[np.float32]
    window: Window
    options: TrainingOptions
    stages: _Stages
    start_day: int
    calibrated: _Calibrated
    ensemble: Ensemble
    full: bytes
    small: bytes

    def finish(self, *, name: str, features: FeatureSettings, rates: str, warnings: tuple[str, ...]) -> Trained:
        """Set the thresholds, prove the graphs, and return manifest and files."""
        with self.stages.stage("thresholds"):
            scores = self._scores(self.newest)
            rate = {"alert_rate": self.options.alert_rate, "decline_share": self.options.decline_share}
            policy = Policy({tier: from_alert_rate(found, **rate) for tier, found in scores.items()})
            parity = self._parity(policy)
            golden = self.newest[:: max(1, len(self.newest) // _GOLDEN_ROWS)][:_GOLDEN_ROWS]
            serving = Serving(self.ensemble.tables, self.calibrated.small.tables, golden, self._scores(golden))
            profile = Profile.of([f.name for f in FEATURES], self.dataset.vectors, scores[Tier.FULL])
        manifest = Manifest(
            format=FORMAT,
            name=name,
            libraries={library: version(library) for library in _LIBRARIES},
            spec=fingerprint(features),
            base_currency=features.base_currency,
            rates=rates,
            window=self._window(),
            options=self.options,
            calibration=self.calibrated.tiers,
            member_weights=self.ensemble.mixture.weight,
            policy=policy,
            metrics=self.calibrated.metrics,
            parity=parity,
            files={},
        )
        files = self._files(serving, profile) | {bundle.CARD: b""}
        files[bundle.CARD] = model_card(manifest, {name: len(files[name]) for name in (bundle.FULL, bundle.SMALL)}).encode()
        return Trained(manifest, files, self.stages.seconds, warnings)

    def _scores(self, vectors: NDArray[np.float32]) -> dict[Tier, NDArray[np.float64]]:
        inputs = {Tier.FULL: (self.full, vectors), Tier.SMALL: (self.small, vectors), Tier.DEGRADED: (self.full, without_state(vectors))}
        return {
            tier: self.calibrated.tiers[tier].probability(run_in_blocks(graph, "logit", rows, self.options.n_jobs)[:, 0])
            for tier, (graph, rows) in inputs.items()
        }

    def _parity(self, policy: Policy) -> dict[str, Parity]:
        rows = reference_rows(self.dataset.vectors, _trees(self.ensemble), self.options.seed)
        both = {tier: (platt, policy.thresholds[tier]) for tier, platt in self.calibrated.tiers.items()}
        jobs = self.options.n_jobs
        full = check_parity(
            rows,
            self.ensemble.logit,
            lambda x: run_in_blocks(self.full, "logit", x, jobs)[:, 0],
            [both[Tier.FULL], both[Tier.DEGRADED]],
            bundle.FULL,
        )
        rows = reference_rows(self.dataset.vectors, [from_booster(self.calibrated.small.booster)], self.options.seed + 1)
        small = check_parity(
            rows, self.calibrated.small.logit, lambda x: run_in_blocks(self.small, "logit", x, jobs)[:, 0], [both[Tier.SMALL]], bundle.SMALL
        )
        return {bundle.FULL: full, bundle.SMALL: small}

    def _window(self) -> TrainingWindow:
        inside = self.dataset.day >= self.start_day
        return TrainingWindow(
            from_ms=self.window.from_ms,
            to_ms=self.window.to_ms,
            maturity_ms=self.window.maturity_ms,
            calibration_from_ms=self.start_day * DAY_MS,
            n_rows=len(self.dataset.target),
            n_frauds=int(self.dataset.target.sum()),
            n_calibration_rows=int(inside.sum()),
            n_calibration_frauds=int(self.dataset.target[inside].sum()),
        )

    def _files(self, serving: Serving, profile: Profile) -> dict[str, bytes]:
        members = BytesIO()
        joblib.dump({"ensemble": self.ensemble, "small": self.calibrated.small}, members, compress=("zlib", 3))
        return {
            bundle.FULL: self.full,
            bundle.SMALL: self.small,
            bundle.BOOSTER: bytes(self.ensemble.members["xgboost"].booster.save_raw("ubj")),  # type: ignore[attr-defined]  # the reasons' booster
            bundle.SMALL_BOOSTER: bytes(self.calibrated.small.booster.save_raw("ubj")),
            bundle.SERVING: serving.encode(),
            bundle.MEMBERS: members.getvalue(),
            bundle.PROFILE: profile.encode(),
        }


def fit(dataset: Dataset, newest: NDArray[np.float32], window: Window, options: TrainingOptions, stages: _Stages | None = None) -> Fitted:
    """Learn everything from a dataset.

    Args:
        dataset: The eligible rows.
        newest: Vectors of the newest days before T, which set the thresholds.
        window: What the dataset holds.
        options: Every choice.
        stages: Times the stages.

    Raises:
        TrainingRefused: Too few frauds, or the members learnt nothing.
    """
    stages = stages or _Stages(lambda _stage, _share: None)
    start_day = calibration_start(dataset, options)
    calibrated = _calibrate(dataset, start_day, options, stages)
    with stages.stage("fit"):
        tables = CategoryTables.fit(dataset.vectors, dataset.target)
        ensemble = Ensemble(tables, fit_members(draw(dataset, options), options), calibrated.mixture)
    with stages.stage("compile"):
        full, small = compile_ensemble(ensemble), calibrated.small.compile()
    if not len(newest):
        newest = dataset.vectors[dataset.day >= start_day]
    return Fitted(dataset, newest, window, options, stages, start_day, calibrated, ensemble, full, small)


def _calibrate(dataset: Dataset, start_day: int, options: TrainingOptions, stages: _Stages) -> _Calibrated:
    before, slice_ = dataset.take(dataset.day < start_day), dataset.take(dataset.day >= start_day)
    with stages.stage("calibrate"):
        sample, tables = draw(before, options), CategoryTables.fit(before.vectors, before.target)
        del before
        members = fit_members(sample, options)
        graph = compile_members(members, tables)
        logits = _member_logits(graph, members, slice_.vectors, options)
        mixture = fit_mixture(logits, slice_.target, slice_.weight, slice_.card)
        mean = mixture.logit(logits)
        full = _platt(mean, slice_, "ensemble")
        hidden = without_state(slice_.vectors)
        degraded_mean = mixture.logit(_member_logits(graph, members, hidden, options))
        degraded = _platt(degraded_mean, slice_, "degraded")
    with stages.stage("distil"):
        teacher = mixture.logit(_member_logits(compile_members(members, None), members, sample.inputs, options))
        small_model = SmallModel.fit(sample.inputs, full.probability(teacher), tables, options)
        small_logit = run_in_blocks(small_model.compile(), "logit", slice_.vectors, options.n_jobs)[:, 0]
        small = _platt(small_logit, slice_, "small")
    found = {"ensemble": full.probability(mean), "small": small.probability(small_logit), "degraded": degraded.probability(degraded_mean)}
    found |= {name: mixture.calibration[name].probability(logit) for name, logit in logits.items()}
    metrics = {name: measure(probability, slice_.target) for name, probability in found.items()}
    return _Calibrated(mixture, {Tier.FULL: full, Tier.SMALL: small, Tier.DEGRADED: degraded}, small_model, metrics)


def _member_logits(
    graph: bytes, members: Mapping[str, object], rows: NDArray[np.float32], options: TrainingOptions
) -> dict[str, NDArray[np.float64]]:
    found = run_in_blocks(graph, "members", rows, options.n_jobs)
    return {name: found[:, place] for place, name in enumerate(members)}


def _platt(logit: NDArray[np.float64], rows: Dataset, name: str) -> Platt:
    """Calibrate; a degraded score that says nothing becomes the base rate, a full one that says nothing is refused."""
    found = Platt.fit(logit, rows.target, rows.weight)
    if found.slope > 0:
        return found
    if name != "degraded":
        raise TrainingRefused(
            f"the {name} model's scores do not rise with fraud in the calibration days: it learnt nothing that holds; "
            "check the labels, or give more days"
        )
    rate = float(np.average(rows.target, weights=rows.weight))
    return Platt(1e-3, float(np.log(rate / (1 - rate))))


def _trees(ensemble: Ensemble) -> list[Nodes]:
    found = []
    for member in ensemble.members.values():
        if (booster := getattr(member, "booster", None)) is not None:
            found.append(from_booster(booster))
        elif (trees := getattr(member, "trees", None)) is not None:
            found.append(from_classifiers(trees))
    return found


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

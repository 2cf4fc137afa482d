"""Let the gate judge a model of the registry on a history, and hold promotions to its verdict."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import polars as pl

from domain.errors import FeatureSpecMismatch, HistoryError, ModelError, TrainingRefused
from features.currency import Rates
from features.spec import FeatureSettings, fingerprint
from service.graph_timing import GraphTiming, time_graph
from service.settings import GateSettings, Settings
from service.wiring import rates_of, registry_of, verifying_key_of

if TYPE_CHECKING:
    from models.folds import Fold, Plan
    from models.gate import Check, Verdict
    from models.gate_evidence import Evidence
    from models.manifest import Manifest
    from models.prepared import Prepared
    from models.registry import Registry
    from models.registry_history import State
    from models.scorer import Scorer

_TIMINGS: Final = 10
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Contestant:
    """A bundle, verified.

    Attributes:
        reference: `name@version`.
        manifest: Of the bundle.
        scorer: Loaded; None: it was trained on other features, so only its options can be compared.
        graph: The compiled full model.
    """

    reference: str
    manifest: "Manifest"
    scorer: "Scorer | None"
    graph: bytes


@dataclass(frozen=True)
class Case:
    """Everything that one judgement needs.

    Attributes:
        history: Normalised.
        features: What the features depend on.
        rates: Of the base currency.
        plan: Of the folds, each as long as the candidate's training.
        limits: Of the settings.
        candidate: Its bundle, loaded.
        champion: None: there is none, or the candidate is it.
        progress: Told stages.
    """

    history: pl.DataFrame
    features: FeatureSettings
    rates: Rates
    plan: "Plan"
    limits: GateSettings
    candidate: Contestant
    champion: Contestant | None
    progress: Progress

    @property
    def scorers(self) -> "tuple[Scorer, Scorer | None]":
        """Return the loaded models; the candidate is loaded always."""
        assert self.candidate.scorer is not None
        return self.candidate.scorer, None if self.champion is None else self.champion.scorer

    @property
    def manifests(self) -> "list[Manifest]":
        """Return the manifests, the candidate's first."""
        return [self.candidate.manifest, *([] if self.champion is None else [self.champion.manifest])]


def judge(
    reference: str, history: pl.DataFrame, settings: Settings, *, origin: str, plan: "Plan | None" = None,
    progress: Progress = lambda _stage, _share: None,
) -> "Verdict":  # fmt: skip
    """Judge a model against the champion and keep the verdict beside its bundle.

    Args:
        reference: Of the registry.
        history: Normalised; with what became known since the model was trained, if possible.
        settings: Registry, key, features, and the gate's limits.
        origin: Of the history, for the verdict.
        plan: Of the folds; None = the newest weeks, trained as long as the candidate.
        progress: Told stage and finished share.

    Raises:
        ModelError: There is no such model, or it cannot be loaded as a worker would.
        ConfigError: A fairness column is not in the history.
    """
    from models.fairness import column_of
    from models.folds import Plan
    from models.gate import Verdict, write_verdict

    registry, features = registry_of(settings), settings.features.definition()
    state = registry.state()
    candidate = _contestant(registry, registry.reference(reference), settings)
    if candidate.scorer is None:
        raise FeatureSpecMismatch(trained_on=candidate.manifest.spec, built_with=fingerprint(features))
    is_champion = state.champion in (None, candidate.reference)
    champion = None if is_champion or state.champion is None else _contestant(registry, state.champion, settings)
    for name in settings.gate.columns():
        column_of(history, name)  # a wrong name is told before the long work
    wanted = Plan(train_days=candidate.manifest.options.days, delay_days=features.maturity_days, n_folds=settings.gate.folds)
    case = Case(history, features, rates_of(settings), plan or wanted, settings.gate, candidate, champion, progress)
    checks = _checks(case)
    champion_name = "" if champion is None else champion.reference
    verdict = Verdict.of(candidate.reference, champion_name, checks, made_ms=time.time_ns() // 1_000_000, history=origin)
    write_verdict(registry.beside(candidate.reference), verdict)
    return verdict


def objection(registry: "Registry", reference: str, state: "State") -> tuple[str, bool]:
    """Return what stands against a promotion, in words, and whether the gate refused the model; nothing does if it passed.

    A verdict against another champion than the present one counts as missing.
    """
    from models.gate import read_verdict

    verdict = read_verdict(registry.beside(reference))
    if verdict is None:
        return f"{reference} has no verdict of the gate: weir models gate {reference} HISTORY", False
    if verdict.reasons:
        return verdict.sentence, True
    if state.champion not in (None, reference, verdict.champion):
        compared = verdict.champion or "no champion"
        return f"the gate compared {reference} with {compared}, not with {state.champion}: weir models gate {reference} HISTORY", False
    return "", False


def require_passed(registry: "Registry", reference: str, state: "State", settings: Settings, *, is_forced: bool) -> tuple[str, bool]:
    """Return a warning (empty: none), and whether the promotion overrides the gate.

    The first champion of a registry, and the champion itself, need no verdict.

    Raises:
        ModelError: The gate refused the model, or `gate.required` is set and there is no valid verdict; nobody forces it.
    """
    if state.champion in (None, reference):
        return "", False
    found, is_refused = objection(registry, reference, state)
    must_pass = is_refused or settings.gate.required
    if found and must_pass and not is_forced:
        raise ModelError(f"{found}; promote it all the same with --force, which the history records")
    return found, bool(found) and must_pass


def _contestant(registry: "Registry", reference: str, settings: Settings) -> Contestant:
    from models.bundle import FULL, load_bundle, verify_bundle

    folder, key = registry.resolve(reference), verifying_key_of(settings)
    manifest, _, files = verify_bundle(folder, key)
    scorer = None
    if manifest.spec == fingerprint(settings.features.definition()):
        scorer = load_bundle(folder, key, manifest.spec)
    return Contestant(reference, manifest, scorer, files[FULL])


def _checks(case: Case) -> "list[Check]":
    from models import gate_checks
    from models.fairness import column_of, fairness, fairness_check
    from models.gate import Check
    from models.gate_evidence import by_bundles, by_folds, is_trainable, later_fold
    from models.prepared import prepare

    folds, plan, why = _folds(case)
    later = later_fold(case.history, case.manifests, most_days=plan.n_folds * plan.test_days)
    case.progress("features", 0.0)
    wanted = [*folds, *([later] if later else [])]
    prepared = prepare(
        case.history, case.features, case.rates, plan, wanted, newest_days=max(one.options.threshold_days for one in case.manifests),
        progress=lambda share: case.progress("features", share),
    )  # fmt: skip
    bundles = None if later is None else by_bundles(prepared, later, *case.scorers, fold_days=plan.test_days)
    champion = None if case.champion is None else case.champion.manifest
    if all(is_trainable(one) for one in case.manifests):
        evidence, trouble = by_folds(prepared, folds, case.candidate.manifest, champion, case.progress) if folds else (None, why)
    else:  # such a model cannot be trained again: the bundles themselves must do
        n_frauds = 0 if bundles is None else bundles.n_frauds
        evidence = bundles if n_frauds >= gate_checks.MIN_FRAUDS else None
        trouble = f"{n_frauds} frauds after both trainings, of bundles that cannot be trained again"
    n = plan.n_resamples
    groups = [
        Check(f"fairness {name}", "not assessed", "no days to judge on")
        if evidence is None
        else fairness_check(name, fairness(evidence, column_of(case.history, name)[evidence.judged.row]))
        for name in case.limits.columns()
    ]
    timing = _timing(case.candidate, case.limits)
    return [
        gate_checks.not_worse(evidence, trouble, has_champion=champion is not None, n_resamples=n),
        gate_checks.later_days(bundles, n_resamples=n),
        gate_checks.calibration(evidence, case.history),
        gate_checks.segments(evidence, case.history, n_resamples=n),
        *groups,
        gate_checks.parity(case.candidate.manifest),
        gate_checks.latency(
            timing.one_row_p99_us, timing.row_of_256_us, one_row_ms=case.limits.one_row_ms, batch_row_us=case.limits.batch_row_us
        ),
        *_robustness(case, prepared, bundles, later, folds),
        _leakage(case, plan, why),
    ]


def _folds(case: Case) -> "tuple[list[Fold], Plan, str]":
    """Return the newest folds whose truth is known, the plan that names them, and why there are none."""
    from models.folds import folds_of
    from models.options import DAY_MS

    newest = case.history["event_time_ms"].max()
    assert isinstance(newest, int)
    is_told = "story" in case.history.columns
    matured = case.history if is_told else case.history.filter(pl.col("event_time_ms") <= newest - case.features.maturity_days * DAY_MS)
    try:
        folds = folds_of(case.plan, matured)
    except HistoryError as error:
        return [], case.plan, str(error)
    return folds, msgspec.structs.replace(case.plan, starts_ms=tuple(fold.from_ms for fold in folds)), ""


def _timing(candidate: Contestant, limits: GateSettings) -> GraphTiming:
    """Return the best of some measurements, until it keeps the limits: other programs only ever make it slower."""
    assert candidate.scorer is not None
    best = GraphTiming(float("inf"), float("inf"), float("inf"))
    for _ in range(_TIMINGS):
        found = time_graph(candidate.graph, candidate.scorer.golden_vectors)
        best = GraphTiming(*(min(values) for values in zip(best, found, strict=True)))
        if best.one_row_p99_us <= limits.one_row_ms * 1000 and best.row_of_256_us <= limits.batch_row_us:
            break
    return best


def _robustness(case: Case, prepared: "Prepared", bundles: "Evidence | None", later: "Fold | None", folds: "list[Fold]") -> "list[Check]":
    """Try the bundles on the days after both trainings, else on the newest fold."""
    from features.offline import replay
    from models.gate import Check
    from models.gate_evidence import by_bundles
    from models.robustness import missing_blocks, probes, small_changes

    fold = later or (folds[-1] if folds else None)
    if fold is None:
        return [Check("robustness", "not assessed", "there are no days to try the model on")]
    case.progress("robustness", 0.0)
    found = bundles if later and bundles is not None else by_bundles(prepared, fold, *case.scorers, fold_days=prepared.plan.test_days)
    if not len(found.judged.row):
        return [Check("robustness", "not assessed", "there are no days to try the model on")]
    vectors = prepared.vectors[prepared.place[found.judged.row]]
    is_alert = found.candidate.is_alert | (found.candidate.is_alert if found.champion is None else found.champion.is_alert)
    tried = probes(prepared.history, found.judged.row, is_alert, found.judged.target, seed=prepared.plan.seed)
    after = replay(
        tried.history, case.features, case.rates, keep=tried.keep, progress=lambda share: case.progress("robustness", share)
    )  # fmt: skip
    before = prepared.vectors[prepared.place[tried.rows]]
    return [missing_blocks(*case.scorers, vectors), *small_changes(*case.scorers, tried, before, after)]


def _leakage(case: Case, plan: "Plan", why: str) -> "Check":
    from models import gate_checks
    from models.evaluation_extras import check_leakage
    from models.gate_evidence import is_trainable

    manifest = case.candidate.manifest
    report = None
    if not why:
        try:
            report = check_leakage(case.history, case.features, case.rates, plan, manifest.options, case.progress)
        except TrainingRefused as error:
            why = str(error)
    claimed = manifest.metrics["ensemble"]["average_precision"] if is_trainable(manifest) else None
    return gate_checks.leakage(report, why, claimed, None if claimed is None else _recomputed(case))


def _recomputed(case: Case) -> float | None:
    """Return the average precision that the bundle's options reach on its calibration slice when trained again on this history."""
    from models.training import fit, prepare

    manifest, times = case.candidate.manifest, case.history["event_time_ms"]
    first, newest = times.min(), times.max()
    assert isinstance(first, int)
    assert isinstance(newest, int)
    if first > manifest.window.from_ms or newest < manifest.window.to_ms - manifest.window.maturity_ms:
        return None
    case.progress("statement", 0.0)
    options = msgspec.structs.replace(manifest.options, variants=())
    try:
        prepared = prepare(
            case.history, features=case.features, rates=case.rates, options=options, from_ms=manifest.window.from_ms,
            to_ms=manifest.window.to_ms,
        )  # fmt: skip
        fitted = fit(prepared.dataset, prepared.newest, prepared.window, options)
    except TrainingRefused:
        return 0.0
    return fitted.calibrated.metrics["ensemble"]["average_precision"]

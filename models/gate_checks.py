"""The gate's checks on evidence: not worse than the champion, calibrated, everywhere; equal to what was fitted, quick, honest. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from models.fold_metrics import Prices, fold_metrics
from models.gate import Check, Figure
from models.gate_evidence import Evidence, Opinion
from models.leakage import LARGEST_CLAIM_GAP, LeakageReport
from models.manifest import Manifest
from models.paired import Paired, paired_difference
from models.parity import TOLERANCE

MARGIN: Final = 0.005
"""By how much average precision may be lower than the champion's."""
RATIO: Final = (0.8, 1.25)
"""Observed over expected frauds, and slope of calibration."""
MIN_FRAUDS: Final = 50
FEWEST_PARITY_ROWS: Final = 10_000
#: One-sided 95 %.
_Z: Final = 1.6449
_SEGMENTS: Final = ("channel", "country")


def not_worse(evidence: Evidence | None, why: str, *, has_champion: bool, n_resamples: int) -> Check:
    """Return whether the candidate's average precision is for certain not lower than the champion's by more than MARGIN.

    Args:
        evidence: None: no fold could be judged.
        why: None could.
        has_champion: Whether there is one to compare with; then a missing proof refuses.
        n_resamples: For the error.
    """
    name = "average_precision"
    if evidence is None:
        return Check(name, "refused" if has_champion else "not assessed", f"no days to judge on: {why}; give a longer history")
    own = _average_precision(evidence, np.ones(len(evidence.fold), np.bool_))
    if evidence.champion is None:
        return Check(name, "not assessed", f"{own:.4f}; there is no champion to compare with", {"average_precision": own})
    found = _difference(evidence, np.ones(len(evidence.fold), np.bool_), n_resamples)
    lower, upper = found.mean - _Z * found.se, found.mean + _Z * found.se
    figures: Mapping[str, Figure] = {
        "average_precision": own, "difference": found.mean, "se": found.se, "lower": lower, "upper": upper, "n_folds": found.n_folds,
        "better_folds": found.better_folds, "n_frauds": evidence.n_frauds,
    }  # fmt: skip
    said = f"{found.mean:+.4f} against the champion on {found.n_folds} folds, at least {lower:+.4f} (95 %)"
    if lower > 0:
        return Check(name, "passed", f"{said}: better", figures)
    if lower > -MARGIN:
        return Check(name, "passed", f"{said}: not worse", figures)
    shown = "worse" if upper < 0 else "not shown to be as good"
    return Check(name, "refused", f"{said}: {shown}; above {-MARGIN} is wanted", figures)


def later_days(evidence: Evidence | None, *, n_resamples: int) -> Check:
    """Return whether the bundles themselves, on days that neither has learnt from, contradict the folds: shown to be worse refuses."""
    name = "later_days"
    if evidence is None or evidence.n_frauds < MIN_FRAUDS:
        n = 0 if evidence is None else evidence.n_frauds
        return Check(name, "not assessed", f"{n} frauds on days that no bundle has learnt from; {MIN_FRAUDS} are wanted", {"n_frauds": n})
    everything = np.ones(len(evidence.fold), np.bool_)
    own = _average_precision(evidence, everything)
    if evidence.champion is None:
        return Check(name, "not assessed", f"average precision {own:.4f}; there is no champion to compare with", {"average_precision": own})
    found = _difference(evidence, everything, n_resamples, by_fold=False)
    upper = found.mean + _Z * found.se
    figures: Mapping[str, Figure] = {
        "average_precision": own, "difference": found.mean, "se": found.se, "upper": upper, "n_frauds": evidence.n_frauds,
    }  # fmt: skip
    said = f"{found.mean:+.4f} against the champion on {evidence.n_frauds} frauds that neither bundle has learnt from"
    if upper < -MARGIN:
        return Check(name, "refused", f"{said}: worse (at most {upper:+.4f}, 95 %)", figures)
    return Check(name, "passed", f"{said}: not shown to be worse", figures)


def calibration(evidence: Evidence | None, history: pl.DataFrame) -> Check:
    """Return whether probabilities mean what they say: observed over expected frauds, and slope, within RATIO.

    Counted on the labels of the history: a probability is learnt from what is reported, also where a simulation knows more.
    A value outside refuses only if the champion's, on the same rows, is nearer to 1: when the world has changed for both,
    the champion is no better choice.
    """
    if evidence is None or evidence.n_frauds < MIN_FRAUDS:
        n = 0 if evidence is None else evidence.n_frauds
        return Check("calibration", "not assessed", f"{n} frauds to judge on; {MIN_FRAUDS} are wanted", {"n_frauds": n})
    own = _calibrated(evidence.candidate, evidence, history)
    other = {} if evidence.champion is None else _calibrated(evidence.champion, evidence, history)
    figures: dict[str, Figure] = {**own, **{f"champion {name}": value for name, value in other.items()}}
    said = ", ".join(f"{name.replace('_', ' ')} {'-' if value is None else format(value, '.2f')}" for name, value in own.items())
    outside = {name: value for name, value in own.items() if value is None or not RATIO[0] <= value <= RATIO[1]}
    if any(_distance(value) > _distance(other.get(name, 1.0)) for name, value in outside.items()):
        return Check("calibration", "refused", f"{said}; both must lie in [{RATIO[0]}, {RATIO[1]}]", figures)
    return Check("calibration", "passed", said + ("; the champion is as far off" if outside else ""), figures)


def segments(evidence: Evidence | None, history: pl.DataFrame, *, n_resamples: int) -> Check:
    """Return whether some channel or country gets worse: there the difference lies below -MARGIN for certain.

    A segment holds few frauds, so a proof of equality as for all rows together would refuse almost every model.
    """
    if evidence is None or evidence.champion is None:
        return Check("segments", "not assessed", "there is nothing to compare")
    worse: list[str] = []
    figures: dict[str, Figure] = {}
    for kind in _SEGMENTS:
        values = history[kind][evidence.judged.row]
        for value in sorted(values.drop_nulls().unique().to_list()):
            rows = (values == value).fill_null(value=False).to_numpy()
            if evidence.judged.target[rows].sum() < MIN_FRAUDS or evidence.judged.target[rows].all():
                continue
            found = _difference(evidence, rows, n_resamples, by_fold=False)
            upper = found.mean + _Z * found.se
            figures |= {f"{kind} {value}": found.mean, f"{kind} {value} upper": upper}
            if upper < -MARGIN:
                worse.append(f"{kind} {value} ({found.mean:+.4f})")
    if worse:
        return Check("segments", "refused", f"average precision falls for {', '.join(worse)}", figures)
    if not figures:
        return Check("segments", "not assessed", f"no channel or country has {MIN_FRAUDS} frauds")
    return Check("segments", "passed", f"none of {len(figures) // 2} channels and countries is shown to get worse", figures)


def parity(manifest: Manifest) -> Check:
    """Return whether the compiled graphs were proved equal to what was fitted, on enough rows; the manifest is signed."""
    figures: dict[str, Figure] = {}
    for name, found in manifest.parity.items():
        figures |= {f"{name} rows": found.n_rows, f"{name} difference": found.largest_difference, f"{name} flips": found.n_flips}
        if found.n_rows < FEWEST_PARITY_ROWS or not found.largest_difference <= TOLERANCE or found.n_flips:
            said = f"{name} was compared on {found.n_rows} rows, differs by {found.largest_difference:.1e}, {found.n_flips} outcomes flip"
            return Check("parity", "refused", f"{said}; {FEWEST_PARITY_ROWS} rows, {TOLERANCE:.0e} and no flip are wanted", figures)
    largest = max((found.largest_difference for found in manifest.parity.values()), default=0.0)
    return Check("parity", "passed", f"{len(manifest.parity)} graphs equal what was fitted within {largest:.0e}", figures)


def latency(one_row_p99_us: float, row_of_256_us: float, *, one_row_ms: float, batch_row_us: float) -> Check:
    """Return whether the full graph is quick enough on this machine.

    Args:
        one_row_p99_us: Measured, one row alone.
        row_of_256_us: Measured, a row among 256.
        one_row_ms: Longest allowed.
        batch_row_us: Longest allowed.
    """
    figures: Mapping[str, Figure] = {"one_row_p99_us": round(one_row_p99_us, 1), "row_of_256_us": round(row_of_256_us, 1)}
    said = f"one row {one_row_p99_us / 1000:.2f} ms (p99), {row_of_256_us:.1f} us a row of 256"
    if one_row_p99_us <= one_row_ms * 1000 and row_of_256_us <= batch_row_us:
        return Check("latency", "passed", said, figures)
    return Check("latency", "refused", f"{said}; at most {one_row_ms:g} ms and {batch_row_us:g} us are wanted", figures)


def leakage(report: LeakageReport | None, why: str, claimed: float | None, recomputed: float | None) -> Check:
    """Return whether the model knows what it cannot know.

    Args:
        report: Of the newest fold; None = not run.
        why: It was not run.
        claimed: Average precision on the calibration slice that the bundle states.
        recomputed: The same, by training its options again on this history; None = this history or the bundle does not allow it.
    """
    failures = [] if report is None else report.failures
    figures: dict[str, Figure] = {"claimed": claimed, "recomputed": recomputed}
    if claimed is not None and recomputed is not None and recomputed < claimed - LARGEST_CLAIM_GAP:
        failures.append(
            f"the bundle states an average precision of {claimed:.4f} on its calibration slice, its options trained again give "
            f"{recomputed:.4f}; {LARGEST_CLAIM_GAP} less is allowed: it has learnt from something that is not in this history"
        )
    if report is not None:
        figures |= {
            "changed_by_future": report.n_changed_by_future, "permuted_average_precision": report.permuted_average_precision,
            "permuted_prevalence": report.permuted_prevalence,
        }  # fmt: skip
    if failures:
        return Check("leakage", "refused", "; ".join(failures), figures)
    parts = [f"its statement holds ({recomputed:.4f})" if recomputed is not None else "its statement could not be recomputed"]
    parts.append("no value changes with the future" if report is not None else f"the future was not replaced: {why}")
    if report is not None and report.suspicious_features:
        parts.append("but look at " + ", ".join(f"{name} (AUC {area:.3f} alone)" for name, area in report.suspicious_features))
    return Check("leakage", "passed" if report is not None or recomputed is not None else "not assessed", "; ".join(parts), figures)


def _calibrated(opinion: Opinion, evidence: Evidence, history: pl.DataFrame) -> dict[str, float | None]:
    rows = evidence.judged.row
    target = history["is_fraud"][rows].fill_null(value=False).to_numpy()
    judged = replace(evidence.judged, target=target)
    found = fold_metrics(opinion.probability, judged, 1.0, Prices())
    return {name: found[name] for name in ("observed_over_expected", "slope")}


def _distance(ratio: float | None) -> float:
    """Return how far a ratio is from 1, either way; without one it is as far as can be."""
    return float("inf") if ratio is None or ratio <= 0 else abs(float(np.log(ratio)))


def _difference(evidence: Evidence, rows: NDArray[np.bool_], n_resamples: int, *, by_fold: bool = True) -> Paired:
    assert evidence.champion is not None
    judged = evidence.judged.take(rows)
    return paired_difference(
        "average_precision", evidence.candidate.probability[rows], evidence.champion.probability[rows], judged.target, judged.card,
        judged.day, fold=evidence.fold[rows] if by_fold else None, n_resamples=n_resamples,
    )  # fmt: skip


def _average_precision(evidence: Evidence, rows: NDArray[np.bool_]) -> float:
    return float(average_precision_score(evidence.judged.target[rows], evidence.candidate.probability[rows]))

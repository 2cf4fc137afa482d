"""The gate's checks: each one passes what is right, refuses what is not, and says so when it cannot tell."""

import msgspec
import numpy as np
import polars as pl
import pytest

from models import gate_checks
from models.documents import Folder
from models.gate import Check, Verdict, read_verdict, write_verdict
from models.gate_evidence import Evidence, Opinion, is_trainable, later_fold
from models.judged import Judged
from models.leakage import LeakageReport
from models.options import DAY_MS
from models.parity import Parity
from tests.unit.models_synthetic import trained

N = 8_000
CLEAN = LeakageReport(n_vectors_compared=9, n_changed_by_future=0, permuted_average_precision=0.01, permuted_prevalence=0.01)


def evidence(candidate: float, champion: float | None, *, n: int = N, seed: int = 2, factor: float = 1.0) -> Evidence:
    """Two folds of rows with 5 % frauds; models are calibrated, and know as much as their number says, of the same hidden score."""
    random = np.random.default_rng(seed)
    hidden, noise = random.normal(0, 1, n), random.normal(0, 1, n)

    def opinion(knowledge: float) -> tuple[Opinion, np.ndarray]:
        p = 1 / (1 + np.exp(4.2 - 2.0 * (knowledge * hidden + np.sqrt(1 - knowledge**2) * noise)))
        return Opinion(np.clip(p * factor, 0, 1), p >= np.quantile(p, 0.95)), p

    own, p = opinion(candidate)
    target = random.random(n) < (p if champion is None else opinion(1.0)[1])
    card, day = random.integers(0, 900, n), random.integers(0, 7, n)
    fold = np.sort(random.integers(0, 2, n))
    judged = Judged(np.arange(n), target, card, day + 7 * fold, np.zeros(n, np.bool_), np.zeros(n))
    return Evidence(judged, fold, own, None if champion is None else opinion(champion)[0])


def compared(found: Evidence) -> Check:
    return gate_checks.not_worse(found, "", has_champion=True, n_resamples=200)


def test_equal_models_are_not_worse():
    check = compared(evidence(0.9, 0.9))

    assert check.outcome == "passed"
    assert check.figures["difference"] == 0
    assert check.sentence.endswith("not worse")


def test_a_better_model_is_said_to_be_better():
    check = compared(evidence(1.0, 0.7))

    assert check.outcome == "passed"
    assert check.figures["lower"] > 0
    assert check.sentence.endswith("better")


def test_a_worse_model_is_refused():
    check = compared(evidence(0.7, 1.0))

    assert check.outcome == "refused"
    assert "worse" in check.sentence


def test_a_model_that_is_not_shown_to_be_as_good_is_refused():
    check = compared(evidence(0.97, 0.98, n=1_500))

    assert check.figures["lower"] < -0.005 < check.figures["upper"]
    assert check.outcome == "refused"


def test_without_days_to_judge_on_a_candidate_is_refused_and_a_first_model_is_not():
    refused, first = (gate_checks.not_worse(None, "too short", has_champion=flag, n_resamples=9) for flag in (True, False))

    assert (refused.outcome, first.outcome) == ("refused", "not assessed")
    assert "too short" in refused.sentence


def test_on_later_days_only_a_model_that_is_shown_to_be_worse_is_refused():
    outcomes = [gate_checks.later_days(evidence(a, b, n=n), n_resamples=200).outcome
                for a, b, n in ((0.6, 1.0, N), (0.97, 0.98, 1_500), (0.9, 0.9, 300), (0.9, None, N))]  # fmt: skip

    assert outcomes == ["refused", "passed", "not assessed", "not assessed"]


def labelled(found: Evidence) -> pl.DataFrame:
    return pl.DataFrame({"is_fraud": found.judged.target})


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "passed"), (0.5, "refused"), (1.6, "refused")])
def test_calibration_refuses_probabilities_that_are_too_low_or_too_high(factor: float, outcome: str):
    found = evidence(0.9, None, factor=factor)

    check = gate_checks.calibration(found, labelled(found))

    assert check.outcome == outcome
    assert check.figures["observed_over_expected"] == pytest.approx(1 / factor, rel=0.2)


def test_calibration_refuses_probabilities_that_are_too_extreme_unless_the_champions_are_too():
    found = evidence(0.9, None)
    logit = np.log(found.candidate.probability / (1 - found.candidate.probability))
    extreme = Opinion(1 / (1 + np.exp(-(1.6 * logit + 1.2))), found.candidate.is_alert)

    check = gate_checks.calibration(Evidence(found.judged, found.fold, extreme, found.candidate), labelled(found))

    assert check.outcome == "refused"
    assert check.figures["slope"] == pytest.approx(1 / 1.6, rel=0.15)
    both = Evidence(found.judged, found.fold, extreme, extreme)
    assert gate_checks.calibration(both, labelled(found)).sentence.endswith("the champion is as far off")


def test_calibration_counts_what_is_reported():
    found = evidence(0.9, None)
    is_reported = np.random.default_rng(0).random(N) < 0.6

    check = gate_checks.calibration(found, pl.DataFrame({"is_fraud": found.judged.target & is_reported}))

    assert check.figures["observed_over_expected"] == pytest.approx(0.6, rel=0.15)
    assert check.outcome == "refused"


def test_a_channel_that_gets_worse_refuses_a_model_that_is_as_good_over_all():
    found = evidence(0.9, 0.9)
    assert found.champion is not None
    is_online = np.arange(N) % 2 == 0
    history = pl.DataFrame({"channel": np.where(is_online, "online", "pos"), "country": pl.Series([None] * N, dtype=pl.String)})
    worse = np.where(is_online, np.random.default_rng(1).permutation(found.candidate.probability), found.candidate.probability)

    assert gate_checks.segments(found, history, n_resamples=100).outcome == "passed"
    check = gate_checks.segments(Evidence(found.judged, found.fold, Opinion(worse, worse > 1), found.champion), history, n_resamples=100)
    assert check.outcome == "refused"
    assert "channel online" in check.sentence
    assert "pos" not in check.sentence


def test_parity_wants_enough_rows_no_difference_and_no_flip():
    manifest = trained().manifest
    assert gate_checks.parity(manifest).outcome == "passed"

    for bad in (Parity(9_999, 0.0, 0), Parity(10_000, 2e-5, 0), Parity(10_000, float("nan"), 0), Parity(10_000, 0.0, 1)):
        check = gate_checks.parity(msgspec.structs.replace(manifest, parity={**manifest.parity, "model.onnx": bad}))
        assert check.outcome == "refused"
        assert "model.onnx" in check.sentence


@pytest.mark.parametrize(("one_us", "batch_us", "outcome"), [(400, 10, "passed"), (600, 10, "refused"), (400, 31, "refused")])
def test_latency_has_a_limit_alone_and_in_a_batch(one_us: float, batch_us: float, outcome: str):
    assert gate_checks.latency(one_us, batch_us, one_row_ms=0.5, batch_row_us=30).outcome == outcome


@pytest.mark.parametrize(
    ("report", "claimed", "recomputed", "outcome"),
    [
        (CLEAN, 0.50, 0.49, "passed"),
        (CLEAN, 0.50, 0.47, "refused"),
        (msgspec.structs.replace(CLEAN, n_changed_by_future=1), 0.5, 0.5, "refused"),
        (msgspec.structs.replace(CLEAN, permuted_average_precision=0.031), 0.5, 0.5, "refused"),
        (None, 0.5, None, "not assessed"),
        (None, 0.5, 0.3, "refused"),
    ],
)
def test_leakage(report: LeakageReport | None, claimed: float, recomputed: float | None, outcome: str):
    assert gate_checks.leakage(report, "no fold", claimed, recomputed).outcome == outcome


def test_a_suspicious_feature_is_told_and_refuses_nothing():
    check = gate_checks.leakage(msgspec.structs.replace(CLEAN, suspicious_features=[("card_mean", 0.99)]), "", None, None)

    assert check.outcome == "passed"
    assert "look at card_mean (AUC 0.990 alone)" in check.sentence


def test_one_refusal_refuses_and_what_is_not_assessed_does_not(tmp_path):
    good, unknown, bad = (Check(name, name, name) for name in ("passed", "not assessed", "refused"))

    assert Verdict.of("m@1", "c@1", [good, unknown], made_ms=0, history="h").outcome == "passed"
    verdict = Verdict.of("m@1", "c@1", [good, unknown, bad], made_ms=0, history="h")
    assert verdict.sentence == "the gate refuses m@1: refused: refused"
    write_verdict(Folder(tmp_path / "beside"), verdict)
    assert read_verdict(Folder(tmp_path / "beside")) == verdict
    assert [path.name for path in (tmp_path / "beside").iterdir()] == ["verdict.json"]
    assert read_verdict(Folder(tmp_path)) is None


def test_later_days_are_those_that_no_bundle_has_learnt_from_and_that_have_matured():
    window = trained().manifest.window
    newer = msgspec.structs.replace(trained().manifest, window=msgspec.structs.replace(window, to_ms=window.to_ms + 3 * DAY_MS))
    history = pl.DataFrame({"event_time_ms": [0, window.to_ms + 20 * DAY_MS - 1]})

    found = later_fold(history, [trained().manifest, newer], most_days=99)

    assert found is not None
    assert (found.as_of_ms, found.test_to_ms) == (
        window.to_ms + 3 * DAY_MS - window.maturity_ms,
        window.to_ms + 20 * DAY_MS - window.maturity_ms,
    )
    told = later_fold(history.with_columns(story=pl.lit(None)), [newer], most_days=4)
    assert told is not None
    assert (told.as_of_ms, told.test_to_ms) == (window.to_ms + 16 * DAY_MS, window.to_ms + 20 * DAY_MS)
    assert later_fold(history.head(1), [newer], most_days=4) is None


def test_a_variant_cannot_be_trained_again_from_its_options():
    assert is_trainable(trained().manifest)
    assert not is_trainable(msgspec.structs.replace(trained().manifest, graph="pruned"))

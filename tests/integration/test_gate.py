"""The gate on really trained models: an honest one passes; one that is quick but unfair, and one that is leaky, are refused and why."""

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from features.history import normalised
from models.folds import Plan
from models.gate import Check, Verdict, read_verdict
from models.options import DAY_MS
from models.registry import Registry
from service.cli import weir
from service.gating import judge
from service.model_training import train_and_register
from service.settings import GateSettings, ModelSettings, Settings
from simulate.generate import START_MS, generate
from tests.unit.models_synthetic import SMALL

OPTIONS = msgspec.structs.replace(SMALL, days=14, alert_rate=0.06, n_jobs=2, variants=())
FAIR = msgspec.structs.replace(OPTIONS, without=("event_country", "merchant_labels"))
QUICK = msgspec.structs.replace(OPTIONS, members=("logistic_regression",))
PLAN = Plan(train_days=14, test_days=10, n_folds=2, warm_up_days=18, n_resamples=200)
TRAINED_MS = START_MS + 50 * DAY_MS


def with_regions(history: pl.DataFrame) -> pl.DataFrame:
    """Half of the cards belong to a region with a country of its own, where most of the fraud is. `half` is drawn by lot."""
    is_east = history["card_id"].hash(7) % 2 == 0
    is_gone = ~is_east & history["story"].is_not_null() & (history["transaction_id"].hash(8) % 10 < 9)
    region = pl.when(is_east).then(pl.lit("east")).otherwise(pl.lit("west"))
    return history.with_columns(
        country=pl.when(is_east).then(pl.lit("RO")).otherwise(pl.col("country").replace("RO", "DE")),
        extra=pl.format('{{"region": "{}", "half": "{}"}}', region, pl.col("card_id").hash(9) % 2),
    ).filter(~is_gone)


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return with_regions(normalised(generate(n_days=75, n_cards=1_100, seed=5, fraud_share=0.03), "simulated"))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("gate") / "registry"
    gate = GateSettings(fairness="extra.half", one_row_ms=1_000, batch_row_us=100_000)  # this machine may be busy
    return Settings(model=ModelSettings(registry=str(root), signing_key="a key"), gate=gate)


@pytest.fixture(scope="module")
def registry(settings, history) -> Registry:
    """With a champion that does not look at the country."""
    train_and_register(history, settings, options=FAIR, to_ms=TRAINED_MS - 10 * DAY_MS)
    return Registry(Path(settings.model.registry))


def judged(history: pl.DataFrame, settings: Settings, reference: str, plan: Plan = PLAN) -> tuple[Verdict, dict[str, Check]]:
    verdict = judge(reference, history, settings, origin="history.parquet", plan=plan)
    return verdict, {check.name: check for check in verdict.checks}


def command(settings: Settings, *arguments: str):
    found = {"WEIR_MODEL_REGISTRY": settings.model.registry, "WEIR_MODEL_SIGNING_KEY": "a key",
             "WEIR_EMBEDDED_DIRECTORY": str(Path(settings.model.registry).parent)}  # fmt: skip
    return CliRunner().invoke(weir, ["models", *arguments], env=found)


def test_the_same_recipe_on_newer_days_passes_and_is_promoted(history, settings, registry):
    reference = train_and_register(history, settings, options=FAIR, to_ms=TRAINED_MS).reference

    verdict, checks = judged(history, settings, reference)

    assert verdict.reasons == []
    assert verdict.champion == registry.state().champion
    assert checks["average_precision"].figures["difference"] == 0
    assert checks["leakage"].figures["recomputed"] == pytest.approx(checks["leakage"].figures["claimed"])
    assert checks["leakage"].figures["changed_by_future"] == 0
    assert checks["fairness extra.half"].outcome == "passed"
    assert checks["later_days"].outcome == "passed"
    for name in ("missing blocks", "small amount changes", "split purchases"):
        assert checks[name].outcome == "passed", checks[name]


def test_a_quicker_but_unfair_candidate_is_refused_and_promote_says_why(history, settings, registry):
    champion = registry.state().champion
    trained = train_and_register(history, settings, options=QUICK, to_ms=TRAINED_MS)
    watched = msgspec.structs.replace(settings.gate, fairness="extra.region, extra.half")

    verdict, checks = judged(history, msgspec.structs.replace(settings, gate=watched), trained.reference)

    assert checks["fairness extra.half"].outcome == "passed"
    unfair = checks["fairness extra.region"]
    assert unfair.outcome == "refused"
    assert "good customers of east are stopped" in unfair.sentence
    assert unfair.figures["east lower"] > 1.25
    assert unfair.figures["east over_champion"] > 1.25
    assert len((registry.resolve(trained.reference) / "model.onnx").read_bytes()) < len(
        (registry.resolve("champion") / "model.onnx").read_bytes()
    )
    assert read_verdict(registry.beside(trained.reference)) == verdict
    refused = command(settings, "promote", trained.reference)
    assert "good customers of east" in str(refused.exception)
    assert registry.state().champion == champion
    assert "good customers of east" in command(settings, "show", trained.reference).stdout


def test_a_leaky_candidate_is_refused(history, settings, registry):
    """Its history had the kind of merchant corrected after the fraud was known; the one that came in time has not."""
    is_fraud = history["story"].is_not_null()
    leaky = history.with_columns(mcc=pl.when(is_fraud).then(pl.lit(9_999, pl.Int32)).otherwise("mcc"))
    trained = train_and_register(leaky, settings, options=FAIR, to_ms=TRAINED_MS)

    verdict, checks = judged(history, settings, trained.reference, msgspec.structs.replace(PLAN, n_folds=1))

    assert checks["leakage"].outcome == "refused"
    assert checks["leakage"].figures["claimed"] > checks["leakage"].figures["recomputed"] + 0.1
    assert "learnt from something that is not in this history" in verdict.sentence
    assert checks["later_days"].outcome == "refused", "what serves is worse than the champion, whatever its recipe"
    assert np.isclose(checks["average_precision"].figures["difference"], 0)

"""`weir evaluate HISTORY` on simulated histories, by the command a user calls."""

import json
from pathlib import Path

import msgspec
import polars as pl
import pytest
from click.testing import CliRunner

from features.currency import Rates
from features.history import read_history, write_history
from features.spec import FeatureSettings
from models.evaluation_extras import delay_curve, learning_curve
from models.folds import Plan, folds_of
from models.options import TrainingOptions
from models.prepared import prepare
from service.cli import weir
from service.evaluation_running import configurations_of
from simulate.generate import generate

MODELS = {"ensemble", "small", "xgboost", "random_forest", "extra_trees", "logistic_regression",
          "baseline_amount", "baseline_logistic", "baseline_xgboost"}  # fmt: skip
METRICS = {
    "average_precision",
    "roc_auc",
    "card_precision_at_100",
    "recall_at_fpr_0.001",
    "recall_at_fpr_0.01",
    "brier",
    "calibration_error",
}
SMALL = """
[{name}]
most_good_rows = 4000
tree_good_rows = 1000
min_calibration_frauds = 20
alert_rate = 0.02
{more}
[{name}.sizes]
boosting_rounds = 25
forest_trees = 8
extra_trees = 8
small_rounds = 15
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("evaluation")
    write_history(generate(n_days=75, n_cards=900, seed=5, fraud_share=0.02), found / "history.parquet")
    blind = 'without = ["merchant_labels", "state"]'
    (found / "two.toml").write_text(SMALL.format(name="main", more="") + SMALL.format(name="blind", more=blind))
    (found / "one.toml").write_text(SMALL.format(name="main", more=""))
    return found


def evaluate(*arguments: object) -> tuple[int, str, Exception | None]:
    found = CliRunner().invoke(weir, ["evaluate", *map(str, arguments)])
    return found.exit_code, found.stdout, found.exception  # type: ignore[return-value]


def result_of(*arguments: object) -> dict:
    code, text, _ = evaluate(*arguments, "--json")
    assert code == 0
    return json.loads(text)


@pytest.fixture(scope="module")
def result(place: Path) -> dict:
    return result_of(
        place / "history.parquet", "--train-days", 21, "--folds", 2, "--configurations", place / "two.toml", "--report", place / "report"
    )


def test_every_model_has_every_metric_by_fold_and_over_the_folds(result):
    assert MODELS | {f"blind/{name}" for name in MODELS if not name.startswith("baseline")} == set(result["models"])
    assert len(result["folds"]) == 2
    for name, found in result["models"].items():
        assert set(found) >= METRICS
        values = [fold["models"][name]["average_precision"] for fold in result["folds"]]
        assert found["average_precision"]["mean"] == pytest.approx(sum(values) / 2)
        assert found["average_precision"]["sd"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)


def test_the_ensemble_finds_fraud_and_state_is_worth_something_beyond_chance(result):
    prevalence = sum(fold["n_test_frauds"] for fold in result["folds"]) / sum(fold["n_test"] for fold in result["folds"])
    mean = {name: found["average_precision"]["mean"] for name, found in result["models"].items()}
    gain = result["paired"]["ensemble_minus_blind/ensemble"]["average_precision"]

    assert mean["ensemble"] > 5 * prevalence
    assert mean["ensemble"] > mean["baseline_amount"]
    assert gain["mean"] == pytest.approx(mean["ensemble"] - mean["blind/ensemble"])
    assert gain["mean"] > 2 * gain["se"] > 0
    assert gain["better_folds"] == 2


def test_segments_and_thresholds_add_up_to_all_test_rows(result):
    n, n_frauds = (sum(fold[key] for fold in result["folds"]) for key in ("n_test", "n_test_frauds"))
    by_kind = {kind: [one for one in result["segments"] if one["kind"] == kind] for kind in ("channel", "country", "mcc_group", "story")}

    for kind in ("channel", "country", "mcc_group"):
        assert sum(one["n"] for one in by_kind[kind]) == n
        assert sum(one["n_frauds"] for one in by_kind[kind]) == n_frauds
    assert sum(one["n_frauds"] for one in by_kind["story"]) == n_frauds
    assert sum(good + bad for _, good, bad in result["curves"]["histogram"]) == n
    recall = [row["recall"] for row in result["thresholds"]]
    assert recall == sorted(recall)
    assert sum(row["is_cheapest"] for row in result["thresholds"]) == 1


def test_the_report_is_a_page_that_loads_nothing(place, result):
    page = (place / "report" / "evaluation.html").read_text()

    assert json.loads((place / "report" / "evaluation.json").read_text())["models"] == result["models"]
    assert page.count("<svg") >= 5
    assert "src=" not in page
    assert "http" not in page
    for name in MODELS:
        assert name in page


def test_a_history_without_the_optional_columns_is_evaluated_and_the_same_twice(place):
    bare = read_history(place / "history.parquet").drop(
        "device_id", "ip", "mcc", "country", "channel", "lat", "lon", "account_age_days", "story"
    )
    write_history(bare, place / "bare.parquet")
    arguments = (place / "bare.parquet", "--train-days", 21, "--folds", 1, "--configurations", place / "one.toml", "--delay-days", 10)

    first, second = (result_of(*arguments) for _ in range(2))

    assert first["segments"] == []
    assert any("frauds that are reported later count as good" in note for note in first["notes"])
    assert {key: first[key] for key in ("models", "paired", "folds")} == {key: second[key] for key in ("models", "paired", "folds")}


def test_a_fold_with_too_few_frauds_is_named_and_none_left_is_an_error(place):
    few = read_history(place / "history.parquet").with_row_index("row")
    last_week = pl.col("event_time_ms") >= few["event_time_ms"].max() - 7 * 86_400_000
    few = few.filter(~(last_week & pl.col("story").is_not_null() & (pl.col("row") % 10 != 0))).drop("row")
    write_history(few, place / "few.parquet")
    arguments = (place / "few.parquet", "--train-days", 21, "--configurations", place / "one.toml")

    code, _, error = evaluate(*arguments, "--folds", 1)

    assert code != 0
    assert "no fold can be evaluated" in str(error)
    found = result_of(*arguments, "--folds", 2)
    assert ["frauds in its test window, fewer than 50" in fold["skipped"] for fold in found["folds"]] == [False, True]
    assert found["folds"][1]["name"] in found["notes"][0]
    assert found["models"]["ensemble"]["average_precision"]["sd"] is None


def test_what_comes_after_the_first_test_instant_changes_nothing_that_was_learnt(place, result):
    last = result["folds"][-1]
    cut = read_history(place / "history.parquet").filter(pl.col("event_time_ms") < last["as_of_ms"] + 4 * 86_400_000)
    late = pl.col("label_time_ms") >= last["as_of_ms"]
    blind = cut.with_columns(is_fraud=pl.col("is_fraud") & ~late, label_time_ms=pl.when(~late).then("label_time_ms"))
    write_history(blind.with_columns(pl.col("is_fraud").fill_null(value=False)), place / "cut.parquet")
    arguments = ("--train-days", 21, "--test-days", 4, "--configurations", place / "one.toml", "--starts", str(last["from_ms"]))

    (found,) = result_of(place / "cut.parquet", *arguments)["folds"]

    models = found["thresholds"]
    assert models == {name: last["thresholds"][name] for name in models}
    assert found["weights"]["main"] == last["weights"]["main"]
    assert (found["n_train"], found["n_train_frauds"]) == (last["n_train"], last["n_train_frauds"])


def test_known_cards_leave_the_test_set_where_that_is_wanted_and_their_rows_are_counted_either_way(place):
    history, rates = read_history(place / "history.parquet"), Rates("EUR")
    plan = Plan(n_folds=1, known_days=None)
    (fold,) = folds_of(plan, history)

    kept, dropped = (
        prepare(history, FeatureSettings(), rates, one, [fold], newest_days=7).judged(fold)
        for one in (plan, msgspec.structs.replace(plan, is_known_dropped=True))
    )

    assert kept[1] == dropped[1] == kept[0].is_known.sum() > 20
    assert dropped[0].row.tolist() == kept[0].row[~kept[0].is_known].tolist()
    assert dropped[0].amount.tolist() == kept[0].amount[~kept[0].is_known].tolist()
    amount = history["amount_minor"].to_numpy()[kept[0].row] / 100
    assert kept[0].amount == pytest.approx(amount, rel=1e-5, abs=1e-5)


def test_leaks_are_looked_for_where_none_is(place):
    found = result_of(place / "history.parquet", "--train-days", 14, "--folds", 1, "--configurations", place / "one.toml", "--leakage")

    leakage = found["leakage"]
    assert leakage["n_changed_by_future"] == 0
    assert leakage["n_vectors_compared"] > 10_000
    assert 0 < leakage["permuted_average_precision"] < 3 * leakage["permuted_prevalence"]
    assert leakage["suspicious_features"] == []


def test_the_curves_keep_the_test_windows_and_meet_the_plan_where_they_are_equal(place):
    history = read_history(place / "history.parquet")
    rates, plan = Rates("EUR"), Plan(train_days=14, n_folds=1, delay_days=7, is_delay_fixed=True)
    options = configurations_of(TrainingOptions(), place / "one.toml", [])["main"]

    learning = learning_curve(history, FeatureSettings(), rates, plan, options, days=(7, 14, 56))
    delays = delay_curve(history, FeatureSettings(), rates, plan, options, days=(1, 7))

    assert [point.days for point in learning] == [7, 14]  # 56 days before the test window the history is too young
    assert [point.days for point in delays] == [1, 7]
    assert learning[1].models == delays[1].models
    mean = [point.models["ensemble"]["average_precision"].mean for point in (*learning, *delays)]
    assert len(set(mean)) == 3


def test_a_configuration_that_names_nothing_known_is_refused_by_name(place):
    (place / "wrong.toml").write_text("[main]\ndepht = 3\n")
    (place / "flat.toml").write_text("days = 3\n")

    wrong = str(evaluate(place / "history.parquet", "--configurations", place / "wrong.toml")[2])
    flat = str(evaluate(place / "history.parquet", "--configurations", place / "flat.toml")[2])

    assert "depht" in wrong
    assert "wrong.toml [main]" in wrong
    assert "must hold a table for each configuration" in flat

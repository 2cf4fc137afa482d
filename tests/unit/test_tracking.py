"""What trackers of experiments are given of a training and of an evaluation, and what is told before the long work."""

import sys

import numpy as np
import pytest
from click.testing import CliRunner

from domain.errors import ConfigError
from features.spec import FeatureSettings
from models.bundle import CARD
from models.calibration import log_loss
from models.evaluation_result import CurvePoint, Curves, EvaluationResult, FoldResult, Summary
from models.folds import Plan
from models.options import TrainingOptions
from models.training_curves import boosting_curve
from service.cli import weir
from service.tracking import Point, of_evaluation, of_training
from tests.unit.models_synthetic import SMALL, fitted, trained


def test_the_boosting_curve_ends_at_the_member_itself():
    found = fitted()
    curve = boosting_curve(found)

    assert [point.n_rounds for point in curve][:3] == [1, 2, 3]
    assert curve[-1].n_rounds == SMALL.sizes.boosting_rounds
    early = found.calibrated.early
    unseen = found.dataset.take(found.dataset.day >= found.start_day)
    logit = early.members["xgboost"].logit(early.tables.encode(unseen.vectors))
    assert curve[-1].unseen_log_loss == pytest.approx(np.average(log_loss(logit, unseen.target), weights=unseen.weight), rel=1e-5)
    assert curve[-1].unseen_average_precision == pytest.approx(found.calibrated.metrics["xgboost"]["average_precision"], rel=1e-4)
    assert curve[-1].learnt_log_loss < curve[0].learnt_log_loss


def test_looking_at_what_was_learnt_changes_no_file_of_the_bundle():
    boosting_curve(fitted())

    again = fitted().finish(name="weir", features=FeatureSettings(), rates="0" * 16, warnings=())

    assert again.files == trained().files


def test_a_training_is_its_options_its_metrics_and_both_lines_of_the_curve():
    curve = boosting_curve(fitted())
    run = of_training("weir@1", trained(), curve)

    assert (run.name, run.text) == ("weir@1", trained().files[CARD].decode())
    assert run.settings["options.sizes.boosting_rounds"] == str(SMALL.sizes.boosting_rounds)
    assert run.results["ensemble.average_precision"] == trained().manifest.metrics["ensemble"]["average_precision"]
    assert Point("xgboost_log_loss", "learnt_days", 1, curve[0].learnt_log_loss) in run.points
    assert Point("xgboost_log_loss", "unseen_days", curve[-1].n_rounds, curve[-1].unseen_log_loss) in run.points


def test_an_evaluation_is_lines_over_folds_days_and_recall():
    fold = FoldResult(
        name="2026-02-01", from_ms=0, as_of_ms=1, test_to_ms=2, n_train=1, n_train_frauds=1, n_test=1, n_test_frauds=1, n_known_card_rows=0,
        models={"ensemble": {"average_precision": 0.5, "cost": None}, "other/ensemble": {"average_precision": 0.25}},
    )  # fmt: skip
    result = EvaluationResult(
        plan=Plan(train_days=14), base_currency="EUR", configurations={"main": TrainingOptions(days=14)}, folds=[fold, fold],
        models={"ensemble": {"average_precision": Summary(0.5, None), "cost": Summary(None, None)}}, paired={}, best_member="xgboost",
        segments=[], thresholds=[], learning_curve=[CurvePoint(7, {"ensemble": {"average_precision": Summary(0.4, None)}}, 2)],
        curves=Curves(precision_recall={"ensemble": [(0.0, 1.0), (0.5, 0.25)]}, calibration=[], histogram=[], days=[], rival="xgboost"),
        notes=["two folds"],
    )  # fmt: skip
    run = of_evaluation("evaluation-h", result)

    assert run.points == [
        Point("average_precision", "ensemble", 1, 0.5), Point("average_precision", "other.ensemble", 1, 0.25),
        Point("average_precision", "ensemble", 2, 0.5), Point("average_precision", "other.ensemble", 2, 0.25),
        Point("average_precision_by_training_days", "ensemble", 7, 0.4),
        Point("precision_by_recall_percent", "ensemble", 0, 1.0), Point("precision_by_recall_percent", "ensemble", 50, 0.25),
    ]  # fmt: skip
    assert run.results == {"ensemble.average_precision": 0.5}
    assert (run.settings["plan.train_days"], run.settings["options.main.days"]) == ("14", "14")
    assert "two folds" in run.text


@pytest.mark.parametrize("command", ["train", "evaluate"])
@pytest.mark.parametrize(("option", "library"), [("--tensorboard", "tensorboardX"), ("--wandb", "wandb"), ("--mlflow", "mlflow")])
def test_a_tracker_that_is_not_installed_is_told_before_the_work(command, option, library, tmp_path, monkeypatch):
    from features.history import normalised, write_history
    from simulate.generate import generate

    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setitem(sys.modules, "mlflow.entities", None)
    write_history(normalised(generate(n_days=2, n_cards=10), "simulated"), tmp_path / "h.parquet")

    found = CliRunner().invoke(weir, [command, str(tmp_path / "h.parquet"), option, str(tmp_path / "runs")])

    assert isinstance(found.exception, ConfigError)
    assert f"requirements/{library.lower().removesuffix('x')}.txt" in str(found.exception)

"""A run of a training or an evaluation in a real MLflow on SQLite. Run by `make mlflow`, which brings MLflow."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from service.mlflow_run import write_mlflow
from service.tracking import Point, Tracked

pytestmark = pytest.mark.filterwarnings("default")


def test_a_run_has_its_settings_results_lines_and_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    points = [Point("xgboost_log_loss", "unseen_days", step, 1 / step) for step in range(1, 1_200)]
    settings = {f"options.number_{number}": str(number) for number in range(150)}  # more than MLflow takes at once
    run = Tracked("evaluation-history", settings, {"other/ensemble.average_precision": 0.5}, points, "# words")

    number = write_mlflow(run, uri)

    client = MlflowClient(uri)
    found = client.get_run(number)
    assert (found.info.run_name, found.info.status) == ("evaluation-history", "FINISHED")
    assert found.data.params == settings
    assert found.data.metrics["other/ensemble.average_precision"] == 0.5
    history = client.get_metric_history(number, "xgboost_log_loss/unseen_days")
    assert [(point.step, point.value) for point in sorted(history, key=lambda point: point.step)] == [
        (point.step, point.value) for point in points
    ]
    assert found.data.tags["mlflow.note.content"] == "# words"

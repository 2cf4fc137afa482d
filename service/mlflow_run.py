"""Runs of trainings and evaluations in MLflow. The registry's models are mirrored by `service.mlflow_mirror`."""

import time

from domain.errors import ConfigError
from service.mlflow_mirror import require_mlflow
from service.tracking import Tracked

_MOST_PARAMETERS = 100
_MOST_METRICS = 1000
_MOST_LETTERS = 6000


def write_mlflow(run: Tracked, uri: str, *, experiment: str = "weir runs") -> str:
    """Add a finished run to an experiment (made if there is none); return its number.

    Args:
        run: The run.
        uri: Of MLflow's tracking server or database, such as `sqlite:///mlflow.db`.
        experiment: Where it goes; not the one of the mirrored models.

    Raises:
        ConfigError: MLflow is not installed or does not answer.
    """
    mlflow = require_mlflow()
    now_ms = time.time_ns() // 1_000_000
    try:
        client = mlflow.tracking.MlflowClient(uri, uri)
        found = client.get_experiment_by_name(experiment)
        place = found.experiment_id if found else client.create_experiment(experiment)
        number: str = client.create_run(place, run_name=run.name).info.run_id
        parameters = [mlflow.entities.Param(key, value[:_MOST_LETTERS]) for key, value in run.settings.items()]
        metrics = [mlflow.entities.Metric(key, value, now_ms, 0) for key, value in run.results.items()]
        metrics += [mlflow.entities.Metric(f"{point.metric}/{point.line}", point.value, now_ms, point.step) for point in run.points]
        for first in range(0, len(parameters), _MOST_PARAMETERS):
            client.log_batch(number, params=parameters[first : first + _MOST_PARAMETERS])
        for first in range(0, len(metrics), _MOST_METRICS):
            client.log_batch(number, metrics=metrics[first : first + _MOST_METRICS])
        client.set_tag(number, "mlflow.note.content", run.text)
        client.set_terminated(number, "FINISHED")
    except mlflow.exceptions.MlflowException as error:
        raise ConfigError(f"MLflow at {uri} refused the run: {str(error).splitlines()[0]}") from error
    return number

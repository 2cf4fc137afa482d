"""The registry in MLflow: each bundle a run and a registered version, the aliases as they are here. An extra.

One way only: MLflow shows what the registry holds and decides nothing; workers never read it, and what is downloaded from
it is trusted by its signature like any other bundle.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from domain.errors import ConfigError
from models.registry import Entry, Registry
from models.registry_history import CHALLENGER, CHAMPION, PREVIOUS, Event
from service.settings import refuse_telemetry
from service.tracking import flat

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_MODEL: Final = "weir.model"
_BUNDLE: Final = "bundle"
_ALIASES: Final = (CHAMPION, CHALLENGER, PREVIOUS)
_PER_CALL: Final = 1000
#: MLflow's own default waits two minutes for a server that is not there.
_RETRIES: Final = 2


class Mirrored(NamedTuple):
    """What a mirroring did."""

    added: list[str]
    """Models that MLflow did not have, `name@version`, oldest first."""
    aliases: dict[str, str]
    """Alias -> `name@version`, as in the registry and now in MLflow."""


def mirror(registry: Registry, uri: str, *, experiment: str = "weir") -> Mirrored:
    """Bring MLflow up to date. Doing it again changes nothing; what MLflow has and the registry lost stays there.

    Args:
        registry: The registry.
        uri: Of MLflow's tracking server or database, such as `http://mlflow:5000` or `sqlite:///mlflow.db`.
        experiment: That the runs go to; made if there is none.

    Raises:
        ConfigError: MLflow is not installed or does not answer.
    """
    mlflow = require_mlflow()
    try:
        return _Mirror(mlflow.tracking.MlflowClient(uri, uri), experiment).bring(registry)
    except mlflow.exceptions.MlflowException as error:
        raise ConfigError(f"MLflow at {uri} refused the registry: {str(error).splitlines()[0]}") from error


def require_mlflow() -> ModuleType:
    """Return the library; it tells nobody about this installation.

    Raises:
        ConfigError: It is not installed.
    """
    refuse_telemetry()
    try:
        import mlflow.entities
        import mlflow.environment_variables
        import mlflow.exceptions
        import mlflow.tracking
    except ImportError as error:
        raise ConfigError(
            f"MLflow is not installed ({error.name} is missing): pip install --require-hashes --no-deps -r requirements/mlflow.txt"
        ) from error
    mlflow.environment_variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(_RETRIES)
    found: ModuleType = mlflow
    return found


class _Mirror:
    def __init__(self, client: "MlflowClient", experiment: str) -> None:
        self._client = client
        found = client.get_experiment_by_name(experiment)
        self._experiment: str = found.experiment_id if found else client.create_experiment(experiment)

    def bring(self, registry: Registry) -> Mirrored:
        entries, aliases = registry.entries(), registry.aliases()
        registered = {event.model: event for event in registry.history() if event.event == "registered"}
        versions, added = dict(self._versions({entry.manifest.name for entry in entries})), []
        for entry in entries:
            if entry.reference not in versions:
                versions[entry.reference] = self._add(entry, registered[entry.reference], registry)
                added.append(entry.reference)
        shown = {alias: model for alias, model in aliases.items() if alias in _ALIASES and model in versions}
        self._point(shown, versions, {entry.manifest.name for entry in entries})
        return Mirrored(added, shown)

    def _versions(self, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Give `name@version` and MLflow's number of each version that is there already."""
        for name in sorted(names):
            token = None
            while True:
                page = self._client.search_model_versions(f"name = '{name}'", max_results=_PER_CALL, page_token=token)
                for version in page:
                    if _MODEL in version.tags:
                        yield version.tags[_MODEL], version.version
                if not (token := page.token):
                    break

    def _add(self, entry: Entry, event: Event, registry: Registry) -> str:
        manifest, tags = entry.manifest, {_MODEL: entry.reference, "weir.spec": entry.manifest.spec, "weir.who": event.who}
        run = self._run(entry, tags, registry)
        if not any(found.name == manifest.name for found in self._client.search_registered_models(f"name = '{manifest.name}'")):
            self._client.create_registered_model(manifest.name, description="Mirrored from the registry of weir, which decides.")
        version = self._client.create_model_version(
            manifest.name, f"{run.info.artifact_uri}/{_BUNDLE}", run.info.run_id, tags=tags, description=event.why or None
        )
        return str(version.version)

    def _run(self, entry: Entry, tags: Mapping[str, str], registry: Registry) -> Any:
        """Return the model's finished run; one that was begun and never finished is begun anew."""
        found = self._client.search_runs([self._experiment], f"tags.`{_MODEL}` = '{entry.reference}' and attributes.status = 'FINISHED'")
        if found:
            return found[0]
        run = self._client.create_run(self._experiment, entry.registered_ms, dict(tags), run_name=entry.reference)
        for key, value in _parameters(entry).items():
            self._client.log_param(run.info.run_id, key, value)
        for key, number in _metrics(entry).items():
            self._client.log_metric(run.info.run_id, key, number, timestamp=entry.registered_ms, step=0)
        self._client.log_artifacts(run.info.run_id, str(registry.resolve(entry.reference)), _BUNDLE)
        self._client.set_terminated(run.info.run_id, "FINISHED", entry.registered_ms)
        return run

    def _point(self, aliases: Mapping[str, str], versions: Mapping[str, str], names: Iterable[str]) -> None:
        """Let MLflow's aliases be these: an alias is MLflow's per name, and weir's in all."""
        for name in sorted(names):
            there = dict(self._client.get_registered_model(name).aliases)
            wanted = {alias: versions[model] for alias, model in aliases.items() if model.partition("@")[0] == name}
            for alias in _ALIASES:
                if alias in wanted and str(there.get(alias)) != wanted[alias]:
                    self._client.set_registered_model_alias(name, alias, wanted[alias])
                elif alias in there and alias not in wanted:
                    self._client.delete_registered_model_alias(name, alias)


def _parameters(entry: Entry) -> dict[str, str]:
    """Return the training's window and options, flat; MLflow takes up to 6,000 characters of each."""
    manifest = entry.manifest
    tree = {"window": msgspec.to_builtins(manifest.window), "options": msgspec.to_builtins(manifest.options), "spec": manifest.spec}
    return {key: str(value)[:6000] for key, value in flat(tree) if value is not None}


def _metrics(entry: Entry) -> dict[str, float]:
    return {f"{model}.{key}": value for model, found in entry.manifest.metrics.items() for key, value in found.items() if value is not None}

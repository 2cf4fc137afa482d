"""Retrain: from what the archive knows to a candidate that the gate has judged and that stands on trial beside the champion.

Nothing here makes a champion. A candidate that passes scores in the shadow; what it is worth there, and whether it becomes
champion, the trial finds out (`service.rollout_steward`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import polars as pl

from domain.errors import HistoryError, ModelError, NoChampion, WeirError
from service.retraining_log import Retraining, RetrainingLog
from service.settings import Settings
from service.times import now_ms
from service.wiring import registry_desk_of, registry_of, verifying_key_of

if TYPE_CHECKING:
    from models.manifest import Manifest
    from models.options import TrainingOptions

WHO: Final = "weir retrain"
Progress = Callable[[str, float], None]


def retrain(
    settings: Settings, archive: Path, *, options_file: Path | None = None, why: str = "",
    progress: Progress = lambda _stage, _share: None,
) -> Retraining:  # fmt: skip
    """Train a candidate on an archive, let the gate judge it against the champion, and put it into the shadow if it passes.

    The recipe is the champion's, on newer days. Whatever comes of it is kept in the registry's folder, failures too.

    Args:
        settings: Registry, key, features, policy, and the gate's limits.
        archive: Of `weir archive`.
        options_file: TOML with options that differ from the champion's; None = none.
        why: What made it necessary, for the history.
        progress: Told stage and finished share.

    Raises:
        NoChampion: There is nothing to compare a candidate with.
        HistoryError: The archive cannot be read, is too short, or holds no labels.
        TrainingRefused: The archive cannot carry a model.
        ModelError: Another retraining is at work, or the registry cannot be used.
        ConfigError: A setting or an option is wrong.
    """
    log = RetrainingLog(registry_desk_of(settings))
    with log.turn():
        begun_ms = now_ms()
        try:
            found = _Attempt(settings, archive, why, begun_ms, progress).run(options_file)
        except WeirError as error:
            log.append(
                Retraining(outcome="failed", sentence=str(error), archive=str(archive), begun_ms=begun_ms, ended_ms=now_ms(), why=why)
            )  # fmt: skip
            raise
        log.append(found)
    return found


class _Attempt:
    """One retraining, by whoever has the turn."""

    def __init__(self, settings: Settings, archive: Path, why: str, begun_ms: int, progress: Progress) -> None:
        self._settings = settings
        self._archive = archive
        self._why = why
        self._begun_ms = begun_ms
        self._progress = progress
        self._registry = registry_of(settings)

    def run(self, options_file: Path | None) -> Retraining:
        from service.gating import judge
        from service.model_training import train_and_register

        champion, manifest = self._champion()
        options = self._options(manifest, options_file)
        history = self._history(options)
        registered = train_and_register(history, self._settings, options=options, name=manifest.name, progress=self._progress)
        found = Retraining(
            outcome="unchanged", sentence=f"the archive gives the champion {champion} again: there is nothing new to try",
            archive=str(self._archive), begun_ms=self._begun_ms, ended_ms=now_ms(), why=self._why, model=registered.reference,
            champion=champion, n_transactions=len(history), n_labels=_n_labels(history), notes=registered.trained.warnings,
        )  # fmt: skip
        if registered.reference == champion:
            return found
        verdict = judge(registered.reference, history, self._settings, origin=str(self._archive), progress=self._progress)
        found = msgspec.structs.replace(found, verdict=verdict, champion=verdict.champion, outcome="refused", sentence=verdict.sentence)
        if verdict.outcome == "passed":
            found = self._tried(found, f"{verdict.sentence}, on {len(history):,} archived transactions")
        return msgspec.structs.replace(found, ended_ms=now_ms())

    def _champion(self) -> "tuple[str, Manifest]":
        from models.bundle import verify_bundle

        champion = self._registry.state().champion
        if champion is None:
            raise NoChampion(
                f"the registry {self._registry} has no champion to compare a candidate with: "
                f"train the first model with `weir train {self._archive}`"
            )
        return champion, verify_bundle(self._registry.resolve(champion), verifying_key_of(self._settings))[0]

    def _options(self, champion: "Manifest", file: Path | None) -> "TrainingOptions":
        """Return the champion's recipe with the policy rates in force, and what the file wants otherwise."""
        from models.options import options_from
        from service.training_options import read_toml

        policy = self._settings.policy
        base = msgspec.structs.replace(champion.options, alert_rate=policy.alert_rate, decline_share=policy.decline_share)
        return base if file is None else options_from(read_toml(file), base, str(file))

    def _history(self, options: "TrainingOptions") -> pl.DataFrame:
        """Return the archive as a history that can carry a candidate and its comparison: told before the long work."""
        from features.archive_history import archive_history
        from models.folds import Plan, folds_of
        from models.options import DAY_MS

        maturity_days = self._settings.features.definition().maturity_days
        history = archive_history(self._archive, maturity_days=maturity_days)
        if history.is_empty():
            raise HistoryError(f"the archive {self._archive} holds no transactions; let `weir archive` run beside the workers")
        if not _n_labels(history):
            raise HistoryError(
                f"the archive {self._archive} holds no labels: nothing tells fraud from good; send them (`weir label`, topic labels.v1) "
                "and let `weir archive` take them in"
            )
        first, newest = history["event_time_ms"].min(), history["event_time_ms"].max()
        assert isinstance(first, int)
        assert isinstance(newest, int)
        plan = Plan(train_days=options.days, delay_days=maturity_days, n_folds=self._settings.gate.folds)
        try:
            folds_of(plan, history.filter(pl.col("event_time_ms") <= newest - maturity_days * DAY_MS))
        except HistoryError:
            wanted = plan.train_days + 2 * maturity_days + plan.test_days
            raise HistoryError(
                f"the archive {self._archive} covers {newest // DAY_MS - first // DAY_MS + 1} days; to train a candidate and to compare it "
                f"with the champion takes {wanted}: {plan.train_days} to train, {maturity_days} until their labels are known, "
                f"{plan.test_days} to test, {maturity_days} until the test's labels are known; go on archiving, or give fewer `days` "
                "with --options"
            ) from None
        return history

    def _tried(self, found: Retraining, passed: str) -> Retraining:
        """Return what becomes of a candidate that passed: the shadow, unless another trial is under way."""
        state = self._registry.state()
        waits = f"{passed}; it is registered and waits"
        if state.rollout is not None and state.rollout.model != found.model:
            sentence = f"{waits}, as {state.rollout.model} is on trial: `weir models shadow {found.model}` when that has ended"
            return msgspec.structs.replace(found, outcome="registered", sentence=sentence)
        if state.champion != found.champion:
            sentence = f"{waits}, as {state.champion} became champion meanwhile: `weir models gate {found.model} {self._archive}`"
            return msgspec.structs.replace(found, outcome="registered", sentence=sentence)
        if state.rollout is not None:
            return msgspec.structs.replace(found, outcome="unchanged", sentence=f"{passed}; it was on trial ({state.rollout.mode}) before")
        because = f"{passed} ({self._why})" if self._why else passed
        try:
            self._registry.shadow(found.model, expected=state, who=WHO, why=because)
        except ModelError as error:
            return msgspec.structs.replace(found, outcome="registered", sentence=f"{waits}: {error}")
        return msgspec.structs.replace(found, outcome="shadow", sentence=f"{passed}; it now scores beside the champion and decides nothing")


def _n_labels(history: pl.DataFrame) -> int:
    return history["label_time_ms"].count()

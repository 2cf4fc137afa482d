"""The fourth view: the registry, which model serves, and one model in full."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from domain.errors import ModelError, WeirError
from features.spec import FEATURES
from models.gate import read_verdict
from models.registry import Entry, Registry
from models.registry_history import CHAMPION, Event
from monitoring.explanation import Threshold
from service.gate_words import verdict_markdown
from service.policies import Policies
from service.registry_words import what_happened
from service.web.answers import State
from service.web.model_answers import Importance, ModelAnswer, ModelEvent, ModelRow, ModelsAnswer, TrialAnswer
from service.web.shelf import Shelf
from service.web.trials import trials_of

_MOST_FEATURES: Final = 20
_MOST_TRIALS: Final = 6
_MEANING: Final = {feature.name: feature.meaning for feature in FEATURES}


class ModelViews:
    """Reads the registry; its methods take time: call them from a thread."""

    def __init__(self, registry: Registry, shelf: Shelf, policies: Policies, where: str) -> None:
        """Prepare.

        Args:
            registry: Of the installation.
            shelf: For what a model's features are worth.
            policies: For the thresholds in force.
            where: The registry, as people know it.
        """
        self._registry = registry
        self._shelf = shelf
        self._policies = policies
        self._where = where

    def champion(self) -> str | None:
        """Return `name@version` of the champion, None if there is none or the registry cannot be read."""
        try:
            return self._registry.aliases().get(CHAMPION)
        except OSError:
            return None

    def all(self, serving: Iterable[str], now_ms: int, trouble: str = "") -> ModelsAnswer:
        """Return every model.

        Args:
            serving: The model of each worker that is alive.
            now_ms: Wall clock.
            trouble: Why the trial in force needs somebody; empty: it does not.
        """
        try:
            entries, events = self._registry.entries(), self._registry.history()
            broken = sorted(set(self._registry.names()) - {entry.reference for entry in entries})
        except (WeirError, OSError) as error:
            return _nothing("attention", f"The registry {self._where} cannot be read: {error}.", now_ms)
        unreadable = f"{broken[0]} in the registry {self._where} cannot be read: see `weir models verify`." if broken else ""
        if not entries and unreadable:
            return _nothing("attention", unreadable, now_ms)
        if not entries:
            sentence = f"The registry {self._where} is empty: train a model with `weir train HISTORY`; the first one becomes the champion."
            return _nothing("empty", sentence, now_ms)
        n_workers = Counter(serving)
        champion = self.champion()
        foreign = sorted(set(n_workers) - {entry.reference for entry in entries})
        state, sentence = _judged(champion, n_workers, foreign)
        tried = {event.rollout.model for event in events if event.rollout is not None}
        trials = trials_of(self._registry, (entry.reference for entry in entries if entry.reference in tried), trouble)[:_MOST_TRIALS]
        sentence += _on_trial(trials)
        if trouble and state == "well":
            state, sentence = "attention", f"{sentence} It needs somebody: {trouble.rstrip('.')}."
        if unreadable and state == "well":
            state, sentence = "attention", unreadable
        return ModelsAnswer(
            at_ms=now_ms, state=state, sentence=sentence, champion=champion,
            models=[_row(entry, n_workers[entry.reference]) for entry in reversed(entries)], history=_events(reversed(events)),
            trials=trials,
        )  # fmt: skip

    def one(self, reference: str, serving: Iterable[str]) -> ModelAnswer:
        """Return one model.

        Raises:
            ModelError: There is none of that name.
        """
        name = self._registry.reference(reference)
        entry = next((entry for entry in self._registry.entries() if entry.reference == name), None)
        if entry is None:
            raise ModelError(f"the registry {self._where} no longer holds {name}")
        manifest = entry.manifest
        policy = self._policies.in_force(name, manifest.policy)
        return ModelAnswer(
            row=_row(entry, Counter(serving)[name]), spec=manifest.spec, policy=policy.version,
            base_currency=manifest.base_currency,
            calibration_from_ms=manifest.window.calibration_from_ms, metrics={m: dict(found) for m, found in manifest.metrics.items()},
            weights=dict(manifest.member_weights), thresholds={
                tier.value: Threshold(review=limits.review, decline=limits.decline) for tier, limits in policy.thresholds.items()
            },
            importance=self._importance(name), libraries=dict(manifest.libraries), card=self._card(name),
            history=_events(event for event in reversed(self._registry.history()) if event.model == name),
            trials=trials_of(self._registry, [name], "")[:_MOST_TRIALS],
        )  # fmt: skip

    def _importance(self, name: str) -> list[Importance]:
        """Return the weightiest features; none of a bundle that cannot be trusted."""
        try:
            shares = self._shelf.get(name).importance
        except ModelError:
            return []
        weightiest = sorted(shares.items(), key=lambda item: -item[1])[:_MOST_FEATURES]
        return [Importance(feature=feature, description=_MEANING[feature], share=round(share, 5)) for feature, share in weightiest if share]

    def _card(self, name: str) -> str:
        """Return the card of the bundle, and the gate's verdict behind it; neither of what cannot be read."""
        from models.bundle import CARD

        try:
            card = (self._registry.resolve(name) / CARD).read_text("utf-8")
            verdict = read_verdict(self._registry.beside(name))
        except (OSError, UnicodeDecodeError, ModelError):
            return ""
        return card if verdict is None else f"{card}\n{verdict_markdown(verdict)}"


def _nothing(state: State, sentence: str, now_ms: int) -> ModelsAnswer:
    return ModelsAnswer(at_ms=now_ms, state=state, sentence=sentence, champion=None, models=[], history=[], trials=[])


def _judged(champion: str | None, n_workers: Counter[str], foreign: Sequence[str]) -> tuple[State, str]:
    total = sum(n_workers.values())
    if champion is None:
        return "attention", "There is no champion: make a model champion with `weir models promote MODEL`."
    if not total:
        return "well", f"{champion} is the champion; no worker serves now."
    if foreign:
        return "attention", f"Workers serve {', '.join(foreign)}, which this registry does not have: they use another one (model.registry)."
    n_serving = n_workers[champion]
    if n_serving < total:
        others = f"{total - n_serving} of {total} workers serve another model"
        return "attention", f"{champion} is the champion, but {others}: they take it within seconds, or their logs say why they refuse it."
    return "well", f"{champion} is the champion, and {'the worker serves' if total == 1 else f'all {total} workers serve'} it."


def _on_trial(trials: Sequence[TrialAnswer]) -> str:
    """Return the sentence about the trial in force, empty if there is none."""
    trial = next((trial for trial in trials if trial.outcome == "running"), None)
    if trial is None:
        return ""
    share = f" for {trial.percent:g} % of the cards" if trial.mode == "canary" else ""
    return f" {trial.model} is on trial beside it, as a {trial.mode}{share}."


def _row(entry: Entry, n_workers: int) -> ModelRow:
    window, metrics = entry.manifest.window, entry.manifest.metrics.get("ensemble", {})
    return ModelRow(
        model=entry.reference, aliases=entry.aliases, registered_ms=entry.registered_ms, trained_from_ms=window.from_ms,
        trained_to_ms=window.to_ms, n_rows=window.n_rows, n_frauds=window.n_frauds, average_precision=metrics.get("average_precision"),
        roc_auc=metrics.get("roc_auc"), n_workers=n_workers,
    )  # fmt: skip


def _events(events: Iterable[Event]) -> list[ModelEvent]:
    return [
        ModelEvent(
            time_ms=event.time_ms, event=event.event, what=what_happened(event), model=event.model, who=event.who, why=event.why,
        )
        for event in events
    ]  # fmt: skip

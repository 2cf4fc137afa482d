"""From the registry's state to a lineup: loads and verifies what is to answer, and keeps what was loaded."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from domain.decision import Tier
from domain.errors import BundleRejected, ConfigError, ModelError, StoreUnavailable
from features.spec import fingerprint
from models.policy import LivePolicy, effective
from models.policy_store import PolicyStore
from models.registry import Registry
from models.registry_history import Rollout, State
from service.settings import Settings
from service.wiring import load_champion, policies_of, registry_of, verifying_key_of
from stream.lineup import Lineup, model_of

if TYPE_CHECKING:
    from models.scorer import Scorer


class Refusal(NamedTuple):
    """Something that the registry names and that may not answer."""

    what: str
    """`name@version` of a model, or `policy <version>`."""
    reason: str


class Loaded(NamedTuple):
    """Who answers now, and what of the registry's state could not be followed."""

    lineup: Lineup
    refusals: list[Refusal]


class LineupLoader:
    """Follows the registry's state as far as it can be verified. Its methods take time: call them from one thread at a time.

    Guarantee: signature, digests, fingerprint and golden rows are verified before a model answers anything; what fails leaves
    in force what was in force, a challenger that fails stays away.
    """

    def __init__(self, registry: Registry, policies: PolicyStore, key: bytes, spec: str, *, chunk_size: int) -> None:
        """Prepare.

        Args:
            registry: Of the models.
            policies: Beside it.
            key: That verifies both.
            spec: Fingerprint of the features that this process computes.
            chunk_size: A new model is warmed up with as many rows.
        """
        self._registry = registry
        self._policies = policies
        self._key = key
        self._spec = spec
        self._chunk_size = chunk_size
        self._loaded: dict[str, Scorer] = {}
        """`name@version` -> under the policy of its bundle."""
        self._serving: dict[str, Scorer] = {}
        """The same under the policy in force: the same objects as long as nothing changes."""
        self._live: LivePolicy | None = None

    def first(self, champion: "Scorer") -> Loaded:
        """Return the lineup to begin with.

        Args:
            champion: Verified and loaded.

        Raises:
            ConfigError: The live policy cannot be verified: without it, lists and limits that somebody set would be missing.
        """
        state = self._registry.state()
        self._loaded[model_of(champion)] = champion
        try:
            self._live = self._policies.read(state.policy, self._key)
        except ModelError as error:
            raise ConfigError(f"the live policy cannot be used: {error}") from error
        return self._assemble(state, champion, [])

    def follow(self, now: Lineup) -> Loaded:
        """Return the lineup that the registry asks for.

        Args:
            now: Who answers now: what was loaded for it is used again, and it stays where the registry cannot be followed.

        Raises:
            StoreUnavailable: The registry's store cannot be used now; nothing changed.
        """
        state, refusals = self._registry.state(), list[Refusal]()
        try:
            self._live = self._policies.read(state.policy, self._key)
        except ModelError as error:
            refusals.append(Refusal(f"policy {state.policy}", str(error)))
        wanted, champion = state.champion, self._loaded[model_of(now.champion)]
        if wanted is not None and wanted != model_of(champion):
            champion = self._get(wanted, refusals) or champion
        return self._assemble(state, champion, refusals)

    def forget(self, lineup: Lineup) -> None:
        """Free what neither answers nor is an alias of the registry; a rollback finds the model before still loaded.

        Args:
            lineup: In force.
        """
        kept = {*self._registry.state().aliases.values(), model_of(lineup.champion)}
        for model in self._loaded.keys() - kept:
            del self._loaded[model]
            self._serving.pop(model, None)

    def _assemble(self, state: State, champion: "Scorer", refusals: list[Refusal]) -> Loaded:
        rollout = state.rollout
        challenger = self._get(rollout.model, refusals) if rollout is not None and rollout.model != model_of(champion) else None
        if rollout is None or challenger is None:
            return Loaded(Lineup(self._under_policy(champion)), refusals)
        return Loaded(_on_trial(self._under_policy(champion), self._under_policy(challenger), rollout), refusals)

    def _under_policy(self, scorer: "Scorer") -> "Scorer":
        model = model_of(scorer)
        policy, served = effective(scorer.manifest.policy, self._live, model), self._serving.get(model)
        if served is None or served.policy_version != policy.version:
            served = self._serving[model] = scorer.under(policy)
        return served

    def _get(self, model: str, refusals: list[Refusal]) -> "Scorer | None":
        from models.bundle import load_bundle

        if model not in self._loaded:
            try:
                scorer = load_bundle(self._registry.resolve(model), self._key, self._spec)
                _require(scorer, model)
                self._warm_up(scorer)
            except StoreUnavailable:  # says nothing about the model
                raise
            except Exception as error:  # noqa: BLE001 - whatever a bundle breaks, who answers goes on
                refusals.append(Refusal(model, str(error) if isinstance(error, ModelError) else f"it cannot be loaded: {error!r}"))
                return None
            self._loaded[model] = scorer
        return self._loaded[model]

    def _warm_up(self, scorer: "Scorer") -> None:
        """Let the first chunk not pay for the memory that a runtime takes when it first runs."""
        rows = np.ascontiguousarray(np.resize(scorer.golden_vectors, (self._chunk_size, scorer.golden_vectors.shape[1])))
        for tier in (Tier.FULL, Tier.SMALL):
            scorer.decide(scorer.score(rows, tier=tier), tier)
        scorer.reasons(rows[:1], budget_ms=1_000.0)


def _require(scorer: "Scorer", model: str) -> None:
    if model_of(scorer) != model:
        raise BundleRejected(f"the bundle in the place of {model} is {model_of(scorer)}: somebody put it there by hand; restore it")


def _on_trial(champion: "Scorer", challenger: "Scorer", rollout: Rollout) -> Lineup:
    return Lineup(champion, challenger, rollout.mode, rollout.percent, rollout.started_ms)


class Opened(NamedTuple):
    """What a worker begins with."""

    registry: Registry
    loader: LineupLoader
    loaded: Loaded


def open_lineup(settings: Settings) -> Opened:
    """Return what follows the registry, and who answers at first.

    Raises:
        ConfigError: There is no champion, it was trained on other features, or the live policy cannot be verified.
        BundleRejected: The champion is unsigned, altered or too new.
    """
    spec = fingerprint(settings.features.definition())
    champion = load_champion(settings)
    registry = registry_of(settings)
    loader = LineupLoader(registry, policies_of(settings), verifying_key_of(settings), spec, chunk_size=settings.scoring.chunk_size)
    return Opened(registry, loader, loader.first(champion))

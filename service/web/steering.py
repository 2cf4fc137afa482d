"""What the steward of trials looks at, in an installation."""

from pathlib import Path

from domain.decision import Tier
from domain.errors import ModelError, NoChampion
from models.registry_history import State
from service.gating import require_passed
from service.policies import Policies
from service.rollout_steward import Sources
from service.settings import Settings
from service.web.shelf import Shelf
from service.wiring import kafka_connection, registry_of


def sources_of(settings: Settings, shelf: Shelf, policies: Policies) -> Sources:
    """Return the sources that the settings name.

    Args:
        settings: In force.
        shelf: For the champion's bundle.
        policies: For the threshold in force.
    """

    def threshold(state: State) -> float:
        if state.champion is None:
            raise NoChampion("the registry has no champion to compare with; promote one: weir models promote MODEL")
        default = shelf.get(state.champion).manifest.policy
        return policies.in_force(state.champion, default).thresholds[Tier.FULL].review

    registry = registry_of(settings)

    def objection(state: State, model: str) -> str:
        try:
            require_passed(registry, model, state, settings, is_forced=False)
        except ModelError as error:
            return str(error)
        return ""

    return Sources(
        registry, threshold, Path(settings.archive.directory),
        kafka_connection(settings) if settings.kafka.bootstrap else None,
        settings.model.trial_maturity_days or settings.features.maturity_days,
        settings.scoring.latency_budget_ms, objection,
    )  # fmt: skip

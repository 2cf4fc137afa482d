"""Which policy decides a model's answers now, and which one decided an earlier answer."""

from domain.errors import PolicyRejected
from models.policy import LivePolicy, Policy, effective
from models.policy_store import PolicyStore
from models.registry import Registry
from service.settings import Settings
from service.wiring import policies_of, registry_of, verifying_key_of


class Policies:
    """The policies of an installation; reads files."""

    def __init__(self, registry: Registry, store: PolicyStore, key: bytes) -> None:
        """Prepare.

        Args:
            registry: Says which live policy is in force, and which ones were.
            store: Of the live policies.
            key: Verifies them.
        """
        self._registry = registry
        self._store = store
        self._key = key

    def in_force(self, model: str, default: Policy) -> Policy:
        """Return the policy that decides a model's answers now; a live policy that cannot be read counts as none.

        Args:
            model: `name@version`.
            default: Of its bundle.
        """
        return effective(default, self._read(self._registry.state().policy), model)

    def named(self, version: str, model: str, default: Policy) -> Policy | None:
        """Return the policy of a version that stands in an answer of a model; None if it is not known here.

        Args:
            version: Of the policy as it was in force for the model, as scores name it.
            model: `name@version`.
            default: Of its bundle.
        """
        for live in dict.fromkeys(["", *(event.policy for event in reversed(self._registry.history()))]):
            policy = effective(default, self._read(live), model)
            if policy.version == version:
                return policy
        return None

    def _read(self, version: str) -> LivePolicy | None:
        try:
            return self._store.read(version, self._key)
        except PolicyRejected:
            return None


def known_policies(settings: Settings) -> Policies:
    """Return the policies of the installation."""
    return Policies(registry_of(settings), policies_of(settings), verifying_key_of(settings))

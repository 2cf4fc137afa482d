"""What the dashboard needs of a model: its manifest, the profile that drift is measured against, what its features are worth."""

from collections.abc import Mapping
from typing import NamedTuple

from domain.errors import BundleRejected, ModelError, WeirError
from models.gain import gain_shares
from models.manifest import Manifest
from models.registry import Registry
from monitoring.profile import Profile


class Shelved(NamedTuple):
    """A verified model."""

    reference: str
    """`name@version`."""
    manifest: Manifest
    profile: Profile
    importance: Mapping[str, float]
    """Feature -> its share of the booster's gain; they add up to 1."""


class Shelf:
    """Models by reference, each read once. Its methods take time: call them from a thread."""

    def __init__(self, registry: Registry, key: bytes) -> None:
        self._registry = registry
        self._key = key
        self._known: dict[str, Shelved | WeirError] = {}

    def get(self, reference: str) -> Shelved:
        """Return a model.

        Raises:
            ModelError: The registry does not have it, or its bundle cannot be trusted.
        """
        found = self._known.get(reference)
        if found is None:
            try:
                found = self._load(reference)
            except WeirError as error:
                found = error
            if isinstance(found, (Shelved, BundleRejected)):
                self._known[reference] = found
        if isinstance(found, Shelved):
            return found
        raise found if isinstance(found, ModelError) else ModelError(str(found))

    def _load(self, reference: str) -> Shelved:
        from models.bundle import BOOSTER, PROFILE, verify_bundle  # two seconds: the first page does not wait for it

        folder = self._registry.resolve(reference)
        manifest, version, files = verify_bundle(folder, self._key)
        return Shelved(f"{manifest.name}@{version}", manifest, Profile.decode(files[PROFILE]), gain_shares(files[BOOSTER]))

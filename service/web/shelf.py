"""What the dashboard needs of a model: its manifest, the profile that drift is measured against, what its features are worth."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from domain.errors import BundleRejected, ModelError, WeirError
from features.spec import FEATURES
from models.manifest import Manifest
from models.registry import FileRegistry
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

    def __init__(self, registry: FileRegistry, key: bytes) -> None:
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


def gain_shares(booster: bytes) -> dict[str, float]:
    """Return each feature's share of a booster's total gain; features that no tree asks for have 0."""
    from models.xgboost_alone import xgboost

    gains = xgboost.Booster({"nthread": 1}, model_file=bytearray(booster)).get_score(importance_type="total_gain")
    values = np.zeros(len(FEATURES))
    for name, gain in gains.items():
        values[int(name.removeprefix("f"))] = gain
    total = float(values.sum()) or 1.0
    return {feature.name: float(value) / total for feature, value in zip(FEATURES, values, strict=True)}

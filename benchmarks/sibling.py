"""Models that differ from a trained one and cost no training: the same graph, calibrated otherwise, whole and signed."""

import tempfile
from pathlib import Path

import msgspec
import numpy as np

from models.bundle import FILES, SERVING, load_bundle, write_bundle
from models.calibration import Platt
from models.registry import Registry
from models.scorer import Scorer
from models.serving import decode_serving
from service.settings import Settings
from service.wiring import registry_of, signing_key_of, verifying_key_of


def sibling_of(settings: Settings, reference: str, *, slope: float, name: str = "") -> str:
    """Register a model whose logits are `slope` times those of `reference`; return its `name@version`.

    It gives other probabilities and, where a threshold lies between them, other decisions; its golden rows say so, and
    it is signed with the installation's key.

    Args:
        settings: Of the installation.
        reference: As `Registry.resolve` takes it.
        slope: Another one is another model.
        name: Empty: the same name.
    """
    registry, key = registry_of(settings), verifying_key_of(settings)
    folder = registry.resolve(reference)
    scorer = scorer_of(registry, folder.name, key)
    calibration = {tier: Platt(found.slope * slope, found.intercept) for tier, found in scorer.manifest.calibration.items()}
    manifest = msgspec.structs.replace(scorer.manifest, calibration=calibration, name=name or scorer.name)
    files = {file: (folder / file).read_bytes() for file in FILES}
    golden = decode_serving(files[SERVING])
    probabilities = {}
    for tier in golden.probabilities:
        found, old = scorer.score(golden.vectors, tier=tier), scorer.manifest.calibration[tier]
        logit = (np.log(found) - np.log1p(-found) - old.intercept) / old.slope
        probabilities[tier] = calibration[tier].probability(logit)
    files[SERVING] = type(golden)(golden.tables, golden.small_tables, golden.vectors, probabilities).encode()
    with tempfile.TemporaryDirectory(prefix="weir-") as directory:
        write_bundle(Path(directory) / "bundle", manifest, files, signing_key_of(settings))
        return registry.register(Path(directory) / "bundle")


def scorer_of(registry: Registry, reference: str, key: bytes) -> Scorer:
    """Return a model of a registry, verified but for the features' fingerprint, which is its own."""
    from models.manifest import MANIFEST, decode_manifest

    folder = registry.resolve(reference)
    return load_bundle(folder, key, decode_manifest((folder / MANIFEST).read_bytes()).spec)

"""A bundle whose full graph is one of its variants: made from the bundle alone, without the history."""

from pathlib import Path

import msgspec

from domain.decision import Tier
from domain.errors import ModelError
from models.bundle import CARD, FILES, FULL, SERVING, SMALL, verify_bundle
from models.card import model_card
from models.manifest import Manifest
from models.missing import without_state
from models.serving import decode_serving
from models.session import run_in_blocks
from models.variant import VARIANTS, file_of


def variant_graphs(folder: Path, key: bytes) -> tuple[Manifest, str, dict[str, bytes]]:
    """Verify a bundle; return manifest, version and every graph by its variant's name, the full one first.

    Raises:
        BundleRejected: Unsigned, altered, incomplete or too new.
    """
    manifest, version, files = verify_bundle(folder, key, also=[file_of(name) for name in VARIANTS])
    graphs = {"full": files[FULL], "small": files[SMALL]}
    return manifest, version, graphs | {name: files[file_of(name)] for name in VARIANTS if file_of(name) in files}


def as_variant(folder: Path, key: bytes, name: str) -> tuple[Manifest, dict[str, bytes]]:
    """Return manifest and files of a bundle that serves the variant `name` where this one serves the full graph.

    Calibration, thresholds and golden rows are the variant's own; reasons, members and the drift reference stay.

    Raises:
        ModelError: The bundle holds no such variant.
        BundleRejected: Unsigned, altered, incomplete or too new.
    """
    manifest, version, files = verify_bundle(folder, key, also=(*FILES, file_of(name)))
    found = manifest.variants.get(name)
    if found is None or name not in VARIANTS:
        held = ", ".join(one for one in VARIANTS if one in manifest.variants) or "none"
        raise ModelError(f"{manifest.name}@{version} holds no variant {name!r} that can stand in for its full graph; it holds: {held}")
    graph, serving = files.pop(file_of(name)), decode_serving(files[SERVING])
    calibration = {**manifest.calibration, **found.calibration}
    rows = {Tier.FULL: serving.vectors, Tier.DEGRADED: without_state(serving.vectors)}
    golden = {tier: calibration[tier].probability(run_in_blocks(graph, "logit", x, 1)[:, 0]) for tier, x in rows.items()}
    changed = msgspec.structs.replace(
        manifest,
        graph=name,
        calibration=calibration,
        policy=found.policy,
        metrics={**manifest.metrics, "ensemble": found.metrics},
        parity={**manifest.parity, FULL: found.parity},
        variants={},
        files={},
    )
    replaced = type(serving)(serving.tables, serving.small_tables, serving.vectors, {**serving.probabilities, **golden})
    card = model_card(changed, {FULL: len(graph), SMALL: len(files[SMALL])}).encode()
    return changed, {**files, FULL: graph, SERVING: replaced.encode(), CARD: card}

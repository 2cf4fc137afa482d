"""Train a model with the settings in force and put it into the registry."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from features.spec import fingerprint
from service.authorship import os_user
from service.settings import Settings
from service.wiring import rates_of, registry_of, signing_key_of

if TYPE_CHECKING:
    from models.fitted import Fitted, Trained
    from models.manifest import Manifest
    from models.members import Member
    from models.options import TrainingOptions
    from models.scorer import Scorer

_BATCH_ROWS = 256
_ROUNDS = 50


class Registered(NamedTuple):
    """A trained model in the registry."""

    reference: str
    """`name@version`."""
    is_champion: bool
    trained: "Trained"
    latency_us: dict[str, float]
    """Median time per row in batches of 256, by graph, on this machine."""


def options_of(settings: Settings) -> "TrainingOptions":
    """Return the training options, policy rates taken from the settings."""
    from models.options import TrainingOptions

    return TrainingOptions(alert_rate=settings.policy.alert_rate, decline_share=settings.policy.decline_share)


def train_and_register(
    history: pl.DataFrame,
    settings: Settings,
    *,
    options: "TrainingOptions | None" = None,
    name: str = "weir",
    from_ms: int | None = None,
    to_ms: int | None = None,
    foreign: "Mapping[str, Member] | None" = None,
    observe: "Callable[[Fitted], None] | None" = None,
    progress: Callable[[str, float], None] = lambda _stage, _share: None,
) -> Registered:
    """Train on `history`, write a signed bundle, load it as a worker would, and register it; the first one becomes champion.

    Args:
        history: Normalised, see `features.history`.
        settings: Features, policy, registry and key.
        options: Every choice of the training; None = the product's, with the settings' policy.
        name: Of the model.
        from_ms: See `models.training.train`.
        to_ms: See there.
        foreign: Members that were trained elsewhere, by name.
        observe: Shown what was learnt, before it becomes a bundle.
        progress: Told stage and finished share.

    Raises:
        TrainingRefused: The history cannot carry a model.
        ModelError: The bundle is not fit to serve.
    """
    from models.registry_history import CHAMPION
    from models.training import train

    trained = train(
        history,
        features=settings.features.definition(),
        rates=rates_of(settings),
        options=options or options_of(settings),
        name=name,
        from_ms=from_ms,
        to_ms=to_ms,
        foreign=foreign or {},
        observe=observe,
        progress=progress,
    )
    why = f"trained on {trained.manifest.window.n_rows:,} transactions"
    reference, scorer = register_bundle(trained.manifest, trained.files, settings, who=os_user(), why=why)
    return Registered(reference, registry_of(settings).aliases().get(CHAMPION) == reference, trained, _latency(scorer))


def register_bundle(
    manifest: "Manifest", files: Mapping[str, bytes], settings: Settings, *, who: str = "", why: str = ""
) -> "tuple[str, Scorer]":
    """Write a signed bundle, load it as a worker would, register it; return `name@version` and the loaded model.

    Raises:
        ModelError: The bundle is not fit to serve.
    """
    from models.bundle import load_bundle, write_bundle

    key = signing_key_of(settings)
    with tempfile.TemporaryDirectory(prefix="weir-bundle-") as folder:
        write_bundle(Path(folder), manifest, files, key)
        scorer = load_bundle(Path(folder), key, fingerprint(settings.features.definition()))
        return registry_of(settings).register(Path(folder), who=who, why=why), scorer


def _latency(scorer: "Scorer") -> dict[str, float]:
    import numpy as np

    from domain.decision import Tier

    golden = scorer.golden_vectors
    rows = np.resize(golden, (_BATCH_ROWS, golden.shape[1]))
    found = {}
    for graph, tier in (("full", Tier.FULL), ("small", Tier.SMALL)):
        times = []
        for _ in range(_ROUNDS):
            start = perf_counter()
            scorer.score(rows, tier=tier)
            times.append(perf_counter() - start)
        found[graph] = float(np.median(times)) / _BATCH_ROWS * 1e6
    return found

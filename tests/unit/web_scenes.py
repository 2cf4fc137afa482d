"""What the dashboard's tests share: what workers say and count, and a registry with a small model."""

from pathlib import Path

import msgspec
import numpy as np

from models.bundle import write_bundle
from models.registry import Registry
from monitoring.fleet import WorkerState
from monitoring.packed import Counts
from monitoring.profile import Profile
from service.settings import Settings, load
from service.web.shelf import Shelf
from tests.unit.models_synthetic import trained

KEY = b"key"
NOW_MS = 1_790_000_000_000
STATE = WorkerState(
    worker="0a1b2c3d", at_ms=NOW_MS, started_ms=NOW_MS - 600_000, model="weir@1", spec="s", policy="p", partitions=[0, 1], lag=0,
    event_ms=NOW_MS - 5_000, transactions=0, labels=0, decisions={}, flags={}, dead_letters=0, latency_edges_s=[0.01, 0.1, 1.0],
    latency_counts=[0, 0, 0, 0], redis="ok", problem="", metrics="http://127.0.0.1:1",
)  # fmt: skip


def state(**changes: object) -> WorkerState:
    """What a worker says."""
    return msgspec.structs.replace(STATE, **changes)


def registry_of(folder: Path) -> tuple[Registry, str]:
    """A registry whose champion is a small model, and the champion's name."""
    write_bundle(folder / "bundle", trained().manifest, trained().files, KEY)
    registry = Registry(folder / "registry", clock_ms=lambda: NOW_MS)
    return registry, registry.register(folder / "bundle")


def shelf_of(folder: Path) -> tuple[Shelf, str]:
    """The registry's models, and the champion's name."""
    registry, champion = registry_of(folder)
    return Shelf(registry, KEY), champion


def settings_of(folder: Path, **environ: str) -> Settings:
    """Settings of an installation whose folders are all below one."""
    folders = {
        "WEIR_MODEL_REGISTRY": str(folder / "registry"), "WEIR_MODEL_SIGNING_KEY": KEY.decode(),
        "WEIR_MONITORING_DIRECTORY": str(folder / "monitoring"), "WEIR_ARCHIVE_DIRECTORY": str(folder / "archive"),
        "WEIR_EMBEDDED_DIRECTORY": str(folder), "WEIR_WEB_PORT": "0",
    }  # fmt: skip
    return load(environ=folders | environ).settings


def counts(profile: Profile, seed: int, *, n: int = 2_000, moved: tuple[str, ...] = (), missing: tuple[str, ...] = ()) -> Counts:
    """One hour of rows as in training; the moved features lie in their highest bin, the missing ones are missing."""
    r = np.random.default_rng(seed)
    shares = profile.counts / profile.counts.sum(axis=1, keepdims=True)
    bins = np.stack([r.multinomial(n, row) for row in shares]).astype(np.int64)
    for names, place in ((moved, None), (missing, -1)):
        for name in names:
            row = profile.names.index(name)
            bins[row] = 0
            bins[row, int(np.isfinite(profile.edges[row]).sum()) if place is None else place] = n
    return Counts(n, n // 200, bins)

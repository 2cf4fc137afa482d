"""What the tests of the registry share: bundles by name, and an installation whose commands can be run."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from click.testing import CliRunner, Result

from models.bundle import write_bundle
from models.manifest import Manifest
from models.registry import Registry
from models.store import Store
from service.cli import weir
from tests.unit.models_synthetic import trained
from tests.unit.registry_places import place_of

KEY = b"a key"
HOUR_MS = 3_600_000


def bundle_of(folder: Path, name: str = "weir", *, key: bytes = KEY, files: Mapping[str, bytes] | None = None, **changes: object) -> Path:
    """A signed bundle of the small model; another name (or another manifest) is another version."""
    manifest: Manifest = msgspec.structs.replace(trained().manifest, name=name, **changes)
    write_bundle(folder, manifest, trained().files | dict(files or {}), key)
    return folder


class Clock:
    """A wall clock that tests set."""

    def __init__(self, now_ms: int = 1_790_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


class Installation:
    """A registry in a folder (or in a store), and the command line that works on it."""

    def __init__(self, folder: Path, key: bytes = KEY, root: Path | Store | None = None) -> None:
        self.folder = folder
        self.key = key
        self.root = root or folder / "registry"
        self.registry = Registry(self.root)
        self.environment = {
            "WEIR_MODEL_REGISTRY": str(self.root), "WEIR_MODEL_SIGNING_KEY": key.decode(), "WEIR_EMBEDDED_DIRECTORY": str(folder),
            "WEIR_MODEL_CACHE": str(folder / "cache"),
        }  # fmt: skip

    def add(self, name: str, **changes: object) -> str:
        """Register a bundle; return its `name@version`."""
        return self.registry.register(bundle_of(self.folder / f"made-{name}", name, key=self.key, **changes))

    def run(self, *arguments: str, **environment: str) -> Result:
        """Run `weir ...`; a refusal is the result's exception."""
        return CliRunner().invoke(weir, list(arguments), env=self.environment | environment)


def elsewhere(folder: Path) -> Registry:
    """The same registry as another machine has it: nothing is known or fetched yet."""
    store = place_of("exclusive", folder)
    store.cache = folder / "another cache"
    return Registry(store)

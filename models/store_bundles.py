"""Bundles in a store: uploaded with the manifest last, and read through a local folder that holds whole ones only."""

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final

from domain.errors import BundleRejected
from models.manifest import MANIFEST, SIGNATURE, Manifest, decode_manifest, version_of
from models.registry_history import Event, registered
from models.store import FILE_TIMEOUT_S, Store
from models.store_history import StoreHistory

_FOLDER: Final = "bundles"
_BESIDE: Final = "beside"
_CACHED: Final = 8
"""Bundles that the local folder keeps."""
_DRAFT_S: Final = 86_400.0


class StoreBundles:
    """Bundles of a store. Which are here says the history, so that a change of both is one event.

    A bundle that was collected and registered again lies in another folder than before: deleting what was collected
    never meets an upload.

    Where a bundle lies follows from the history as of its last look: whoever knows a reference has looked.

    Args:
        store: Of the registry.
        history: Of the registry.
    """

    def __init__(self, store: Store, history: StoreHistory) -> None:
        self._store = store
        self._history = history
        self._manifests: dict[str, Manifest] = {}

    def make(self) -> None:
        """A store needs no preparation."""

    def path(self, reference: str) -> Path:
        """Return the local folder of a bundle, which is fetched if it is not there yet.

        What is fetched is compared with the digests in its manifest; its signature is verified when it is loaded.

        Raises:
            BundleRejected: It is incomplete or altered. It is fetched again next time.
            StoreUnavailable: It is not there yet, and the store cannot be used now.
        """
        path = self._store.cache / _FOLDER / reference
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".", dir=path.parent))
            try:
                self._fetch(reference, draft)
                _publish(draft, path)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            _tidy(path.parent)
        os.utime(path)
        return path

    def beside(self, reference: str) -> Store:
        """Return what is known about a bundle but not in its digest."""
        return self._store.within(f"{_BESIDE}/{reference}")

    def manifest(self, reference: str) -> Manifest | None:
        """Return a bundle's manifest; None if the bundle is not here, or not one that can be read.

        Raises:
            StoreUnavailable: It was not read yet, and the store cannot be used now.
        """
        if reference not in self._manifests:
            try:
                content = self._store.read(f"{self._place(reference)}/{MANIFEST}")
                if version_of(content) != reference.partition("@")[2]:
                    return None
                self._manifests[reference] = decode_manifest(content)
            except (FileNotFoundError, BundleRejected):
                return None
        return self._manifests[reference]

    def names(self) -> list[str]:
        """Return the bundles, in the order of the alphabet."""
        return sorted(registered(self._history.events()))

    def take(self, bundle: Path, reference: str) -> None:
        """Upload a bundle, its manifest last: without one it is not whole. One that is here already stays as it is."""
        place = self._place(reference)
        if MANIFEST in self._store.names(place):
            return
        for path in sorted(bundle.iterdir(), key=lambda path: path.name == MANIFEST):
            self._store.write(f"{place}/{path.name}", path.read_bytes())

    def remove(self, reference: str) -> None:
        """Keep manifest, signature and card of a bundle beside; `sweep` deletes it once its end stands in the history."""
        from models.bundle import CARD  # here, because it loads the runtime

        beside = self.beside(reference)
        for name in (MANIFEST, SIGNATURE, CARD):
            try:
                beside.write(name, self._store.read(f"{self._place(reference)}/{name}"))
            except FileNotFoundError:
                continue

    def sweep(self) -> None:
        """Delete what was collected; nobody reads or uploads to those folders any more."""
        ended = _n_collected(self._history.events())
        dead = {_folder(model, n_before) for model, n in ended.items() for n_before in range(n)}
        for folder in self._store.names(_FOLDER):
            if folder in dead:
                self._store.delete(f"{_FOLDER}/{folder}")

    def _place(self, reference: str) -> str:
        return f"{_FOLDER}/{_folder(reference, _n_collected(self._history.known())[reference])}"

    def _fetch(self, reference: str, draft: Path) -> None:
        manifest = self._read(reference, MANIFEST)
        if version_of(manifest) != reference.partition("@")[2]:
            raise BundleRejected(f"{MANIFEST} of the bundle {reference} in {self._store} was altered; restore it")
        (draft / MANIFEST).write_bytes(manifest)
        (draft / SIGNATURE).write_bytes(self._read(reference, SIGNATURE))
        for name, digest in decode_manifest(manifest).files.items():
            if Path(name).name != name or name.startswith("."):
                raise BundleRejected(f"the bundle {reference} names a file outside itself: {name!r}; restore or train again")
            content = self._read(reference, name)
            if sha256(content).hexdigest() != digest:
                raise BundleRejected(f"{name} of the bundle {reference} in {self._store} was altered; restore it or train again")
            (draft / name).write_bytes(content)

    def _read(self, reference: str, name: str) -> bytes:
        try:
            return self._store.read(f"{self._place(reference)}/{name}", timeout_s=FILE_TIMEOUT_S)
        except FileNotFoundError as error:
            raise BundleRejected(
                f"the bundle {reference} in {self._store} has no {name}: it is incomplete; restore it or train again"
            ) from error


def _folder(reference: str, n_collected: int) -> str:
    return f"{reference}~{n_collected}" if n_collected else reference


def _n_collected(events: Iterable[Event]) -> Counter[str]:
    return Counter(event.model for event in events if event.event == "collected")


def _publish(draft: Path, path: Path) -> None:
    draft.chmod(0o755)
    try:
        draft.rename(path)
    except OSError:
        if not path.exists():  # else another process was faster, and what it fetched is the same
            raise


def _tidy(cache: Path) -> None:
    """Delete the bundles used longest ago, and drafts that a crash left."""
    found = sorted(cache.iterdir(), key=_used_s, reverse=True)
    whole = [path for path in found if not path.name.startswith(".")]
    left = [path for path in found if path.name.startswith(".") and _used_s(path) < time.time() - _DRAFT_S]
    for path in (*whole[_CACHED:], *left):
        shutil.rmtree(path, ignore_errors=True)


def _used_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process tidies, too
        return time.time()

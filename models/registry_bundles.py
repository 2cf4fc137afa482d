"""The folder of a registry's bundles, by `name@version`: taken in whole, taken out whole."""

import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

from domain.errors import BundleRejected, ModelError
from models.documents import Folder
from models.manifest import MANIFEST, SIGNATURE, Manifest, decode_manifest

_BUNDLES: Final = "bundles"
_BESIDE: Final = "beside"


def find(beginning: str, known: Collection[str]) -> str:
    """Return the bundle of this `name@version`, or the only one whose version begins so.

    Args:
        beginning: Of a version, or a whole `name@version`.
        known: The bundles that are here.

    Raises:
        ModelError: There is none, or more than one.
    """
    if beginning in known:
        return beginning
    found = [one for one in known if one.partition("@")[2].startswith(beginning)] if beginning else []
    if len(found) != 1:
        what = "more than one model fits" if found else "the registry has no model"
        raise ModelError(f"{what} {beginning!r}; `weir models list` shows them")
    return found[0]


class BundleFolder:
    """Bundles. Whatever changes it holds the registry's lock.

    Args:
        root: Folder of the registry.
    """

    def __init__(self, root: Path) -> None:
        self._root = root / _BUNDLES
        self._beside = root / _BESIDE

    def make(self) -> None:
        """Make the folder."""
        self._root.mkdir(parents=True, exist_ok=True)

    def path(self, reference: str) -> Path:
        """Return the folder of a bundle."""
        return self._root / reference

    def beside(self, reference: str) -> Folder:
        """Return what is known about a bundle but not in its digest."""
        return Folder(self._beside / reference)

    def manifest(self, reference: str) -> Manifest | None:
        """Return a bundle's manifest; None if the bundle is not here, or not one that can be read."""
        try:
            return decode_manifest((self.path(reference) / MANIFEST).read_bytes())
        except (OSError, BundleRejected):
            return None

    def names(self) -> list[str]:
        """Return the bundles, in the order of the alphabet."""
        return sorted(path.name for path in self._root.iterdir() if not path.name.startswith(".")) if self._root.exists() else []

    def take(self, bundle: Path, reference: str) -> None:
        """Copy a bundle in; it appears whole or not at all. One that is here already stays as it is."""
        target = self.path(reference)
        if target.exists():
            return
        draft = target.with_name(f".{reference}.{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(bundle, draft)
        draft.rename(target)

    def remove(self, reference: str) -> None:
        """Take a bundle out; it disappears at once.

        Its manifest, signature and card stay beside: which data and policy it stood for can still be told.
        """
        from models.bundle import CARD  # here, because it loads the runtime

        beside = self.beside(reference).path
        beside.mkdir(parents=True, exist_ok=True)
        for name in (MANIFEST, SIGNATURE, CARD):
            if (self.path(reference) / name).exists():
                shutil.copyfile(self.path(reference) / name, beside / name)
        self.path(reference).rename(self._root / f".{reference}.removed")

    def sweep(self) -> None:
        """Delete what was removed, and what crashes left of bundles half copied."""
        for path in self._root.iterdir():
            if path.name.startswith("."):
                shutil.rmtree(path, ignore_errors=True)

"""Small files by name, each read and replaced whole: in a folder, or in a store (`models.store`)."""

import os
from pathlib import Path
from typing import Protocol


class Documents(Protocol):
    """Files by name; a name may begin with folders."""

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: There is none.
            OSError: It cannot be read.
        """
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write or replace a file; a reader sees it whole, as it was before or as it is now.

        Raises:
            OSError: It cannot be written.
        """
        ...

    def names(self, folder: str = "") -> list[str]:
        """Return the names of what lies directly in a folder, in the order of the alphabet; empty if there is no such folder."""
        ...

    def within(self, folder: str) -> "Documents":
        """Return the files of a folder."""
        ...


class Folder:
    """Files of a folder, which is made with the first one.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def read(self, name: str) -> bytes:
        """Return the content of a file; see `Documents`."""
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Write or replace a file; see `Documents`."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            draft.write_bytes(content)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def names(self, folder: str = "") -> list[str]:
        """Return the names of what lies directly in a folder; see `Documents`."""
        try:
            return sorted(path.name for path in (self.path / folder).iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return []

    def within(self, folder: str) -> "Folder":
        """Return the files of a folder; see `Documents`."""
        return Folder(self.path / folder)


def documents_of(root: Path | Documents) -> Documents:
    """Return the files of a registry's root."""
    return Folder(root) if isinstance(root, Path) else root

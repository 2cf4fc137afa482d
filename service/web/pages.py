"""The static files of the dashboard, from the package `web`, wherever it is installed."""

import re
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

INDEX: Final = "index.html"
_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".ico": "image/x-icon",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*\Z")


class Page(NamedTuple):
    """One file."""

    content: bytes
    media_type: str
    etag: str
    """With its quotes."""


class Pages:
    """Reads files of a package's folder; a file changed on disk is a new answer at once."""

    def __init__(self, root: Traversable | None = None) -> None:
        """Prepare.

        Args:
            root: Folder; None: the package `web`.
        """
        self._root = root if root is not None else files("web")

    def find(self, path: str) -> Page | None:
        """Return the file at `path`, None if there is none; an empty path is the index."""
        parts = [part for part in path.split("/") if part] or [INDEX]
        if not all(_NAME.match(part) for part in parts):
            return None
        media_type = _TYPES.get(f".{parts[-1].rpartition('.')[2]}")
        if media_type is None:
            return None
        try:
            content = self._root.joinpath(*parts).read_bytes()
        except (OSError, KeyError):
            return None
        return Page(content, media_type, f'"{sha256(content).hexdigest()[:16]}"')

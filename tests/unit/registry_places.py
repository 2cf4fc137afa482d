"""Where the registry's laws are tested: a folder, and stores, each reached as the service reaches it. Light: processes import it."""

import os
import tempfile
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from fsspec.implementations.local import LocalFileSystem

from models.store import Store, open_store

#: With what `make stores` installs, the real client of S3 and a server, too.
_S3 = ["s3"] if find_spec("s3fs") and find_spec("moto") else []
STORES = ["memory", "exclusive", *_S3]
PLACES = ["folder", *STORES]
SHARED = ["folder", "exclusive", *_S3]
"""Places that processes share."""


class ExclusiveFiles(LocalFileSystem):
    """A store on this disk that keeps what object stores promise: files appear whole, and one of many creators wins.

    Attributes:
        n_requests: Asked so far.
        n_answered: So many more requests are answered, then the store is away; None = it is never away.
    """

    cachable = False

    def __init__(self, drafts: Path) -> None:
        super().__init__(auto_mkdir=True)
        self.n_requests = 0
        self.n_answered: int | None = None
        self._drafts = drafts
        drafts.mkdir(parents=True, exist_ok=True)

    def ask(self) -> None:
        self.n_requests += 1
        if self.n_answered is not None:
            if self.n_answered == 0:
                raise RuntimeError("no route to the store\nwith details")  # as libraries do, an error of its own kind
            self.n_answered -= 1

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        self.ask()
        return super().cat_file(path, start, end, **kwargs)

    def ls(self, path: str, detail: bool = False, **kwargs: Any) -> list[str]:
        self.ask()
        return super().ls(path, detail, **kwargs)

    def rm_file(self, path: str) -> None:
        self.ask()
        super().rm_file(path)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        self.ask()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=self._drafts)
        with os.fdopen(handle, "wb") as file:
            file.write(value)
        if mode == "create":
            try:
                os.link(draft, path)
            finally:
                Path(draft).unlink()
        else:
            Path(draft).replace(path)


def place_of(kind: str, folder: Path) -> Path | Store:
    """The root of a registry; the same one for the same folder, but for the store in memory."""
    if kind == "folder":
        return folder / "registry"
    if kind == "memory":
        return open_store(f"memory://{uuid4().hex}", folder / "cache")
    if kind == "s3":
        if "AWS_ENDPOINT_URL" not in os.environ:
            from tests.s3_server import serve

            serve()
        return open_store(f"s3://weir/{sha256(str(folder).encode()).hexdigest()}", folder / "cache")
    return Store(ExclusiveFiles(folder / "drafts"), str(folder / "store"), folder / "cache")

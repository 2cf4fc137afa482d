"""An object store below a URL: Amazon S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage; reached by fsspec."""

import errno
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from domain.errors import ConfigError, StoreUnavailable

#: Scheme -> the extra that reaches it. All create exclusively (by a precondition that the service itself checks).
_EXTRAS: Final = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "abfs", "abfss": "abfs", "az": "abfs", "memory": ""}
_TIMEOUT_S: Final = 10.0
FILE_TIMEOUT_S: Final = 120.0
_READERS: Final = 16
#: Two writers at the same moment may both be sent away to try again (S3: 409).
_PAUSES_S: Final = (0.1, 0.4, 1.6, 0.0)
_PROBE: Final = "exclusive-creation"


def without_secrets(registry: str) -> str:
    """Return a folder or URL as it may be printed: without password and options.

    >>> without_secrets("s3://me:secret@bucket/models?token=abc")
    's3://me:***@bucket/models'
    """
    scheme, separator, rest = registry.partition("://")
    if not separator:
        return registry
    credentials, at, place = rest.partition("?")[0].rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}://{user}{':***' if colon else ''}{at}{place}"


def open_store(url: str, cache: Path) -> "Store":
    """Return the store of a URL; nothing is connected yet.

    Args:
        url: Such as `s3://bucket/folder`; credentials come from the provider's own environment or files.
        cache: Local folder in which bundles are kept.

    Raises:
        ConfigError: The URL is not one of a store, holds what should not be in it, or its extra is not installed.
    """
    scheme, _, place = url.partition("://")
    if scheme not in _EXTRAS or not place.strip("/"):
        known = ", ".join(f"{name}://" for name in _EXTRAS if name != "memory")
        raise ConfigError(f"model.registry is {without_secrets(url)}: give a folder, or a bucket with a folder by one of {known}")
    if without_secrets(url) != url:
        raise ConfigError(
            f"model.registry is {without_secrets(url)} with a password or options in it: set them in the provider's environment or files"
        )
    try:
        from fsspec.core import url_to_fs

        # A cached listing would hide what others wrote.
        system, root = url_to_fs(url, **({} if scheme == "memory" else {"use_listings_cache": False}))
    except ImportError as error:
        raise ConfigError(
            f"model.registry is {url}, which takes an extra ({error}): "
            f"pip install --require-hashes --no-deps -r requirements/{_EXTRAS[scheme]}.txt"
        ) from error
    except Exception as error:  # each library raises its own
        raise ConfigError(f"model.registry is {url}, which cannot be used: {_reason(error)}") from error
    return Store(system, root, cache / sha256(url.encode()).hexdigest()[:12], shown=url)


class Store:
    """Files of a store by name; see `Documents`. Its methods wait for a network: call them from a thread, never on an event loop.

    Nothing is listed from memory, and whatever a library raises becomes a StoreUnavailable.

    Args:
        system: A filesystem of fsspec whose `pipe_file(mode="create")` is exclusive.
        root: The folder in its own words.
        cache: Local folder, for `models.store_bundles`.
        shown: The URL as it may be printed; empty = `root`.
    """

    def __init__(self, system: Any, root: str, cache: Path, *, shown: str = "") -> None:
        self.cache = cache
        self._system = system
        self._root = root.rstrip("/")
        self._shown = (shown or root).rstrip("/")
        self._is_exclusive = False

    def __str__(self) -> str:
        return self._shown

    def within(self, folder: str) -> "Store":
        """Return the files of a folder; see `Documents`."""
        return Store(self._system, self._path(folder), self.cache, shown=f"{self._shown}/{folder}")

    def read(self, name: str, *, timeout_s: float = _TIMEOUT_S) -> bytes:
        """Return the content of a file; see `Documents`. Give a large one FILE_TIMEOUT_S."""
        with self._asking():
            try:
                # In one piece: s3fs would ask for the size first, and list the folder of what is not there.
                whole = {"max_concurrency": 1} if self._system.async_impl else {}
                return bytes(self._system.cat_file(self._path(name), **whole, **self._patience(timeout_s)))
            except FileNotFoundError:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self}/{name}") from None

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the contents of files, read side by side; errors as `read`."""
        found = list(names)
        with ThreadPoolExecutor(_READERS) as pool:
            return dict(zip(found, pool.map(self.read, found), strict=True))

    def write(self, name: str, content: bytes) -> None:
        """Write or replace a file; see `Documents`."""
        with self._asking(is_writing=True):
            self._system.pipe_file(self._path(name), content, **self._patience(FILE_TIMEOUT_S))

    def create(self, name: str, content: bytes) -> bool:
        """Write a file that must not exist yet; False if there is one, with another content.

        Guarantee: among any number of writers of one name at the same time it is True for one alone. That needs contents
        of which no two are the same: after an answer that was lost, the file itself says whose it is.

        Raises:
            StoreUnavailable: It cannot be found out now.
            ConfigError: The store replaces files that it was asked to create.
        """
        self._require_exclusive()
        problem: Exception = FileNotFoundError(name)
        for pause_s in _PAUSES_S:
            try:
                self._put_new(name, content)
            except Exception as error:  # noqa: BLE001 - "it exists" has many names, and a timeout may come after the work is done
                problem = error
            else:
                return True
            try:
                return self.read(name) == content
            except FileNotFoundError:
                time.sleep(pause_s)
        raise self._unavailable(problem) from problem

    def names(self, folder: str = "") -> list[str]:
        """Return the names of what lies directly in a folder; see `Documents`."""
        path = self._path(folder)
        with self._asking():
            try:
                found = self._system.ls(path, detail=False, **self._patience(_TIMEOUT_S))
            except FileNotFoundError:
                return []
        return sorted(one.rstrip("/").rpartition("/")[2] for one in found if one.rstrip("/") != path)

    def delete(self, folder: str) -> None:
        """Delete a folder with the files directly in it."""
        for name in self.names(folder):
            with self._asking():
                self._system.rm_file(f"{self._path(folder)}/{name}", **self._patience(_TIMEOUT_S))

    def _put_new(self, name: str, content: bytes) -> None:
        self._system.pipe_file(self._path(name), content, mode="create", **self._patience(_TIMEOUT_S))

    def _require_exclusive(self) -> None:
        """Ask once for what a store that ignores preconditions gets wrong: updates would be lost without a word."""
        if self._is_exclusive:
            return
        self.write(_PROBE, b"")
        try:
            self._put_new(_PROBE, b"")
        except FileExistsError:
            self._is_exclusive = True
        except OSError as error:
            # A server that says 412 in its own words.
            if error.errno != errno.EINVAL:
                raise self._unavailable(error) from error
            self._is_exclusive = True
        except Exception as error:
            raise self._unavailable(error) from error
        else:
            raise ConfigError(
                f"the store {self} replaces files that it was asked to create only (no If-None-Match): it cannot hold a registry"
            )

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _patience(self, timeout_s: float) -> dict[str, float]:
        return {"timeout": timeout_s} if self._system.async_impl else {}

    @contextmanager
    def _asking(self, *, is_writing: bool = False) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if is_writing:  # a bucket
                raise self._unavailable(error) from error
            raise
        except Exception as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(f"the registry's store {self} cannot be used now: {_reason(error)}")


def _reason(error: Exception) -> str:
    """Return the first line of what a library says."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = str(error).strip().partition("\n")[0][:200]
    return text or type(error).__name__

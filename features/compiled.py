"""Compile a function of the kernel to machine code, cached for the next process.

The cache lies in a folder named after the digest of all kernel modules: numba alone looks at a function's own file and
would keep code into which another file's older functions were compiled.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final, TypeVar, cast

from numba import config, njit

F = TypeVar("F", bound=Callable[..., Any])

_MODULES: Final = ("clock", "codec", "compiled", "entity_records", "evaluation", "event", "fold", "kernel", "layout", "offline", "spec")


def _cache_folder() -> Path | None:
    """Return the first folder of the kernel's digest that can be written; None = compile in every process."""
    here = Path(__file__).parent
    digest = sha256(b"".join((here / f"{name}.py").read_bytes() for name in _MODULES)).hexdigest()[:12]
    for root in (here / "__pycache__", Path.home() / ".cache" / "weir"):
        folder = root / f"kernel-{digest}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


_FOLDER: Final = _cache_folder()
if _FOLDER is not None:
    config.CACHE_DIR = str(_FOLDER)


def compiled(function: F) -> F:
    """Return `function` compiled; it holds no interpreter lock and never reorders additions (no fastmath).

    It cannot make arrays (that does not compile): without numba's reference counts a view and a call cost nothing, with
    them 25 ns each, which tripled the time of `kernel.apply`. Whoever calls brings the arrays to write to.
    """
    return cast("F", njit(cache=_FOLDER is not None, nogil=True, _nrt=False)(function))


def compiled_parallel(function: F) -> F:
    """Return `function` compiled, its `prange` loops on all cores."""
    return cast("F", njit(cache=_FOLDER is not None, nogil=True, parallel=True, _nrt=False)(function))

"""Compile a function of the kernel to machine code, cached beside its file."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Return `function` compiled; it holds no interpreter lock and never reorders additions (no fastmath)."""
    return cast("F", njit(cache=True, nogil=True)(function))


def compiled_parallel(function: F) -> F:
    """Return `function` compiled, its `prange` loops on all cores."""
    return cast("F", njit(cache=True, nogil=True, parallel=True)(function))

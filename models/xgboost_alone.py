"""XGBoost without its wrappers for scikit-learn: importing those takes a worker 1.5 s and 65 MB, and nothing here uses them.

Write `from models.xgboost_alone import xgboost`. A member of your own that wants `xgboost.XGBClassifier` uses `xgboost.train` instead.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["xgboost"]


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Let a package that is not imported yet look as if it were not installed."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # Python's own mark for "cannot be imported"
    try:
        yield
    finally:
        del sys.modules[package]


with _hidden("sklearn"):
    import xgboost

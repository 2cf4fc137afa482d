"""Optuna says where a search looks next: the tree-structured Parzen estimator. Optuna is not installed with weir."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from domain.errors import ConfigError

if TYPE_CHECKING:
    from models.search import Point, Space


class OptunaProposer:
    """Points by Optuna (Bergstra and others, 2011; Akiba and others, 2019), one after the other: the same seed, the same points."""

    def __init__(self, seed: int, space: "Space") -> None:
        """Make the study.

        Raises:
            ConfigError: Optuna cannot be imported.
        """
        try:
            optuna: Any = import_module("optuna")
        except ImportError as error:
            raise ConfigError(
                f"Optuna cannot be imported ({error}); install it: pip install --require-hashes --no-deps -r requirements/optuna.txt, "
                "or search with --sampler random"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed % 2**32))
        self._space = space
        self._asked: Any = None

    def ask(self) -> "Point":
        """Return the next point."""
        from models.search import is_whole

        self._asked = self._study.ask()
        found: dict[str, float] = {}
        for name, (least, most, is_log) in self._space.items():
            if is_whole(name):
                found[name] = self._asked.suggest_int(name, int(least), int(most), log=is_log)
            else:
                found[name] = self._asked.suggest_float(name, least, most, log=is_log)
        return found

    def tell(self, value: float) -> None:
        """Learn what the point asked last was worth."""
        self._study.tell(self._asked, value)

"""Features that a model may not use, by name or by block."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from domain.errors import ConfigError
from features.spec import FEATURES, N_FEATURES, block

BLOCKS: Final = ("state", "merchant_labels", "device_ip", "place")


def hidden_columns(without: Sequence[str]) -> list[int]:
    """Return the columns that `without` names, in vector order.

    Args:
        without: Names of features, `*` standing for anything, or of blocks.

    Raises:
        ConfigError: A name fits nothing, or no feature would be left.

    >>> hidden_columns(["place"]) == hidden_columns(["*_distance", "*_speed"])
    True
    """
    found: set[int] = set()
    for name in without:
        columns = block(name) if name in BLOCKS else [i for i, feature in enumerate(FEATURES) if fnmatchcase(feature.name, name)]
        if not columns:
            raise ConfigError(f"without: no feature or block is called {name!r}; docs/features.md lists the features, blocks are {BLOCKS}")
        found.update(columns)
    if len(found) == N_FEATURES:
        raise ConfigError("without: no feature is left to learn from; hide fewer")
    return sorted(found)

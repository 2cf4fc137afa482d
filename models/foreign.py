"""What a bundle says of a member that was trained elsewhere."""

from collections.abc import Mapping
from typing import Literal

import msgspec

Kind = Literal["probability", "logit"]


class Foreign(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network from an ONNX file, and how its inputs and output are read."""

    sha256: str
    """Of the file."""
    inputs: Mapping[str, tuple[str, ...]]
    """Features of each input, in the order of its columns."""
    output: str
    kind: Kind
    """What the output is."""
    missing: float
    """What stands for a missing value."""


class ForeignMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person says of a file: each entry may be left out where the file itself tells."""

    inputs: Mapping[str, tuple[str, ...]] = {}
    output: str | None = None
    kind: Kind | None = None
    missing: float = 0.0

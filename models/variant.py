"""What a bundle says of a compiled variant of its model."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from domain.decision import Tier
from models.calibration import Platt
from models.parity import Parity
from models.policy import Policy

Name = Literal["pruned", "int8-leaf"]

#: Those that can stand in for the full graph.
VARIANTS: Final[tuple[Name, ...]] = ("pruned", "int8-leaf")


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One variant: a function of data, settings and seeds, as all of a manifest. How fast it is depends on the machine."""

    n_bytes: int
    """Of its graph."""
    n_bytes_compressed: int
    """By zlib: what travels and is kept."""
    metrics: Mapping[str, float | None]
    """On the calibration slice, by members fitted on the days before it."""
    calibration: Mapping[Tier, Platt]
    """Of the tiers that it answers for in place of the full graph; none for the small one, which is a tier itself."""
    policy: Policy
    """The same alert rate as the full graph's, by its own scores."""
    n_rows: int
    """Newest days before T."""
    n_flips: int
    """Of these, the ones decided differently from the full graph, at its thresholds; the small one at those of its tier."""
    parity: Parity


def file_of(variant: str) -> str:
    """Return the name of a variant's file in the bundle."""
    return f"{variant}.onnx"

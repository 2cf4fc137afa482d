"""What a bundle says about itself: everything that is a function of data, settings and seeds, and nothing else."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

import msgspec

from domain.decision import Tier
from domain.errors import BundleRejected
from models.calibration import Platt
from models.foreign import Foreign
from models.options import TrainingOptions
from models.parity import Parity
from models.policy import Policy
from models.variant import Variant

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
_VERSION_DIGITS: Final = 12


class TrainingWindow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which rows trained, all times in ms since the epoch; event times in `[from_ms, to_ms - maturity_ms)`."""

    from_ms: int
    to_ms: int
    """T: labels at or after it were not used."""
    maturity_ms: int
    calibration_from_ms: int
    n_rows: int
    n_frauds: int
    n_calibration_rows: int
    n_calibration_frauds: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bundle's manifest. Its digest is the bundle's identity, because it holds the digest of every file."""

    format: int
    name: str
    libraries: Mapping[str, str]
    spec: str
    """Fingerprint of the features."""
    base_currency: str
    rates: str
    """Digest of the currency rates."""
    window: TrainingWindow
    options: TrainingOptions
    calibration: Mapping[Tier, Platt]
    member_weights: Mapping[str, float]
    policy: Policy
    """The default policy."""
    metrics: Mapping[str, Mapping[str, float | None]]
    """On the calibration slice, by model: a first look, not a test."""
    parity: Mapping[str, Parity]
    files: Mapping[str, str]
    """SHA-256 of every other file."""
    variants: Mapping[str, Variant] = {}
    """Compiled variants of the same members, each in a file of its own."""
    foreign: Mapping[str, Foreign] = {}
    """Members that were trained elsewhere."""
    graph: str = "full"
    """Which variant `model.onnx` is."""

    def encode(self) -> bytes:
        """Return the manifest's bytes: JSON, keys in a fixed order."""
        return msgspec.json.format(msgspec.json.encode(self, order="deterministic"), indent=1)


def decode_manifest(content: bytes) -> Manifest:
    """Return the manifest.

    Raises:
        BundleRejected: It is of a newer format, or not a manifest.
    """
    try:
        found = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        format_ = msgspec.json.decode(found["format"], type=int)
        if format_ > FORMAT:
            raise BundleRejected(f"the bundle has format {format_}, this process reads up to {FORMAT}; upgrade weir")
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, KeyError, UnicodeDecodeError) as error:
        raise BundleRejected(f"the bundle's manifest cannot be read: {error}; train again") from error


def version_of(manifest: bytes) -> str:
    """Return a bundle's version: the first 12 hex digits of its manifest's SHA-256."""
    return sha256(manifest).hexdigest()[:_VERSION_DIGITS]

"""Members of a bundle that cannot be fitted again: those that were trained elsewhere."""

from io import BytesIO
from pathlib import Path

import joblib

from models.bundle import MEMBERS, verify_bundle
from models.manifest import Manifest
from models.onnx_member import OnnxMember


def foreign_members(folder: Path, key: bytes) -> tuple[Manifest, dict[str, OnnxMember]]:
    """Return a verified bundle's manifest and its foreign members by name.

    Its pickle is opened only after signature and digest were verified, and only if there is such a member.

    Raises:
        BundleRejected: Unsigned, altered, incomplete or too new.
    """
    manifest, _, files = verify_bundle(folder, key, also=[MEMBERS])
    if not manifest.foreign:
        return manifest, {}
    members = joblib.load(BytesIO(files[MEMBERS]))["ensemble"].members
    return manifest, {name: members[name] for name in manifest.foreign}

"""A bundle: a folder with a model and everything needed to serve and to trust it."""

from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from domain.errors import BundleRejected, FeatureSpecMismatch
from models.manifest import MANIFEST, SIGNATURE, Manifest, decode_manifest, version_of
from models.scorer import Scorer
from models.signature import sign, verify

FULL: Final = "model.onnx"
SMALL: Final = "small.onnx"
BOOSTER: Final = "booster.ubj"
SMALL_BOOSTER: Final = "small.ubj"
SERVING: Final = "serving.npz"
"""Category worths for reasons, and golden rows with their probabilities."""
MEMBERS: Final = "members.joblib"
"""Opened by the trainer only: opening a pickle runs it."""
PROFILE: Final = "profile.npz"
CARD: Final = "card.md"
#: What a worker opens; the other files are verified and left alone.
_SERVED: Final = (FULL, SMALL, BOOSTER, SMALL_BOOSTER, SERVING, PROFILE)
FILES: Final = (*_SERVED, MEMBERS, CARD)


def write_bundle(folder: Path, manifest: Manifest, files: Mapping[str, bytes], key: bytes) -> str:
    """Write a signed bundle into the empty `folder`; return its version.

    The manifest's `files` are filled in here. The same manifest and files give the same version.
    """
    missing = set(FILES) - set(files)
    assert not missing, f"a bundle needs {missing}"
    manifest = msgspec.structs.replace(manifest, files={name: sha256(files[name]).hexdigest() for name in sorted(files)})
    content = manifest.encode()
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / MANIFEST).write_bytes(content)
    (folder / SIGNATURE).write_bytes(sign(content, key))
    return version_of(content)


def verify_bundle(folder: Path, key: bytes, *, also: Collection[str] = ()) -> tuple[Manifest, str, dict[str, bytes]]:
    """Return manifest, version and the bytes of the files that serving opens, and of those named in `also`.

    The signature is verified before any other file is opened, and each file is read once: what was verified is what is used.

    Raises:
        BundleRejected: Unsigned, altered, incomplete or too new.
    """
    content = _read(folder, MANIFEST)
    verify(content, _read(folder, SIGNATURE), key)
    manifest = decode_manifest(content)
    if missing := set(FILES) - set(manifest.files):
        raise BundleRejected(f"the bundle {folder.name} lacks {sorted(missing)}; train again")
    served = {}
    for name, digest in manifest.files.items():
        if Path(name).name != name:
            raise BundleRejected(f"the bundle {folder.name} names a file outside itself: {name!r}; restore or train again")
        data = _read(folder, name)
        if sha256(data).hexdigest() != digest:
            raise BundleRejected(f"{name} of the bundle {folder.name} was altered; restore the bundle or train again")
        if name in _SERVED or name in also:
            served[name] = data
    return manifest, version_of(content), served


def load_bundle(folder: Path, key: bytes, spec: str) -> Scorer:
    """Return the scorer of a bundle: signature, digests, fingerprint, golden rows, in that order. Nothing is unpickled.

    Args:
        folder: The bundle.
        key: It must be signed with it.
        spec: Fingerprint of the features that this process computes.

    Raises:
        BundleRejected: Unsigned, altered, incomplete, too new, or its golden rows come out differently here.
        FeatureSpecMismatch: It was trained on other features.
    """
    manifest, version, files = verify_bundle(folder, key)
    if manifest.spec != spec:
        raise FeatureSpecMismatch(trained_on=manifest.spec, built_with=spec)
    scorer = Scorer(
        manifest,
        version,
        full=files[FULL],
        small=files[SMALL],
        booster=files[BOOSTER],
        small_booster=files[SMALL_BOOSTER],
        serving=files[SERVING],
        profile=files[PROFILE],
    )
    scorer.check_golden_rows()
    scorer.check_reasons()
    return scorer


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        hint = "it is not signed" if name == SIGNATURE else "it is incomplete"
        raise BundleRejected(f"the bundle {folder} has no readable {name}: {hint}; restore it or train again") from error

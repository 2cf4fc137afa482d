"""Sign a manifest and tell whether a signature is ours: HMAC-SHA256."""

import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path

from domain.errors import BundleRejected, ConfigError


def sign(manifest: bytes, key: bytes) -> bytes:
    """Return the signature of a manifest's bytes, in hex."""
    return hmac.new(key, manifest, sha256).hexdigest().encode()


def verify(manifest: bytes, signature: bytes, key: bytes) -> None:
    """Accept a manifest.

    Raises:
        BundleRejected: The signature was not made with this key, or the manifest was altered.
    """
    if not hmac.compare_digest(sign(manifest, key), signature.strip()):
        raise BundleRejected(
            "the bundle's signature does not fit its manifest and this key: it was altered, or signed with another key "
            "(see the setting model.signing_key); train again or restore the bundle"
        )


def signing_key(setting: str, registry: Path) -> bytes:
    """Return the key: the setting's, else that of the file beside the registry, made on first use (mode 0600).

    Args:
        setting: `model.signing_key`; empty = use the file.
        registry: Folder of the registry; the file is its name plus `.key`.

    Raises:
        ConfigError: The file is empty, or it cannot be read or made.
    """
    if setting:
        return setting.encode()
    path = registry.with_name(registry.name + ".key")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        key = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"cannot read or make the signing key {path}: {error.strerror}; set model.signing_key instead") from error
    if not key:
        raise ConfigError(f"the signing key {path} is empty; delete it to have a new one made (older bundles are then refused)")
    return key


def _make(path: Path) -> None:
    # Written whole under another name and then linked: two first starts agree on one key.
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(secrets.token_hex(32).encode())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()

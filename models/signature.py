"""Sign bytes and tell whether a signature is ours: HMAC-SHA256 by one shared key, or Ed25519 by a pair of keys.

Which of the two holds is decided by the key that this process has, never by the signature: else anybody who knows a
public key could sign with it as if it were a shared one.
"""

import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from domain.errors import BundleRejected, ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_PRIVATE: Final = b"-----BEGIN PRIVATE KEY-----"
_PUBLIC: Final = b"-----BEGIN PUBLIC KEY-----"
_MARK: Final = b"ed25519:"
_HINT: Final = "make a pair with `openssl genpkey -algorithm ed25519 -out key.pem` and `openssl pkey -in key.pem -pubout -out public.pem`"


def sign(content: bytes, key: bytes) -> bytes:
    """Return the signature of `content`.

    Args:
        content: Manifest or policy.
        key: An Ed25519 private key (PEM, PKCS #8); anything else is the shared key of HMAC-SHA256.

    Raises:
        ConfigError: The key can only verify, or is of another kind.
    """
    if _is_of_a_pair(key):
        return _MARK + _private(key).sign(content).hex().encode()
    return hmac.new(key, content, sha256).hexdigest().encode()


def verify(content: bytes, signature: bytes, key: bytes) -> None:
    """Accept `content`.

    Args:
        content: Manifest or policy.
        signature: Of `sign`.
        key: That signed; of an Ed25519 pair either one.

    Raises:
        BundleRejected: The signature was not made with this key, or the content was altered.
        ConfigError: The key is not one.
    """
    if _is_of_a_pair(key):
        is_ours = _is_signed(content, signature.strip(), key)
    else:
        is_ours = hmac.compare_digest(sign(content, key), signature.strip())
    if not is_ours:
        raise BundleRejected(
            "the bundle's signature does not fit its manifest and this key: it was altered, or signed with another key "
            "(see the settings model.signing_key and model.verify_key); train again or restore the bundle"
        )


def verifying_key(verify_setting: str, signing_setting: str, registry: Path | None) -> bytes:
    """Return the key that verifies: the public key of the setting, else what `signing_key` returns.

    Args:
        verify_setting: `model.verify_key`: an Ed25519 public key as PEM, or the one line of base64 in it; empty = none.
        signing_setting: `model.signing_key`.
        registry: Folder of the registry; None: it is in a store.

    Raises:
        ConfigError: The setting is not an Ed25519 public key, or there is no key at all.
    """
    if not verify_setting:
        return signing_key(signing_setting, registry)
    text = verify_setting.strip().encode()
    key = text if text.startswith(b"-----") else b"\n".join((_PUBLIC, text, b"-----END PUBLIC KEY-----"))
    if not key.startswith(_PUBLIC):
        raise ConfigError(f"model.verify_key is not a public key; {_HINT}")
    _public(key)  # a wrong key is found at the start, not at the first bundle
    return key


def signing_key(setting: str, registry: Path | None) -> bytes:
    """Return the key: the setting's, else that of the file beside the registry, made on first use (mode 0600).

    Args:
        setting: `model.signing_key`; empty = use the file.
        registry: Folder of the registry; the file is its name plus `.key`. None: it is in a store, and a key beside it
            would be in the hands of everybody who may write there.

    Raises:
        ConfigError: The file is empty, it cannot be read or made, or a registry in a store has no key.
    """
    if setting:
        return setting.encode()
    if registry is None:
        raise ConfigError("a registry in a store needs a key of its own: set model.signing_key, or model.verify_key on a worker")
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


def _is_of_a_pair(key: bytes) -> bool:
    if key.startswith(b"-----BEGIN") and not key.startswith((_PRIVATE, _PUBLIC)):
        # As a shared key it would work, and be a surprise.
        raise ConfigError(f"model.signing_key is a PEM file of a kind that cannot be used ({key[10:30].decode(errors='replace')}); {_HINT}")
    return key.startswith((_PRIVATE, _PUBLIC))


def _private(key: bytes) -> "Ed25519PrivateKey":
    if key.startswith(_PUBLIC):
        raise ConfigError("model.signing_key is a public key: it verifies signatures, it makes none; sign where the private key is")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"model.signing_key is not a private key in PEM; {_HINT}") from error
    if not isinstance(found, Ed25519PrivateKey):
        raise ConfigError(f"model.signing_key is a private key, but not of Ed25519; {_HINT}")
    return found


def _public(key: bytes) -> "Ed25519PublicKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if key.startswith(_PRIVATE):
        return _private(key).public_key()
    try:
        found = load_pem_public_key(key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"model.verify_key is not a public key in PEM; {_HINT}") from error
    if not isinstance(found, Ed25519PublicKey):
        raise ConfigError(f"model.verify_key is a public key, but not of Ed25519; {_HINT}")
    return found


def _is_signed(content: bytes, signature: bytes, key: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    public = _public(key)
    if not signature.startswith(_MARK):
        return False
    try:
        public.verify(bytes.fromhex(signature.removeprefix(_MARK).decode()), content)
    except (InvalidSignature, ValueError):
        return False
    return True


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

"""Signatures: whose key decides the kind, the public half only verifies, and a wrong key is told at the start."""

import base64
import hmac
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from domain.errors import BundleRejected, ConfigError
from features.spec import FeatureSettings, fingerprint
from models.bundle import load_bundle, write_bundle
from models.policy import LivePolicy
from models.policy_store import PolicyStore
from models.signature import sign, verify, verifying_key
from service.settings import Settings, load
from service.wiring import signing_key_of, verifying_key_of
from tests.unit.models_synthetic import trained

NOWHERE = Path("nowhere/registry")


def pem(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey, form: PrivateFormat = PrivateFormat.PKCS8) -> tuple[bytes, bytes]:
    """Private and public half."""
    return (
        key.private_bytes(Encoding.PEM, form, NoEncryption()),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


@cache
def pair(seed: int = 1) -> tuple[bytes, bytes]:
    return pem(ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


def settings_of(folder: Path, **environment: str) -> Settings:
    return load(environ={"WEIR_MODEL_REGISTRY": str(folder / "registry")} | environment).settings


def test_a_signature_is_that_of_the_standard():
    """The first vector of RFC 8032, 7.1: an empty message."""
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    private, _ = pem(ed25519.Ed25519PrivateKey.from_private_bytes(secret))

    assert sign(b"", private) == (
        b"ed25519:e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        b"5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )


def test_both_halves_verify_and_another_pair_or_content_does_not():
    private, public = pair()
    signature = sign(b"content", private)

    verify(b"content", signature + b"\n", public)
    verify(b"content", signature, private)
    for content, key in ((b"c0ntent", public), (b"content", pair(2)[1])):
        with pytest.raises(BundleRejected, match="does not fit"):
            verify(content, signature, key)


def test_who_knows_the_public_key_cannot_sign_with_it():
    _, public = pair()
    as_shared_key = hmac.new(public, b"content", sha256).hexdigest().encode()

    with pytest.raises(BundleRejected, match="does not fit"):
        verify(b"content", as_shared_key, public)
    with pytest.raises(ConfigError, match="public key: it verifies"):
        sign(b"content", public)


def test_the_key_and_not_the_signature_says_which_kind_holds():
    private, public = pair()

    with pytest.raises(BundleRejected, match="does not fit"):
        verify(b"content", sign(b"content", private), b"a shared key")
    with pytest.raises(BundleRejected, match="does not fit"):
        verify(b"content", sign(b"content", b"a shared key"), public)


@pytest.mark.parametrize("signature", [b"", b"ed25519:", b"ed25519:zz", b"ed25519:" + b"00" * 64, b"ed25519:\xff", b"\xff\xfe"])
def test_what_is_no_signature_is_refused_like_a_wrong_one(signature: bytes):
    for key in (pair()[1], b"a shared key"):
        with pytest.raises(BundleRejected, match="does not fit"):
            verify(b"content", signature, key)


def test_the_public_key_may_be_given_as_its_one_line():
    private, public = pair()
    line = public.decode().splitlines()[1]

    for given in (line, f" {line}\n", public.decode(), public.decode().strip()):
        verify(b"content", sign(b"content", private), verifying_key(given, "", NOWHERE))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("a secret", "not a public key"),
        (base64.b64encode(b"x" * 44).decode(), "not a public key"),
        (pair()[0].decode(), "not a public key"),
        (pem(ec.generate_private_key(ec.SECP256R1()))[1].decode(), "not of Ed25519"),
    ],
)
def test_a_wrong_verify_key_is_told_before_any_bundle(given: str, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        verifying_key(given, "", NOWHERE)


def test_another_kind_of_private_key_is_never_taken_for_a_shared_secret():
    curve = ec.generate_private_key(ec.SECP256R1())

    with pytest.raises(ConfigError, match="not of Ed25519"):
        sign(b"content", pem(curve)[0])
    with pytest.raises(ConfigError, match="openssl genpkey"):
        sign(b"content", pem(curve, PrivateFormat.TraditionalOpenSSL)[0])
    with pytest.raises(ConfigError, match="openssl genpkey"):
        verify(b"content", b"", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGb\n")


def test_a_worker_that_has_only_the_public_key_loads_bundles_and_policies(tmp_path: Path):
    private, public = pair()
    files = {name: tmp_path / name for name in ("private.pem", "public.pem")}
    files["private.pem"].write_bytes(private)
    files["public.pem"].write_bytes(public)
    trainer = settings_of(
        tmp_path, WEIR_MODEL_SIGNING_KEY_FILE=str(files["private.pem"]), WEIR_MODEL_VERIFY_KEY_FILE=str(files["public.pem"])
    )
    worker = settings_of(tmp_path, WEIR_MODEL_VERIFY_KEY_FILE=str(files["public.pem"]))
    write_bundle(tmp_path / "bundle", trained().manifest, trained().files, signing_key_of(trainer))
    store = PolicyStore(tmp_path / "registry")
    version = store.write(LivePolicy(), signing_key_of(trainer))

    load_bundle(tmp_path / "bundle", verifying_key_of(worker), fingerprint(FeatureSettings()))
    assert store.read(version, verifying_key_of(worker)) == LivePolicy()
    with pytest.raises(ConfigError, match="verifies models and signs none"):
        signing_key_of(worker)
    assert not (tmp_path / "registry.key").exists()


def test_two_keys_that_are_no_pair_are_refused_where_one_would_sign(tmp_path: Path):
    settings = settings_of(tmp_path, WEIR_MODEL_SIGNING_KEY=pair(1)[0].decode(), WEIR_MODEL_VERIFY_KEY=pair(2)[1].decode())

    with pytest.raises(ConfigError, match="not the public key of"):
        signing_key_of(settings)

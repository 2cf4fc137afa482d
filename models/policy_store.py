"""Live policies of a registry: content-addressed, signed, never changed; which one is in force says the history."""

import re
from pathlib import Path
from typing import Final

import msgspec

from domain.errors import BundleRejected, PolicyRejected, StoreUnavailable
from models.documents import Documents, documents_of
from models.policy import LivePolicy
from models.signature import sign, verify

_POLICIES: Final = "policies"
_VERSION: Final = re.compile(r"[0-9a-f]{8}\Z")


def decode_policy(content: bytes) -> LivePolicy:
    """Return a policy from JSON.

    Raises:
        PolicyRejected: It is not one; the sentence says where and why.
    """
    try:
        return msgspec.json.decode(content, type=LivePolicy)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PolicyRejected(f"the policy cannot be used: {error}") from error


class PolicyStore:
    """Policies by version.

    Args:
        root: Folder or store of the registry.
    """

    def __init__(self, root: Path | Documents) -> None:
        self._documents = documents_of(root).within(_POLICIES)

    def write(self, policy: LivePolicy, key: bytes) -> str:
        """Keep a signed policy; return its version. Setting it live is the registry's: `Registry.set_policy`.

        Args:
            policy: The policy.
            key: That signs; see `models.signature`.
        """
        content = policy.encode()
        # The signature first: a reader that finds the policy finds its signature.
        self._documents.write(f"{policy.version}.sig", sign(content, key))
        self._documents.write(f"{policy.version}.json", content)
        return policy.version

    def read(self, version: str, key: bytes) -> LivePolicy | None:
        """Return a policy, verified; None for the empty version: each bundle's own policy is in force.

        Args:
            version: See `State.policy`.
            key: That verifies; see `models.signature`.

        Raises:
            PolicyRejected: It is not here, unsigned, altered, or not a policy. The one in force should stay.
            StoreUnavailable: The store cannot be used now; this says nothing about the policy.
        """
        if not version:
            return None
        if not _VERSION.match(version):
            raise PolicyRejected(f"{version!r} is not a version of a policy; `weir policy show` names the one in force")
        try:
            content, signature = (self._documents.read(f"{version}.{kind}") for kind in ("json", "sig"))
        except StoreUnavailable:
            raise
        except OSError as error:
            raise PolicyRejected(f"the policy {version} cannot be read ({error.strerror}): restore it, or set one again") from error
        try:
            verify(content, signature, key)
        except BundleRejected as error:
            raise PolicyRejected(f"the policy {version} was altered, or signed with another key; set it again") from error
        policy = decode_policy(content)
        if policy.version != version:
            raise PolicyRejected(f"the file of the policy {version} holds the policy {policy.version}; restore it, or set one again")
        return policy

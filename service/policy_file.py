"""A live policy as people write it: TOML or JSON, with an alias for the model."""

import tomllib
from pathlib import Path

import msgspec

from domain.errors import PolicyRejected
from models.policy import LivePolicy
from models.policy_store import decode_policy
from models.registry import Registry


def read_policy(path: Path, registry: Registry) -> LivePolicy:
    """Return the policy that a file describes, checked against the model that its thresholds are for.

    Args:
        path: TOML (`*.toml`), else JSON: the fields of `models.policy.LivePolicy`. `model` may be an alias, and is the
            champion if there are thresholds and no model.
        registry: To find the model.

    Raises:
        PolicyRejected: It cannot be read, is not a policy, or has thresholds for a tier that the model does not answer for.
        ModelError: There is no such model.
    """
    try:
        content = path.read_bytes()
        tree = tomllib.loads(content.decode()) if path.suffix == ".toml" else msgspec.json.decode(content)
    except OSError as error:
        raise PolicyRejected(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PolicyRejected(f"{path} is not {'TOML' if path.suffix == '.toml' else 'JSON'}: {error}") from error
    if isinstance(tree, dict) and tree.get("thresholds"):
        tree["model"] = registry.reference(str(tree.get("model") or "champion"))
    policy = decode_policy(msgspec.json.encode(tree, enc_hook=str))
    _check_tiers(policy, registry)
    return policy


def _check_tiers(policy: LivePolicy, registry: Registry) -> None:
    if not policy.thresholds:
        return
    known = next(entry.manifest.policy.thresholds for entry in registry.entries() if entry.reference == policy.model)
    if unknown := sorted(set(policy.thresholds) - set(known)):
        raise PolicyRejected(f"{policy.model} does not answer for the tier {unknown[0]}; give thresholds for {', '.join(sorted(known))}")

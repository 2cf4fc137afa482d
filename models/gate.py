"""The gate: may a model become champion? A verdict with its reasons, kept beside the bundle."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, Self

import msgspec

from domain.errors import ModelError, StoreUnavailable
from models.documents import Documents

VERDICT: Final = "verdict.json"

Outcome = Literal["passed", "refused", "not assessed"]
Figure = float | int | str | None


class Check(msgspec.Struct, frozen=True):
    """One question and its answer."""

    name: str
    outcome: Outcome
    """`not assessed`: the history or the registry does not allow an answer; it refuses nothing."""
    sentence: str
    """What was found, and of a refusal what was wanted."""
    figures: Mapping[str, Figure] = {}


class Verdict(msgspec.Struct, frozen=True):
    """What the gate says of a model."""

    model: str
    """`name@version`."""
    champion: str
    """`name@version` that it was compared with; empty = there was none, or it is the champion itself."""
    outcome: Literal["passed", "refused"]
    """Refused if one check refuses."""
    made_ms: int
    """Wall clock."""
    history: str
    """What it was judged on."""
    checks: tuple[Check, ...]

    @classmethod
    def of(cls, model: str, champion: str, checks: Iterable[Check], *, made_ms: int, history: str) -> Self:
        """Return the verdict that follows from checks."""
        found = tuple(checks)
        is_refused = any(check.outcome == "refused" for check in found)
        return cls(model, champion, "refused" if is_refused else "passed", made_ms, history, found)

    @property
    def reasons(self) -> list[str]:
        """Return what refuses the model, a sentence each; empty = passed."""
        return [f"{check.name}: {check.sentence}" for check in self.checks if check.outcome == "refused"]

    @property
    def sentence(self) -> str:
        """Return the verdict in one sentence.

        >>> Verdict.of("weir@1", "", [Check("parity", "passed", "equal")], made_ms=0, history="h").sentence
        'the gate passes weir@1: 1 check passed'
        """
        if self.reasons:
            return f"the gate refuses {self.model}: " + "; ".join(self.reasons)
        counts = [sum(check.outcome == outcome for check in self.checks) for outcome in ("passed", "not assessed")]
        passed = f"{counts[0]} check{'' if counts[0] == 1 else 's'} passed"
        return f"the gate passes {self.model}: {passed}" + (f", {counts[1]} not assessed" if counts[1] else "")


def write_verdict(beside: Documents, verdict: Verdict) -> None:
    """Write a verdict beside its bundle, replacing an earlier one. It appears whole or not at all.

    Args:
        beside: `Registry.beside` of the model.
        verdict: Of the gate.
    """
    beside.write(VERDICT, msgspec.json.format(msgspec.json.encode(verdict), indent=1))


def read_verdict(beside: Documents) -> Verdict | None:
    """Return the verdict that stands beside a bundle, None if there is none.

    Raises:
        ModelError: It cannot be read.
        StoreUnavailable: The store cannot be used now.
    """
    try:
        return msgspec.json.decode(beside.read(VERDICT), type=Verdict)
    except FileNotFoundError:
        return None
    except StoreUnavailable:
        raise
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(f"the verdict {beside}/{VERDICT} cannot be read: {error}; let the gate judge again: weir models gate") from error

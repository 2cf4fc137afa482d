"""What is known of a trial, beside the bundle of its challenger: who looks later sees what was seen."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from domain.errors import StoreUnavailable
from models.documents import Documents
from models.registry_history import Rollout
from monitoring.rollout import ComparedDay, Comparison, Evidence, evidence_of, verdict_sentence
from monitoring.rollout_windows import TrialWindow

TrialOutcome = Literal["running", "promoted", "rolled_back", "inconclusive", "ended"]
_FOLDER: Final = "trials"
_KEPT_WINDOWS: Final = 12

TimeMs = Annotated[int, Meta(description="UTC, milliseconds since the epoch")]


class TrialRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A trial with its evidence."""

    champion: Annotated[str, Meta(description="name@version that it was compared with")]
    model: Annotated[str, Meta(description="name@version of the challenger")]
    mode: Literal["shadow", "canary"]
    percent: Annotated[float, Meta(description="cards that the challenger decides for; 0 in shadow")]
    started_ms: TimeMs
    updated_ms: TimeMs
    ended_ms: TimeMs | None = None
    outcome: Annotated[TrialOutcome, Meta(description="`ended`: by a person, or by another model's promotion")] = "running"
    sentence: Annotated[str, Meta(description="the evidence in words, and what followed from it")] = ""
    evidence: Evidence = evidence_of(())
    days: Annotated[tuple[ComparedDay, ...], Meta(description="matured days of event time, oldest first")] = ()
    windows: Annotated[tuple[TrialWindow, ...], Meta(description="the last five-minute windows, oldest first")] = ()
    n_waiting: Annotated[int, Meta(description="transactions scored by both whose day has not matured")] = 0
    cards: Annotated[tuple[int, ...], Meta(description="hashes of the cards that have counted: each counts once")] = ()

    @property
    def comparison(self) -> Comparison:
        """Return it as what further days are added to."""
        return Comparison(self.days, frozenset(self.cards))

    def seen(self, comparison: Comparison, windows: list[TrialWindow], now_ms: int) -> "TrialRecord":
        """Return it with what was seen since."""
        evidence = comparison.evidence()
        return msgspec.structs.replace(
            self, updated_ms=now_ms, evidence=evidence, days=comparison.days, cards=tuple(sorted(comparison.cards)),
            windows=tuple(windows[-_KEPT_WINDOWS:]), sentence=f"{_begun(verdict_sentence(evidence))}.",
        )  # fmt: skip

    def over(self, outcome: TrialOutcome, sentence: str, now_ms: int) -> "TrialRecord":
        """Return it ended."""
        return msgspec.structs.replace(self, outcome=outcome, sentence=sentence, ended_ms=now_ms, updated_ms=now_ms)


def begun(champion: str, rollout: Rollout, now_ms: int) -> TrialRecord:
    """Return the record of a trial of which nothing was seen yet."""
    return TrialRecord(
        champion=champion, model=rollout.model, mode=rollout.mode, percent=rollout.percent, started_ms=rollout.started_ms,
        updated_ms=now_ms,
    ).seen(Comparison(), [], now_ms)  # fmt: skip


def read_trials(beside: Documents) -> list[TrialRecord]:
    """Return the trials of a model, newest first; what cannot be read is left out.

    Args:
        beside: `Registry.beside` of the model.

    Raises:
        StoreUnavailable: The store cannot be used now.
    """
    found = []
    for name in beside.names(_FOLDER):
        if not name.endswith(".json"):
            continue
        try:
            found.append(msgspec.json.decode(beside.read(f"{_FOLDER}/{name}"), type=TrialRecord))
        except StoreUnavailable:
            raise
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            continue
    return sorted(found, key=lambda record: record.started_ms, reverse=True)


def write_trial(beside: Documents, record: TrialRecord) -> None:
    """Keep a trial; a reader sees it whole, as it was before or as it is now.

    Raises:
        OSError: It cannot be written.
    """
    beside.write(f"{_FOLDER}/{record.started_ms}.json", msgspec.json.format(msgspec.json.encode(record)) + b"\n")


def _begun(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]

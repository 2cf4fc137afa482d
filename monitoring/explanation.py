"""The explanation of one transaction: what arrived, what was answered and why, what became known.

Times are UTC, milliseconds since the epoch. `null` means "not known", never zero; what is not known is said in `missing`.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Sentence = Annotated[str, Meta(description="one readable sentence")]
FoundIn = Literal["archive", "index", "topic"]


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """Probabilities from which on a transaction is reviewed, and declined."""

    review: Annotated[float, Meta(description="share, in [0, 1]")]
    decline: Annotated[float, Meta(description="share, in [0, 1]")]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the transaction stands on Kafka."""

    topic: str
    partition: int
    offset: int
    append_ms: Annotated[int | None, Meta(description="the broker's append time: UTC, milliseconds since the epoch")] = None


class ExplainedFeature(msgspec.Struct, frozen=True, kw_only=True):
    """One input of the score."""

    name: str
    description: Sentence
    value: Annotated[float | None, Meta(description="null: missing")]
    unit: str
    usual_low: Annotated[float | None, Meta(description="19 of 20 known values of the training lie from here ...")]
    usual_high: Annotated[float | None, Meta(description="... to here, both included")]
    contribution: Annotated[float | None, Meta(description="share in the score, in log-odds, of the model's booster")]
    is_unusual: Annotated[bool, Meta(description="outside the usual range, or missing where that is rare")]


class ExplainedLabel(msgspec.Struct, frozen=True, kw_only=True):
    """One statement about the transaction."""

    at_ms: Annotated[int, Meta(description="when it became known: UTC, milliseconds since the epoch")]
    is_fraud: bool
    source: Annotated[str, Meta(description="who said so; empty: not recorded where it was found")]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction explained. Card numbers are masked."""

    transaction_id: str
    found_in: Annotated[FoundIn, Meta(description="where the transaction itself, else its answer, was found")]
    transaction: Annotated[dict[str, object] | None, Meta(description="as it arrived")]
    score: Annotated[dict[str, object] | None, Meta(description="the first answer, with the alert's reasons where it is one")]
    features: Annotated[Sequence[ExplainedFeature], Meta(description="by the size of the contribution, then in vector order")]
    decision_path: Annotated[Sequence[Sentence], Meta(description="how the answer came about, in order")]
    model: Annotated[str | None, Meta(description="name@version")]
    policy: Annotated[str | None, Meta(description="version of the thresholds")]
    thresholds: Annotated[Threshold | None, Meta(description="those of the answer's tier")]
    base_currency: Annotated[str, Meta(description="ISO 4217: what features in minor units are in")]
    source: Source | None
    labels: Annotated[Sequence[ExplainedLabel], Meta(description="oldest first; the last one is in force")]
    missing: Annotated[Sequence[Sentence], Meta(description="what could not be found, and what would have kept it")]

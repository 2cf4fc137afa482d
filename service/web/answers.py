"""What the shapes of the dashboard's JSON, `/api/v1`, share; each view's stand beside it. `docs/openapi.json` is generated from them.

Times are UTC, milliseconds since the epoch. Shares and probabilities are in [0, 1]. Money is in minor units. `null` means
"not known", never zero. Every answer that may have nothing to show carries a sentence that says what would fill it and how.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

State = Literal["well", "attention", "alarm", "empty"]
"""How something is; `empty`: there is nothing to judge yet."""

TimeMs = Annotated[int, Meta(description="UTC, milliseconds since the epoch")]
Share = Annotated[float, Meta(description="share, in [0, 1]")]
PerSecond = Annotated[float, Meta(description="per second of wall-clock time")]
PerMinute = Annotated[float, Meta(description="per minute of wall-clock time")]
Milliseconds = Annotated[float, Meta(description="ms")]
Minor = Annotated[int, Meta(description="money in minor units")]
Sentence = Annotated[str, Meta(description="one readable sentence")]
BaseCurrency = Annotated[str, Meta(description="ISO 4217 code of the currency that features and money are counted in")]
Href = Annotated[str, Meta(description="address of the view that shows more, relative to the dashboard; empty: none")]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What every shape is: frozen, all fields by name."""


class Problem(Answer, frozen=True):
    """The body of every answer whose status is not 200."""

    status_code: int
    sentence: Sentence


class Notice(Answer, frozen=True):
    """One finding in words."""

    state: State
    text: Sentence
    href: Href = ""


class StatusAnswer(Answer, frozen=True):
    """Is it well? The first screen's words, the worst first."""

    at_ms: TimeMs
    state: State
    headline: Sentence
    sentences: Sequence[Notice]
    base_currency: BaseCurrency

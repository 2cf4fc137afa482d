"""What the view Quality answers."""

from typing import Annotated

from msgspec import Meta

from monitoring.quality import QualityReport
from service.web.answers import Answer, BaseCurrency, Sentence, State, TimeMs


class QualityAnswer(Answer, frozen=True):
    """How good the model really is, given that labels come late."""

    at_ms: TimeMs
    has_archive: bool
    state: State
    sentence: Sentence
    advice: Annotated[str, Meta(description="what would fill the view and how; empty: it is filled")]
    currency: BaseCurrency
    currency_digits: Annotated[int, Meta(description="digits after the point: minor units of one major unit are 10 ** this")]
    threshold: Annotated[float | None, Meta(description="the champion's threshold for review (tier full)")]
    report: Annotated[QualityReport | None, Meta(description="null: nothing can be said yet; `advice` says what is missing")]

"""The first words: is it well? One line for each view, and a headline of the worst of them."""

from collections.abc import Sequence

from service.web.answers import Notice, State, StatusAnswer
from service.web.drift_answers import DriftAnswer
from service.web.live_answers import LiveEvent
from service.web.model_answers import ModelsAnswer
from service.web.quality_answers import QualityAnswer
from service.web.states import rank, sorted_notices, worst


def status(
    live: LiveEvent, drift: DriftAnswer | None, quality: QualityAnswer, models: ModelsAnswer | None, *, base_currency: str
) -> StatusAnswer:
    """Return the first screen's words; None: a view that has not been made yet."""
    notices = [Notice(state="well" if live.workers else live.state, text=live.sentence, href="#/live")]
    notices += [Notice(state=n.state, text=n.text, href=n.href or "#/live") for n in live.notices]
    if drift is not None:
        open_incidents = [incident for incident in drift.incidents if incident.ended_ms is None]
        notices += [Notice(state=i.state, text=i.sentence, href=f"#/drift?window={drift.window}") for i in open_incidents]
        if not open_incidents:
            notices.append(Notice(state=drift.state, text=drift.sentence, href=f"#/drift?window={drift.window}"))
        notices += drift.notices
    notices.append(Notice(state=quality.state, text=quality.sentence, href="#/quality"))
    if models is not None:
        notices.append(Notice(state=models.state, text=models.sentence, href="#/models"))
    ranked = sorted_notices(notices)
    state = _state(live, ranked)
    return StatusAnswer(at_ms=live.at_ms, state=state, headline=_headline(state, ranked), sentences=ranked, base_currency=base_currency)


def _state(live: LiveEvent, notices: Sequence[Notice]) -> State:
    """Return the state of the whole: empty only if nothing scores; a view that has nothing to judge yet is no finding."""
    if live.state == "empty":
        return "empty"
    return worst((notice for notice in notices if notice.state != "empty"), otherwise="well")


def _headline(state: State, notices: Sequence[Notice]) -> str:
    """Return the worst finding, and how many there are beside it."""
    if state == "empty":
        return "Nothing is scored yet."
    if state == "well":
        return "All is well."
    n_more = sum(rank(notice.state) <= rank("attention") for notice in notices) - 1
    more = f" And {n_more} more." if n_more else ""
    return _first_sentence(notices[0].text) + more


def _first_sentence(text: str) -> str:
    """Return a text up to its first full stop that ends a sentence.

    >>> _first_sentence("PSI 0.2 is much. Look.")
    'PSI 0.2 is much.'
    """
    return text.partition(". ")[0].rstrip(".") + "."

"""Well, attention, alarm, empty: how findings add up."""

from collections.abc import Iterable
from typing import Final

from service.web.answers import Notice, State

_RANK: Final[dict[State, int]] = {"alarm": 0, "attention": 1, "empty": 2, "well": 3}


def rank(state: State) -> int:
    """Return the place of a state, the worst first."""
    return _RANK[state]


def worst(notices: Iterable[Notice], *, otherwise: State) -> State:
    """Return the worst state among `notices`, `otherwise` if there is none.

    >>> worst([Notice(state="attention", text="a"), Notice(state="alarm", text="b")], otherwise="well")
    'alarm'
    """
    return min((notice.state for notice in notices), key=rank, default=otherwise)


def sorted_notices(notices: Iterable[Notice]) -> list[Notice]:
    """Return notices, the worst first, otherwise in their order."""
    return sorted(notices, key=lambda notice: rank(notice.state))

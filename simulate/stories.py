"""What fraudsters do. Each story is a function that plays many campaigns at once.

Stories are told as fraud happens, not as a model would like it: some are loud (a test, then a big purchase), some
look like the card's own life but for the place or the device, and every sign of theirs also occurs in honest life.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from simulate.genuine import Calendar
from simulate.local_stories import compromised_terminal, merchant_collusion, stolen_card
from simulate.owner_stories import bust_out, gift_cards
from simulate.population import Population
from simulate.remote_stories import account_takeover, card_testing, stolen_number
from simulate.rows import DAY_MS, Ints, Rows, random_stream
from simulate.scene import Acts, Scene


class Story(NamedTuple):
    """One kind of fraud."""

    name: str
    share: float
    """Of all fraudulent transactions; 0 for stories that are told on request only."""
    mean_size: float
    """Transactions per campaign, so that shares come out right."""
    lead_days: int
    """Days before the first simulated day at which campaigns may have begun."""
    play: Callable[[Scene], Acts]


def fraud_rows(story: int, population: Population, calendar: Calendar, genuine: Rows, *, n_rows: float, first_day: int = 0) -> Rows:
    """Return about `n_rows` transactions of one story (its place in STORIES); none before `first_day`."""
    told = STORIES[story]
    random = random_stream(population.seed, "story", told.name)
    # Campaigns under way on the first day keep the rate level; a story that is new has none.
    earliest = first_day or -told.lead_days
    span = (population.n_days - earliest) / (population.n_days - first_day)
    # Chance decides about the last campaign, so that small populations keep the share on average.
    n = int(n_rows / told.mean_size * span + random.random())
    if n == 0:
        return genuine.take(np.zeros(0, dtype=np.int64))
    begin_day = np.sort(random.uniform(earliest, population.n_days, n))
    begin_ms = calendar.start_ms + (begin_day * DAY_MS).astype(np.int64)
    scene = Scene(random, population, calendar, genuine, begin_ms, _victims(random, population, begin_day.astype(np.int64)))
    acts = told.play(scene)
    rows = Rows(
        card=acts.card, time_ms=acts.time_ms, merchant=acts.merchant, amount_minor=acts.amount_minor, channel=acts.channel,
        device=acts.device, ip=acts.ip, story=np.full(len(acts.card), story), campaign=acts.owner,
    )  # fmt: skip
    day = (rows.time_ms - calendar.start_ms) // DAY_MS
    return rows.take((day >= first_day) & (day < population.n_days) & population.alive(rows.card, day))


def _victims(random: np.random.Generator, population: Population, day: Ints) -> Ints:
    card = random.integers(0, len(population.cards), len(day))
    for _ in range(5):
        asleep = ~population.alive(card, np.maximum(day, 0))
        card[asleep] = random.integers(0, len(population.cards), int(asleep.sum()))
    return card


STORIES: Final = (
    Story("card_testing", 0.17, 4.5, 0, card_testing),
    Story("account_takeover", 0.17, 5.0, 1, account_takeover),
    Story("compromised_terminal", 0.20, 35.0, 19, compromised_terminal),
    Story("stolen_card", 0.14, 6.0, 0, stolen_card),
    Story("bust_out", 0.11, 11.5, 3, bust_out),
    Story("merchant_collusion", 0.10, 26.0, 24, merchant_collusion),
    Story("stolen_number", 0.11, 1.6, 1, stolen_number),
    Story("gift_cards", 0.0, 4.0, 0, gift_cards),
)
NAMES: Final = tuple(story.name for story in STORIES)
NEW_STORY: Final = NAMES.index("gift_cards")
"""The story that is told only from the day of a `new_story` drift on."""
EVERYDAY: Final = tuple(place for place, story in enumerate(STORIES) if story.share > 0)

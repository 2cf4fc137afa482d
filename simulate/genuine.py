"""What honest people do: habits, salary days, weekends, holidays abroad, bursts, subscriptions, large purchases."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulate.merchants import CODE, LOCAL, REMOTE, draw_category, draw_time_of_day_ms
from simulate.places import ABROAD, HOME, HOURS_AHEAD, ONLINE, PEOPLE
from simulate.population import Population
from simulate.purchases import ECOM, channel_of, draw_amount_minor, is_remote, own_device_and_ip, round_amount
from simulate.rows import DAY_MS, HOUR_MS, NONE, Flags, Floats, Ints, Rows, expand, random_stream

_CARDS_AT_ONCE: Final = 4000
_WEEKDAY: Final = np.array([0.93, 0.93, 0.96, 1.0, 1.14, 1.16, 0.88])
_MONTH: Final = np.array([0.95, 0.94, 0.98, 1.0, 1.0, 1.0, 1.02, 1.0, 0.98, 1.0, 1.06, 1.16])
_TRIP_MONTH: Final = np.array([0.6, 0.8, 0.8, 1.1, 1.0, 1.3, 1.9, 1.9, 1.1, 1.0, 0.5, 0.9])
_HOLIDAYS: Final = ("01-01", "05-01", "10-03", "12-25", "12-26")


@dataclass(frozen=True, slots=True)
class Calendar:
    """The simulated days; arrays by day."""

    start_ms: int
    """Midnight UTC of the first day."""
    weekday: Ints
    """0 is Monday."""
    day_of_month: Ints
    month: Ints
    """0 is January."""
    is_holiday: Flags

    @property
    def end_ms(self) -> int:
        """The instant after the last day."""
        return self.start_ms + len(self.weekday) * DAY_MS


def build_calendar(start_ms: int, n_days: int) -> Calendar:
    """Return the days from `start_ms` (midnight UTC) on."""
    days = np.datetime64(start_ms // DAY_MS, "D") + np.arange(n_days)
    months = days.astype("datetime64[M]")
    return Calendar(
        start_ms=start_ms,
        weekday=(start_ms // DAY_MS + 3 + np.arange(n_days)) % 7,
        day_of_month=(days - months).astype(np.int64) + 1,
        month=months.astype(np.int64) % 12,
        is_holiday=np.array([str(day)[5:] in _HOLIDAYS for day in days], dtype=np.bool_),
    )


def genuine_rows(population: Population, calendar: Calendar, progress: Callable[[float], None]) -> Rows:
    """Return all honest transactions, unsorted, all within the calendar; `progress` is told the share done."""
    return Rows.concat(_parts(population, calendar, progress))


def _parts(population: Population, calendar: Calendar, progress: Callable[[float], None]) -> Iterator[Rows]:
    n = len(population.cards)
    for first in range(0, n, _CARDS_AT_ONCE):
        random = random_stream(population.seed, "genuine", first)
        cards = np.arange(first, min(n, first + _CARDS_AT_ONCE))
        away = _away(random, population, calendar, cards)
        bought = _purchases(random, population, calendar, cards, away)
        yield bought
        yield _followed(random, population, calendar, bought)
        yield _played(random, population, calendar, bought)
        yield _subscribed(random, population, calendar, cards)
        progress(min(1.0, (first + _CARDS_AT_ONCE) / n))


def _away(random: np.random.Generator, population: Population, calendar: Calendar, cards: Ints) -> Ints:
    """Return shape (n_cards, n_days): the place code of the trip that the card is on, NONE at home."""
    n_days = population.n_days
    away = np.full((len(cards), n_days), NONE, dtype=np.int64)
    chance = population.cards.trips_per_day[cards][:, None] * _TRIP_MONTH[calendar.month][None, :]
    card, day = np.nonzero(random.random(away.shape) < chance)
    n = len(card)
    length = np.where(random.random(n) < 0.45, random.integers(2, 5, n), random.integers(6, 16, n))
    abroad = len(HOME) + random.choice(len(ABROAD), n, p=PEOPLE[len(HOME) :] / PEOPLE[len(HOME) :].sum())
    place = np.where(random.random(n) < 0.62, abroad, random.integers(0, len(HOME), n))
    owner, step = expand(length)
    inside = day[owner] + step < n_days
    away[card[owner][inside], (day[owner] + step)[inside]] = place[owner][inside]
    away[away == population.cards.home[cards][:, None]] = NONE
    return away


def _expected(random: np.random.Generator, population: Population, calendar: Calendar, cards: Ints, away: Ints) -> Floats:
    """Return shape (n_cards, n_days): the expected number of purchases."""
    days = np.arange(population.n_days)
    since_salary = (calendar.day_of_month[None, :] - population.cards.salary_day[cards][:, None]) % 30
    salary = 0.86 + 0.5 * np.exp(-since_salary / 4.0)
    day_factor = _WEEKDAY[calendar.weekday] * _MONTH[calendar.month] * np.where(calendar.is_holiday, 0.45, 1.0)
    # People have lively and quiet days.
    mood = random.gamma(2.5, 1 / 2.5, away.shape)
    alive = population.alive(cards[:, None], days[None, :])
    rate: Floats = population.cards.per_day[cards][:, None] * day_factor[None, :] * salary * mood
    return rate * np.where(away == NONE, 1.0, 1.5) * alive


def _purchases(random: np.random.Generator, population: Population, calendar: Calendar, cards: Ints, away: Ints) -> Rows:
    counts = random.poisson(_expected(random, population, calendar, cards, away))
    place_in_chunk, day = (np.repeat(index, counts.ravel()) for index in np.divmod(np.arange(counts.size), counts.shape[1]))
    card, trip = cards[place_in_chunk], away[place_in_chunk, day]
    n = len(card)
    is_away = trip != NONE
    is_online = random.random(n) < population.cards.online_share[card] * np.where(is_away, 0.5, 1.0)
    explores = (random.random(n) < population.cards.explore_share[card]) | (is_away & ~is_online)
    merchant = np.empty(n, dtype=np.int64)
    merchant[~explores] = population.draw_favourite(random, card[~explores], is_online[~explores])
    is_weekend = calendar.weekday[day] >= 5
    here = np.where(is_away, trip, population.cards.home[card])
    for wants_online, among in ((False, LOCAL), (True, REMOTE)):
        rows = np.flatnonzero(explores & (is_online == wants_online))
        kind = draw_category(random, among, is_weekend[rows], is_away[rows])
        merchant[rows] = population.merchants.draw(random, np.full(len(rows), ONLINE) if wants_online else here[rows], kind)
    time_ms = calendar.start_ms + day * DAY_MS + local_time_of_day_ms(random, population, card, merchant)
    # Now and then somebody buys something large.
    factor = np.where(random.random(n) < 0.006, random.uniform(4, 14, n), 1.0) * np.where(is_away, 1.15, 1.0)
    return dressed(random, population, calendar, card=card, time_ms=time_ms, merchant=merchant, factor=factor, away=trip)


def local_time_of_day_ms(random: np.random.Generator, population: Population, card: Ints, merchant: Ints) -> Ints:
    """Return when in the day (UTC) the person goes to the merchant: its hours there, and the person's own."""
    merchants = population.merchants
    time_ms = draw_time_of_day_ms(random, merchants.category[merchant], population.cards.shift_h[card])
    return (time_ms - HOURS_AHEAD[merchants.place[merchant]] * HOUR_MS) % DAY_MS


def dressed(
    random: np.random.Generator, population: Population, calendar: Calendar,
    *, card: Ints, time_ms: Ints, merchant: Ints, factor: Floats, away: Ints,
) -> Rows:  # fmt: skip
    """Return purchases by the rightful owners, with amount (usual times `factor`), channel, device and ip."""
    amount_minor = draw_amount_minor(random, population, card, merchant, factor)
    channel = channel_of(random, population, merchant, amount_minor)
    day = (time_ms - calendar.start_ms) // DAY_MS
    device, ip = own_device_and_ip(random, population, card=card, day=day, merchant=merchant, channel=channel, away=away)
    nothing = np.full(len(card), NONE)
    return Rows(
        card=card, time_ms=time_ms, merchant=merchant, amount_minor=amount_minor, channel=channel, device=device, ip=ip,
        story=nothing, campaign=nothing,
    )  # fmt: skip


def _followed(random: np.random.Generator, population: Population, calendar: Calendar, bought: Rows) -> Rows:
    """Return second purchases soon after local ones, nearby: a shopping trip."""
    local = np.flatnonzero(~is_remote(population, bought.merchant))
    rows = bought.take(local[random.random(len(local)) < 0.08])
    n = len(rows)
    time_ms = rows.time_ms + ((3 + random.exponential(22, n)) * 60_000).astype(np.int64)
    never = np.zeros(n, dtype=np.bool_)
    here = population.merchants.place[rows.merchant]
    merchant = population.merchants.draw(random, here, draw_category(random, LOCAL, never, never))
    keeps = time_ms < calendar.end_ms
    return dressed(
        random, population, calendar, card=rows.card[keeps], time_ms=time_ms[keeps], merchant=merchant[keeps],
        factor=np.ones(int(keeps.sum())), away=np.full(int(keeps.sum()), NONE),
    )  # fmt: skip


def _played(random: np.random.Generator, population: Population, calendar: Calendar, bought: Rows) -> Rows:
    """Return runs of small digital purchases within minutes: games and apps."""
    digital = population.merchants.category[bought.merchant] == CODE["digital"]
    chance = np.where(population.cards.is_gamer[bought.card], 0.5, 0.03) * digital
    rows = bought.take(random.random(len(bought)) < chance)
    owner, step = expand(random.integers(1, 6, len(rows)))
    rows = rows.take(owner)
    gap_ms = (random.exponential(240_000, len(owner)) + 15_000).astype(np.int64)
    time_ms = rows.time_ms + (step + 1) * gap_ms
    amount = round_amount(random, rows.amount_minor * random.uniform(0.3, 1.2, len(owner)), np.zeros(len(owner), dtype=np.bool_))
    played = Rows(rows.card, time_ms, rows.merchant, amount, rows.channel, rows.device, rows.ip, rows.story, rows.campaign)
    return played.take(time_ms < calendar.end_ms)


def _subscribed(random: np.random.Generator, population: Population, calendar: Calendar, cards: Ints) -> Rows:
    """Return monthly payments that merchants start in the small hours, without device or ip, always the same amount."""
    card = np.repeat(cards, random.poisson(1.3, len(cards)))
    n = len(card)
    merchant = population.merchants.draw(random, np.full(n, ONLINE), np.full(n, CODE["subscription"]))
    amount = draw_amount_minor(random, population, card, merchant, np.ones(n))
    due = random.integers(1, 29, n)
    at_ms = random.integers(1 * HOUR_MS, 5 * HOUR_MS, n)
    which, day = np.nonzero(due[:, None] == calendar.day_of_month[None, :])
    which, day = (column[population.alive(card[which], day)] for column in (which, day))
    nothing = np.full(len(which), NONE)
    time_ms = calendar.start_ms + day * DAY_MS + at_ms[which] + random.integers(0, 600_000, len(which))
    return Rows(
        card=card[which], time_ms=time_ms, merchant=merchant[which], amount_minor=amount[which],
        channel=np.full(len(which), ECOM), device=nothing, ip=nothing, story=nothing, campaign=nothing,
    )  # fmt: skip

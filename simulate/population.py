"""The people: cards with a home, an income and habits, their devices, and the merchants they meet."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulate.merchants import CODE, LOCAL, REMOTE, Merchants, build_merchants, draw_category
from simulate.places import HOME, ONLINE, PEOPLE, neighbour
from simulate.rows import NONE, Flags, Floats, Ints, random_stream

N_LOCAL_FAVOURITES: Final = 10
N_ONLINE_FAVOURITES: Final = 6
_PHONES: Final = 4
_CARDS_PER_MOBILE_IP: Final = 40


@dataclass(frozen=True, slots=True)
class Cards:
    """Arrays by card code."""

    home: Ints
    """Place code."""
    household: Ints
    """Cards of one household share the home's ip and laptop."""
    income: Floats
    """1 is usual."""
    per_day: Floats
    """Expected transactions on an ordinary day."""
    online_share: Floats
    explore_share: Floats
    """Share of purchases at merchants that are not favourites."""
    shift_h: Floats
    """Hours that the person's day is later than most people's."""
    opened_day: Ints
    """Day of the account's opening, from the first simulated day; mostly negative."""
    last_day: Ints
    """Day on which the card falls asleep; after the last simulated day for most."""
    salary_day: Ints
    """Day of the month, 1..28."""
    trips_per_day: Floats
    has_wallet: Flags
    """Pays by phone, so that contactless payments carry the device."""
    has_laptop: Flags
    is_gamer: Flags
    """Buys many small digital things in a row."""
    phone_days: Ints
    """Shape (n, 3): days from which the next phone is used."""
    lease_days: Ints
    """Days after which the home gets another ip."""
    favourites: Ints
    """Shape (n, N_LOCAL_FAVOURITES + N_ONLINE_FAVOURITES): merchant codes, local ones first."""
    favourite_reached: Floats
    """Same shape: cumulated preference, ending with 1 within the local and within the online ones."""

    def __len__(self) -> int:
        return len(self.home)


@dataclass(frozen=True, slots=True)
class Population:
    """Everybody in the simulation; a pure function of its arguments to `build_population`."""

    seed: int
    n_days: int
    cards: Cards
    merchants: Merchants

    def alive(self, card: Ints, day: Ints) -> Flags:
        """Tell where the card is open and awake on the day."""
        is_alive: Flags = (self.cards.opened_day[card] <= day) & (day < self.cards.last_day[card])
        return is_alive

    def phone(self, card: Ints, day: Ints) -> Ints:
        """Return the device code of the card's phone on the day."""
        used = (self.cards.phone_days[card] <= day[:, None]).sum(axis=1)
        code: Ints = card * _PHONES + used
        return code

    def laptop(self, card: Ints) -> Ints:
        """Return the device code of the household's laptop."""
        return len(self.cards) * _PHONES + self.cards.household[card]

    def fraud_device(self, number: Ints) -> Ints:
        """Return the code of the fraudsters' device with this number, apart from everybody's own."""
        return len(self.cards) * (_PHONES + 1) + number

    def draw_favourite(self, random: np.random.Generator, card: Ints, is_online: Flags) -> Ints:
        """Return one of each card's favourite merchants, local or online."""
        draw = random.random((len(card), 1))
        local = (self.cards.favourite_reached[card, :N_LOCAL_FAVOURITES] < draw).sum(axis=1)
        online = (self.cards.favourite_reached[card, N_LOCAL_FAVOURITES:] < draw).sum(axis=1)
        slot = np.where(
            is_online, N_LOCAL_FAVOURITES + np.minimum(online, N_ONLINE_FAVOURITES - 1), np.minimum(local, N_LOCAL_FAVOURITES - 1)
        )
        merchant: Ints = self.cards.favourites[card, slot]
        return merchant


def home_ip(population: Population, card: Ints, day: Ints) -> Ints:
    """Return the ip code of the home on the day; the provider renews it every few days or never."""
    household = population.cards.household[card]
    lease = (day + household % 7) // population.cards.lease_days[card]
    return (household * 64 + lease % 64) * 4


def mobile_ip(population: Population, random: np.random.Generator, n: int) -> Ints:
    """Return ip codes of the mobile network, each shared by many people."""
    return random.integers(0, len(population.cards) // _CARDS_PER_MOBILE_IP + 3, n) * 4 + 1


def visitor_ip(random: np.random.Generator, place: Ints) -> Ints:
    """Return ip codes of hotels and roaming at the place."""
    return (place * 64 + random.integers(0, 40, len(place))) * 4 + 2


def proxy_ip(random: np.random.Generator, n: int, n_proxies: int) -> Ints:
    """Return ip codes of anonymising proxies."""
    return random.integers(0, n_proxies, n) * 4 + 3


def ip_text(code: int) -> str | None:
    """Return the dotted form of an ip code; None for NONE. Distinct for the first 2**24 of each kind.

    >>> ip_text(0), ip_text(5) != ip_text(6), ip_text(NONE)
    ('84.0.0.0', True, None)
    """
    if code == NONE:
        return None
    number, kind = code // 4, code % 4
    scattered = number * 0x9E3779B1 % (1 << 24)
    return f"{(84, 109, 190, 45)[kind]}.{scattered >> 16}.{scattered >> 8 & 255}.{scattered & 255}"


def build_population(*, n_cards: int, n_days: int, seed: int, per_day: float, n_merchants: int | None = None) -> Population:
    """Return the population; `per_day` is the mean number of transactions per card and ordinary day."""
    merchants = build_merchants(random_stream(seed, "merchants"), n_merchants or 1500 + 3 * n_cards // 10)
    return Population(seed, n_days, _build_cards(random_stream(seed, "cards"), merchants, n_cards, n_days, per_day), merchants)


def _build_cards(random: np.random.Generator, merchants: Merchants, n: int, n_days: int, per_day: float) -> Cards:
    is_partner = random.random(n) < 0.3
    is_partner[0] = False
    household = np.cumsum(~is_partner) - 1
    home = random.choice(len(HOME), n, p=PEOPLE[: len(HOME)] / PEOPLE[: len(HOME)].sum())[household]
    is_new = random.random(n) < 0.04
    age_days = random.exponential(1400, n).astype(np.int64) + 2
    sleeps = random.random(n) < 0.03
    lease_days = random.choice(np.array([1, 14, 60, 100_000]), n, p=[0.25, 0.2, 0.25, 0.3])[household]
    favourites, reached = _favourites(random, merchants, home)
    return Cards(
        home=home,
        household=household,
        income=random.lognormal(0.0, 0.4, n),
        per_day=per_day * random.gamma(2.2, 1 / 2.2, n),
        online_share=random.beta(2.0, 5.0, n),
        explore_share=random.beta(2.0, 5.5, n),
        shift_h=random.normal(0.0, 1.1, n) + np.where(random.random(n) < 0.04, 8.0, 0.0),
        opened_day=np.where(is_new, random.integers(0, n_days, n), -age_days),
        last_day=np.where(sleeps, random.integers(0, n_days, n), n_days + 1),
        salary_day=random.choice(np.array([1, 15, 25, 27, 28]), n, p=[0.3, 0.15, 0.15, 0.2, 0.2]),
        trips_per_day=random.gamma(1.2, 1 / 1.2, n) / 75,
        has_wallet=random.random(n) < 0.45,
        has_laptop=random.random(n) < 0.6,
        is_gamer=random.random(n) < 0.03,
        phone_days=np.cumsum(random.exponential(700, (n, _PHONES - 1)), axis=1).astype(np.int64),
        lease_days=lease_days,
        favourites=favourites,
        favourite_reached=reached,
    )


def _favourites(random: np.random.Generator, merchants: Merchants, home: Ints) -> tuple[Ints, Floats]:
    n = len(home)
    local_card = np.repeat(np.arange(n), N_LOCAL_FAVOURITES)
    online_card = np.repeat(np.arange(n), N_ONLINE_FAVOURITES)
    # Commuters have some of their places in the next city.
    commutes = np.repeat(random.random(n) < 0.15, N_LOCAL_FAVOURITES) & (random.random(len(local_card)) < 0.4)
    place = np.where(commutes, neighbour()[home[local_card]], home[local_card])
    never = np.zeros(len(local_card), dtype=np.bool_)
    local = merchants.draw(random, place, draw_category(random, LOCAL, never, never))
    never = never[: len(online_card)]
    kinds = REMOTE[REMOTE != CODE["subscription"]]  # noqa: SIM300 - comparing an array with a number
    online = merchants.draw(random, np.full(len(online_card), ONLINE), draw_category(random, kinds, never, never))
    weights = random.gamma(0.7, 1.0, (n, N_LOCAL_FAVOURITES + N_ONLINE_FAVOURITES)) + 0.02
    parts = (weights[:, :N_LOCAL_FAVOURITES], weights[:, N_LOCAL_FAVOURITES:])
    reached = np.hstack([np.cumsum(part, axis=1) / part.sum(axis=1, keepdims=True) for part in parts])
    return np.hstack([local.reshape(n, -1), online.reshape(n, -1)]), reached

"""What one purchase looks like: its amount, channel, device and ip."""

from typing import Final

import numpy as np

from domain.transaction import CHANNELS
from simulate.merchants import CATEGORIES, CODE, MEDIAN, SPREAD
from simulate.places import ONLINE
from simulate.population import Population, home_ip, mobile_ip, visitor_ip
from simulate.rows import NONE, Flags, Floats, Ints

POS: Final = CHANNELS.index("pos")
ECOM: Final = CHANNELS.index("ecom")
ATM: Final = CHANNELS.index("atm")
CONTACTLESS: Final = CHANNELS.index("contactless")
MOTO: Final = CHANNELS.index("moto")

CONTACTLESS_LIMIT_MINOR: Final = 5_000
_LARGEST_MINOR: Final = 5_000_000
_REACH: Final = np.array([{"local": POS, "cash": ATM, "online": ECOM, "mail": MOTO}[c.reach] for c in CATEGORIES])


def draw_amount_minor(random: np.random.Generator, population: Population, card: Ints, merchant: Ints, factor: Floats) -> Ints:
    """Return amounts that are usual for the merchant and the card's income, times `factor`."""
    merchants = population.merchants
    category = merchants.category[merchant]
    usual = MEDIAN[category] * merchants.price_level[merchant] * np.sqrt(population.cards.income[card])
    amount = usual * np.exp(SPREAD[category] * random.standard_normal(len(card))) * factor
    return round_amount(random, np.round(amount * 100), category == CODE["atm"])


def round_amount(random: np.random.Generator, amount_minor: Floats | Ints, is_cash: Flags) -> Ints:
    """Return prices as people meet them: many end in .99, .50 or .00; cash comes in tens."""
    amount = np.clip(amount_minor, 1, _LARGEST_MINOR).astype(np.int64)
    ending = random.random(len(amount))
    whole = amount // 100 * 100
    amount = np.where((ending < 0.25) & (amount >= 100), whole + 99, amount)
    amount = np.where((ending >= 0.25) & (ending < 0.4) & (amount >= 100), whole, amount)
    amount = np.where((ending >= 0.4) & (ending < 0.46) & (amount >= 100), whole + 50, amount)
    return np.where(is_cash, np.maximum(1_000, (amount + 500) // 1_000 * 1_000), amount)


def channel_of(random: np.random.Generator, population: Population, merchant: Ints, amount_minor: Ints) -> Ints:
    """Return the channel: by the merchant's reach; small local amounts are mostly contactless."""
    channel = _REACH[population.merchants.category[merchant]]
    taps = np.where(amount_minor <= CONTACTLESS_LIMIT_MINOR, 0.78, 0.12)
    return np.where((channel == POS) & (random.random(len(merchant)) < taps), CONTACTLESS, channel)


def own_device_and_ip(
    random: np.random.Generator, population: Population, *, card: Ints, day: Ints, merchant: Ints, channel: Ints, away: Ints
) -> tuple[Ints, Ints]:
    """Return the device and ip codes that the rightful owner's purchases carry.

    `away` is the place code of a trip, NONE at home. Online purchases carry both (some merchants send no device),
    contactless ones the phone if the card is in its wallet, all others neither.
    """
    n = len(card)
    cards, merchants = population.cards, population.merchants
    uses_laptop = cards.has_laptop[card] & (random.random(n) < 0.5) & (away == NONE)
    device = np.where(uses_laptop, population.laptop(card), population.phone(card, day))
    is_mobile = random.random(n) < np.where(uses_laptop, 0.06, 0.45)
    ip = np.where(is_mobile, mobile_ip(population, random, n), home_ip(population, card, day))
    ip = np.where(away == NONE, ip, visitor_ip(random, away))
    is_online = channel == ECOM
    taps_phone = (channel == CONTACTLESS) & cards.has_wallet[card] & (random.random(n) < 0.7)
    shows = (is_online & merchants.sends_device[merchant]) | taps_phone
    phone = np.where(taps_phone, population.phone(card, day), device)
    return np.where(shows, phone, NONE), np.where(is_online, ip, NONE)


def is_remote(population: Population, merchant: Ints) -> Flags:
    """Tell where the merchant has no place: online and mail order."""
    remote: Flags = population.merchants.place[merchant] == ONLINE
    return remote

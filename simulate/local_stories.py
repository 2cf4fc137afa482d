"""Fraud at merchants: a copied or stolen card, and merchants that take part."""

from typing import Final

import numpy as np

from simulate.genuine import local_time_of_day_ms
from simulate.merchants import CODE
from simulate.places import ABROAD, HOME, HOURS_AHEAD
from simulate.purchases import CONTACTLESS, CONTACTLESS_LIMIT_MINOR, MOTO, POS, channel_of
from simulate.rows import DAY_MS, HOUR_MS, NONE, cumulated, expand
from simulate.scene import Acts, Scene, amounts, pick

_MINUTE_MS: Final = 60_000


def compromised_terminal(scene: Scene) -> Acts:
    """For weeks a terminal copies cards: ordinary-looking payments there, some cash far away, amid honest visits."""
    random, n = scene.random, scene.n
    merchants = scene.population.merchants
    kinds = ("grocery", "fuel", "restaurant", "transport", "clothing", "bakery")
    home = random.integers(0, len(HOME), n)
    terminal = merchants.draw(random, home, pick(random, kinds, n))
    days = random.uniform(10, 28, n)
    owner, _ = expand(random.integers(15, 56, n))
    # Copied are the cards that go there; a terminal nobody was seen at copies its city's.
    visited = np.isin(scene.genuine.merchant, terminal)
    order = np.argsort(scene.genuine.merchant[visited], kind="stable")
    guest, seen = scene.genuine.card[visited][order], scene.genuine.merchant[visited][order]
    low, high = np.searchsorted(seen, terminal), np.searchsorted(seen, terminal, side="right")
    place = low[owner] + (random.random(len(owner)) * (high - low)[owner]).astype(np.int64)
    resident = scene.victim[random.integers(0, n, len(owner))]
    card = np.where((high > low)[owner], guest[np.minimum(place, max(len(guest) - 1, 0))] if len(guest) else resident, resident)
    is_cash = random.random(len(owner)) < 0.25
    far = merchants.draw(random, random.integers(0, len(HOME) + len(ABROAD), len(owner)), np.full(len(owner), CODE["atm"]))
    merchant = np.where(is_cash, far, terminal[owner])
    day = (scene.begin_ms[owner] - scene.calendar.start_ms) // DAY_MS + (random.random(len(owner)) * days[owner]).astype(np.int64)
    time_ms = scene.calendar.start_ms + day * DAY_MS + local_time_of_day_ms(random, scene.population, card, merchant)
    amount = amounts(scene, card, merchant, random.lognormal(0.25, 0.4, len(owner)))
    channel = np.where(is_cash, channel_of(random, scene.population, merchant, amount), POS)
    nothing = np.full(len(owner), NONE)
    return Acts(owner, card, np.maximum(time_ms, scene.begin_ms[owner]), merchant, amount, channel, nothing, nothing)


def stolen_card(scene: Scene) -> Acts:
    """The card itself is in other hands for hours: small taps first, then shops and cash, mostly elsewhere."""
    random, n = scene.random, scene.n
    home = scene.population.cards.home[scene.victim]
    where = np.where(random.random(n) < 0.4, home, random.integers(0, len(HOME) + len(ABROAD), n))
    owner, step = expand(random.integers(3, 10, n))
    card = scene.victim[owner]
    kinds = ("grocery", "fuel", "clothing", "electronics", "atm", "bar", "jewellery", "transport", "pharmacy", "bakery")
    merchant = scene.population.merchants.draw(random, where[owner], pick(random, kinds, len(owner)))
    amount = amounts(scene, card, merchant, random.lognormal(0.35, 0.5, len(owner)))
    is_tap = (step < random.integers(0, 4, n)[owner]) & (scene.population.merchants.category[merchant] != CODE["atm"])
    amount = np.where(is_tap, np.minimum(amount, CONTACTLESS_LIMIT_MINOR - random.integers(0, 900, len(owner))), amount)
    channel = np.where(is_tap, CONTACTLESS, channel_of(random, scene.population, merchant, amount))
    gap = np.where(step == 0, 0.0, random.exponential(50 * _MINUTE_MS, len(owner)) + 2 * _MINUTE_MS)
    # Shops are open by day: the first act falls between 8 and 24 o'clock there.
    hour_ms = random.integers(8 * HOUR_MS, 24 * HOUR_MS, n) - HOURS_AHEAD[where] * HOUR_MS
    begin_ms = scene.begin_ms - scene.begin_ms % DAY_MS + hour_ms % DAY_MS
    nothing = np.full(len(owner), NONE)
    return Acts(owner, card, begin_ms[owner] + cumulated(owner, gap).astype(np.int64), merchant, amount, channel, nothing, nothing)


def merchant_collusion(scene: Scene) -> Acts:
    """A small merchant books payments that never were, on a few dozen cards over weeks."""
    random, n = scene.random, scene.n
    merchants = scene.population.merchants
    category = pick(random, ("electronics", "clothing", "restaurant", "hardware", "jewellery", "bar"), n)
    draws = np.stack([merchants.draw(random, random.integers(0, len(HOME), n), category) for _ in range(4)])
    merchant_of = draws[merchants.popularity[draws].argmin(axis=0), np.arange(n)]
    owner, _ = expand(random.integers(12, 41, n))
    pool = random.integers(0, len(scene.population.cards), (n, 24))
    card = pool[owner, random.integers(0, 24, len(owner)) % random.integers(6, 25, n)[owner]]
    merchant = merchant_of[owner]
    day = (scene.begin_ms[owner] - scene.calendar.start_ms) // DAY_MS + (
        random.random(len(owner)) * random.uniform(12, 35, n)[owner]
    ).astype(np.int64)
    time_ms = scene.calendar.start_ms + day * DAY_MS + local_time_of_day_ms(random, scene.population, card, merchant)
    amount = amounts(scene, card, merchant, random.lognormal(0.3, 0.35, len(owner)))
    is_round = random.random(len(owner)) < 0.4
    amount = np.where(is_round, np.maximum(500, amount // 500 * 500), amount)
    channel = np.where(random.random(len(owner)) < 0.35, MOTO, POS)
    nothing = np.full(len(owner), NONE)
    return Acts(owner, card, np.maximum(time_ms, scene.begin_ms[owner]), merchant, amount, channel, nothing, nothing)

"""Fraud in which the rightful owner pays, by intent or because somebody talks him into it."""

from typing import Final

import numpy as np

from simulate.genuine import local_time_of_day_ms
from simulate.merchants import CODE
from simulate.rows import DAY_MS, HOUR_MS, cumulated, expand
from simulate.scene import Acts, Scene, amounts, online_merchant, own_hands, pick

_MINUTE_MS: Final = 60_000


def bust_out(scene: Scene) -> Acts:
    """The owner, often of a young account, spends all there is within days and disappears: own device, own home."""
    random, n = scene.random, scene.n
    opened = scene.population.cards.opened_day
    begin_day = (scene.begin_ms - scene.calendar.start_ms) // DAY_MS
    young = np.flatnonzero((opened > -500) & (opened < np.median(begin_day)))
    is_young = (random.random(n) < 0.75) & (len(young) > 0)
    victim = np.where(is_young, young[random.integers(0, max(len(young), 1), n)] if len(young) else scene.victim, scene.victim)
    sizes = random.integers(5, 19, n)
    owner, step = expand(sizes)
    card = victim[owner]
    is_online = random.random(len(owner)) < 0.5
    online = online_merchant(scene, pick(random, ("online_electronics", "money_transfer", "marketplace", "travel_booking"), len(owner)))
    kinds = ("electronics", "jewellery", "atm", "clothing", "grocery", "hardware")
    local = scene.population.merchants.draw(random, scene.population.cards.home[card], pick(random, kinds, len(owner)))
    merchant = np.where(is_online, online, local)
    day = begin_day[owner] + step * random.integers(2, 7, n)[owner] // sizes[owner]
    time_ms = scene.calendar.start_ms + day * DAY_MS + local_time_of_day_ms(random, scene.population, card, merchant)
    rising = 0.8 + 1.6 * step / sizes[owner]
    amount = amounts(scene, card, merchant, rising * random.lognormal(0.3, 0.5, len(owner)))
    return own_hands(scene, owner=owner, card=card, time_ms=time_ms, merchant=merchant, amount=amount)


def gift_cards(scene: Scene) -> Acts:
    """Somebody on the phone talks the owner into buying gift cards: round amounts, own device, own city, by day."""
    random, n = scene.random, scene.n
    owner, step = expand(random.integers(2, 7, n))
    card = scene.victim[owner]
    is_online = (random.random(n) < 0.4)[owner]
    online = online_merchant(scene, np.full(len(owner), CODE["digital"]))
    shops = pick(random, ("grocery", "pharmacy", "fuel", "electronics"), len(owner))
    local = scene.population.merchants.draw(random, scene.population.cards.home[card], shops)
    merchant = np.where(is_online, online, local)
    amount = random.choice(np.array([5_000, 10_000, 10_000, 15_000, 20_000, 25_000]), len(owner))
    gap = np.where(step == 0, 0.0, random.exponential(25 * _MINUTE_MS, len(owner)) + 3 * _MINUTE_MS)
    # By day, but never before the campaign's own beginning.
    begin_ms = scene.begin_ms - scene.begin_ms % DAY_MS + random.integers(9 * HOUR_MS, 17 * HOUR_MS, n)
    time_ms = begin_ms[owner] + cumulated(owner, gap).astype(np.int64)
    return own_hands(scene, owner=owner, card=card, time_ms=time_ms, merchant=merchant, amount=amount)

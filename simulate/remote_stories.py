"""Fraud by people who never hold the card: everything happens online."""

from typing import Final

import numpy as np

from simulate.merchants import CODE, REMOTE
from simulate.purchases import ECOM, channel_of
from simulate.rows import HOUR_MS, cumulated, expand
from simulate.scene import Acts, Scene, amounts, foreign_hands, online_merchant, pick, spells_ms

_MINUTE_MS: Final = 60_000


def card_testing(scene: Scene) -> Acts:
    """Small online amounts within minutes, then one to three large purchases."""
    random, n = scene.random, scene.n
    n_tests, n_buys = random.integers(1, 6, n), random.choice([1, 2, 3], n, p=[0.6, 0.28, 0.12])
    owner, step = expand(n_tests + n_buys)
    is_test = step < n_tests[owner]
    test_shop = online_merchant(scene, pick(random, ("digital", "digital", "tickets", "marketplace"), n))
    shops = ("online_electronics", "marketplace", "marketplace", "travel_booking", "money_transfer", "tickets")
    merchant = np.where(is_test, test_shop[owner], online_merchant(scene, pick(random, shops, len(owner))))
    waits = np.clip(spells_ms(random, n, 1.5, 1.4), 4 * _MINUTE_MS, 60 * HOUR_MS)
    gap = np.where(is_test, random.exponential(90_000, len(owner)) + 12_000, random.exponential(1_500_000, len(owner)) + 60_000)
    gap += np.where(step == n_tests[owner], waits[owner], 0.0)
    card = scene.victim[owner]
    large = amounts(scene, card, merchant, random.lognormal(0.9, 0.6, len(owner)))
    small = random.integers(20, 600, len(owner))
    device, ip = foreign_hands(scene, owner, merchant, hidden=0.25, proxied=0.5)
    time_ms = scene.begin_ms[owner] + cumulated(owner, gap).astype(np.int64)
    return Acts(owner, card, time_ms, merchant, np.where(is_test, small, large), np.full(len(owner), ECOM), device, ip)


def account_takeover(scene: Scene) -> Acts:
    """Somebody else signs in with a new device and shops for a day or three, partly where the owner does."""
    random, n = scene.random, scene.n
    owner, step = expand(random.integers(2, 9, n))
    card = scene.victim[owner]
    known = random.random(len(owner)) < 0.35
    kinds = ("marketplace", "online_electronics", "travel_booking", "money_transfer", "tickets", "food_delivery", "digital")
    other = online_merchant(scene, pick(random, kinds, len(owner)))
    favourite = scene.population.draw_favourite(random, card, np.ones(len(owner), dtype=np.bool_))
    merchant = np.where(known, favourite, other)
    gap = np.where(step == 0, 0.0, spells_ms(random, len(owner), 4.0, 1.2))
    amount = amounts(scene, card, merchant, random.lognormal(0.45, 0.65, len(owner)))
    device, ip = foreign_hands(scene, owner, merchant, hidden=0.08, proxied=0.4)
    channel = channel_of(random, scene.population, merchant, amount)
    return Acts(owner, card, scene.begin_ms[owner] + cumulated(owner, gap).astype(np.int64), merchant, amount, channel, device, ip)


def stolen_number(scene: Scene) -> Acts:
    """A bought card number is used online once or a few times, for amounts like anybody's."""
    random, n = scene.random, scene.n
    owner, step = expand(random.choice([1, 2, 3], n, p=[0.55, 0.3, 0.15]))
    card = scene.victim[owner]
    kinds = REMOTE[REMOTE != CODE["subscription"]]  # noqa: SIM300 - comparing an array with a number
    merchant = online_merchant(scene, random.choice(kinds, len(owner)))
    gap = np.where(step == 0, 0.0, spells_ms(random, len(owner), 6.0, 1.5))
    amount = amounts(scene, card, merchant, random.lognormal(0.3, 0.6, len(owner)))
    device, ip = foreign_hands(scene, owner, merchant, hidden=0.4, proxied=0.35)
    channel = channel_of(random, scene.population, merchant, amount)
    return Acts(owner, card, scene.begin_ms[owner] + cumulated(owner, gap).astype(np.int64), merchant, amount, channel, device, ip)

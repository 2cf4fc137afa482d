"""What fraud stories are told with: when campaigns begin, whom they hit, and the hands that act."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulate.genuine import Calendar
from simulate.merchants import CODE
from simulate.places import ONLINE
from simulate.population import Population, mobile_ip, proxy_ip
from simulate.purchases import channel_of, draw_amount_minor, own_device_and_ip
from simulate.rows import DAY_MS, HOUR_MS, NONE, Floats, Ints, Rows


@dataclass(frozen=True, slots=True)
class Scene:
    """Where and when campaigns of one story begin."""

    random: np.random.Generator
    population: Population
    calendar: Calendar
    genuine: Rows
    begin_ms: Ints
    """One per campaign: the time of its first act."""
    victim: Ints
    """One card per campaign, open on that day."""

    @property
    def n(self) -> int:
        """Number of campaigns."""
        return len(self.begin_ms)


class Acts(NamedTuple):
    """The transactions of all campaigns; `owner` is the place of the campaign in the scene."""

    owner: Ints
    card: Ints
    time_ms: Ints
    merchant: Ints
    amount_minor: Ints
    channel: Ints
    device: Ints
    ip: Ints


def pick(random: np.random.Generator, names: tuple[str, ...], n: int) -> Ints:
    """Return n category codes, each of `names` equally likely."""
    return random.choice(np.array([CODE[name] for name in names]), n)


def online_merchant(scene: Scene, category: Ints) -> Ints:
    """Return one online merchant for each category code, by popularity."""
    return scene.population.merchants.draw(scene.random, np.full(len(category), ONLINE), category)


def amounts(scene: Scene, card: Ints, merchant: Ints, factor: Floats) -> Ints:
    """Return amounts (minor units) usual for merchant and card, times `factor`."""
    return draw_amount_minor(scene.random, scene.population, card, merchant, factor)


def spells_ms(random: np.random.Generator, n: int, median_h: float, spread: float) -> Floats:
    """Return n lognormal time spans: median in hours, spread of the logarithm."""
    return random.lognormal(np.log(median_h), spread, n) * HOUR_MS


def foreign_hands(scene: Scene, owner: Ints, merchant: Ints, *, hidden: float, proxied: float) -> tuple[Ints, Ints]:
    """Return device and ip of fraudsters buying online: one of each per campaign.

    `hidden` campaigns show no device; `proxied` ones come through proxies, the others through the same mobile
    network as everybody. Every third device serves several campaigns.
    """
    random, n = scene.random, scene.n
    number = np.where(random.random(n) < 0.35, random.integers(0, n // 6 + 1, n), n + np.arange(n))
    story_block = int(random.integers(1, 1 << 20)) * (1 << 20)
    device = np.where(random.random(n) < hidden, NONE, scene.population.fraud_device(story_block + number))
    proxy = proxy_ip(random, n, 60 + n // 3)
    ip = np.where(random.random(n) < proxied, proxy, mobile_ip(scene.population, random, n))
    is_mail = scene.population.merchants.category[merchant] == CODE["mail_order"]
    shows = scene.population.merchants.sends_device[merchant] & ~is_mail
    return np.where(shows, device[owner], NONE), np.where(is_mail, NONE, ip[owner])


def own_hands(scene: Scene, *, owner: Ints, card: Ints, time_ms: Ints, merchant: Ints, amount: Ints) -> Acts:
    """Return acts with the rightful owner's own device and ip, at home."""
    channel = channel_of(scene.random, scene.population, merchant, amount)
    day = (time_ms - scene.calendar.start_ms) // DAY_MS
    device, ip = own_device_and_ip(
        scene.random, scene.population, card=card, day=day, merchant=merchant, channel=channel, away=np.full(len(card), NONE)
    )
    return Acts(owner, card, time_ms, merchant, amount, channel, device, ip)

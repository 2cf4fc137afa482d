"""Merchants: what they sell, where, at what price, and how many go there."""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np

from simulate.places import HOME, LAT, LON, ONLINE, PEOPLE, PLACES
from simulate.rows import HOUR_MS, Flags, Floats, Ints

Reach = Literal["local", "cash", "online", "mail"]


class Category(NamedTuple):
    """A kind of merchant."""

    name: str
    mcc: int
    reach: Reach
    weight: float
    """Share of purchases, relative to the other categories of the same reach (cash counts as local, mail as online)."""
    median: float
    """Major units."""
    spread: float
    """Standard deviation of the amount's logarithm."""
    peaks: tuple[tuple[float, float, float], ...]
    """Busy hours: (hour, spread in hours, weight)."""
    weekend: float = 1.0
    """Factor on the weight on Saturdays and Sundays."""
    travel: float = 1.0
    """Factor on the weight away from home."""


_SHOP = ((11.0, 1.8, 1.0), (17.5, 2.0, 1.4))
_MEALS = ((12.7, 0.9, 1.0), (19.8, 1.5, 1.5))
_EVENING = ((13.0, 3.0, 0.7), (20.5, 2.4, 1.3))

CATEGORIES: Final = (
    Category("grocery", 5411, "local", 30, 27, 0.75, _SHOP, 1.1),
    Category("bakery", 5814, "local", 14, 7, 0.55, ((8.0, 1.3, 1.3), (13.0, 2.0, 1.0)), 1.1, 1.4),
    Category("restaurant", 5812, "local", 12, 33, 0.65, _MEALS, 1.5, 2.5),
    Category("bar", 5813, "local", 4, 22, 0.7, ((22.5, 2.2, 1.0),), 2.2, 1.8),
    Category("fuel", 5541, "local", 7, 57, 0.35, ((7.8, 1.5, 1.0), (17.5, 2.0, 1.2)), 0.9),
    Category("transport", 4111, "local", 8, 11, 0.9, ((8.0, 1.2, 1.3), (17.3, 1.8, 1.0)), 0.7, 1.8),
    Category("clothing", 5651, "local", 5, 56, 0.75, ((15.0, 2.5, 1.0),), 1.7, 1.3),
    Category("pharmacy", 5912, "local", 5, 19, 0.65, _SHOP, 0.6),
    Category("electronics", 5732, "local", 1.6, 130, 1.0, ((16.0, 2.5, 1.0),), 1.4, 0.5),
    Category("hardware", 5200, "local", 3, 48, 0.9, ((11.0, 2.5, 1.0), (16.5, 1.8, 0.7)), 1.5, 0.2),
    Category("jewellery", 5944, "local", 0.4, 210, 0.9, ((15.0, 2.3, 1.0),), 1.5, 1.0),
    Category("hotel", 7011, "local", 0.8, 165, 0.7, ((9.0, 1.6, 1.0), (17.0, 3.0, 0.7)), 1.0, 7.0),
    Category("atm", 6011, "cash", 6, 90, 0.75, ((12.0, 3.0, 1.0), (18.5, 2.5, 1.0)), 1.0, 1.6),
    Category("marketplace", 5311, "online", 40, 33, 0.95, _EVENING, 1.1, 0.5),
    Category("digital", 5816, "online", 18, 9, 0.8, ((21.0, 2.6, 1.0), (15.0, 3.0, 0.4)), 1.2),
    Category("food_delivery", 5815, "online", 14, 26, 0.45, ((19.2, 1.4, 1.0), (12.5, 1.0, 0.4)), 1.4, 0.3),
    Category("online_electronics", 5734, "online", 6, 115, 1.0, _EVENING, 1.0, 0.3),
    Category("travel_booking", 4722, "online", 5, 190, 1.0, _EVENING, 1.1, 0.8),
    Category("tickets", 7922, "online", 5, 62, 0.7, ((10.5, 1.5, 0.8), (20.0, 2.5, 1.0)), 1.0, 0.9),
    Category("subscription", 4899, "online", 1, 12, 0.45, _EVENING),
    Category("money_transfer", 6051, "online", 1.6, 110, 1.1, _EVENING, 0.9, 0.9),
    Category("mail_order", 5964, "mail", 3, 64, 0.7, ((11.0, 2.5, 1.0),), 0.4, 0.1),
)
CODE: Final = {category.name: place for place, category in enumerate(CATEGORIES)}
"""Place of each category in CATEGORIES, by name."""

LOCAL: Final[Ints] = np.array([i for i, c in enumerate(CATEGORIES) if c.reach in ("local", "cash")])
REMOTE: Final[Ints] = np.array([i for i, c in enumerate(CATEGORIES) if c.reach in ("online", "mail")])
MCC: Final[Ints] = np.array([c.mcc for c in CATEGORIES])
MEDIAN: Final[Floats] = np.array([c.median for c in CATEGORIES])
SPREAD: Final[Floats] = np.array([c.spread for c in CATEGORIES])
_WEIGHT: Final[Floats] = np.array([c.weight for c in CATEGORIES])
_WEEKEND: Final[Floats] = np.array([c.weekend for c in CATEGORIES])
_TRAVEL: Final[Floats] = np.array([c.travel for c in CATEGORIES])
_ONLINE_COUNTRIES: Final = (("DE", 0.62), ("IE", 0.1), ("LU", 0.08), ("GB", 0.06), ("US", 0.06), ("CN", 0.04), ("NL", 0.04))
_BINS_PER_HOUR: Final = 4


@dataclass(frozen=True, slots=True)
class Merchants:
    """Arrays by merchant code; merchants of one place and category stand together."""

    place: Ints
    """Place code; ONLINE for those without one."""
    category: Ints
    country: list[str]
    lat: Floats
    """Of the terminal; NaN if it sends none."""
    lon: Floats
    price_level: Floats
    """1 is usual for the category."""
    sends_device: Flags
    """Whether online purchases arrive with the buyer's device."""
    popularity: Floats
    group_start: Ints
    """By place * n_categories + category: code of the first merchant there; the next entry ends it."""
    reached: Floats
    """Cumulated popularity, starting with 0."""

    def __len__(self) -> int:
        return len(self.place)

    def draw(self, random: np.random.Generator, place: Ints, category: Ints) -> Ints:
        """Return one merchant for each (place, category), by popularity."""
        group = place * len(CATEGORIES) + category
        first, behind = self.group_start[group], self.group_start[group + 1]
        aim = self.reached[first] + random.random(len(group)) * (self.reached[behind] - self.reached[first])
        # Rounding can reach the end of the group.
        found: Ints = np.clip(np.searchsorted(self.reached, aim, side="right") - 1, first, behind - 1)
        return found


def build_merchants(random: np.random.Generator, n_merchants: int) -> Merchants:
    """Return about `n_merchants` merchants: at least one of each local category in each place, of each other online."""
    n_online = max(round(0.12 * n_merchants), 3 * len(REMOTE))
    weight = np.where(np.arange(len(PLACES)) < len(HOME), PEOPLE, 0.35 * PEOPLE)
    pairs = weight[:, None] * np.sqrt(_WEIGHT[LOCAL])[None, :]
    local = np.maximum(1, random.poisson((n_merchants - n_online) * pairs / pairs.sum()))
    remote = np.maximum(2, random.poisson(n_online * np.sqrt(_WEIGHT[REMOTE]) / np.sqrt(_WEIGHT[REMOTE]).sum()))
    sizes = np.zeros((ONLINE + 1, len(CATEGORIES)), dtype=np.int64)
    sizes[:ONLINE, LOCAL] = local
    sizes[ONLINE, REMOTE] = remote
    group = np.repeat(np.arange(sizes.size), sizes.ravel())
    place, category = group // len(CATEGORIES), group % len(CATEGORIES)
    n = len(group)
    # A heavy tail: a few merchants see most customers.
    popularity = random.lognormal(0.0, 1.3, n)
    lat = np.append(LAT, np.nan)[place] + random.normal(0, 0.05, n)
    lon = np.append(LON, np.nan)[place] + random.normal(0, 0.08, n)
    lat[random.random(n) < 0.04] = np.nan
    names = [name for name, _ in _ONLINE_COUNTRIES]
    shares = np.array([share for _, share in _ONLINE_COUNTRIES])
    online = random.choice(len(names), n, p=shares / shares.sum())
    country = [names[k] if p == ONLINE else PLACES[p].country for p, k in zip(place.tolist(), online.tolist(), strict=True)]
    return Merchants(
        place=place,
        category=category,
        country=country,
        lat=np.round(lat, 5),
        lon=np.where(np.isnan(lat), np.nan, np.round(lon, 5)),
        price_level=random.lognormal(0.0, 0.3, n),
        sends_device=random.random(n) < 0.85,
        popularity=popularity,
        group_start=np.r_[0, np.cumsum(sizes.ravel())],
        reached=np.r_[0.0, np.cumsum(popularity)],
    )


def draw_category(random: np.random.Generator, among: Ints, is_weekend: Flags, is_away: Flags) -> Ints:
    """Return one of the categories `among` for each row, by weight, weekend and travel."""
    found = np.empty(len(is_weekend), dtype=np.int64)
    for weekend in (False, True):
        for away in (False, True):
            rows = np.flatnonzero((is_weekend == weekend) & (is_away == away))
            weight = _WEIGHT[among] * (_WEEKEND[among] if weekend else 1.0) * (_TRAVEL[among] if away else 1.0)
            found[rows] = random.choice(among, len(rows), p=weight / weight.sum())
    return found


def draw_time_of_day_ms(random: np.random.Generator, category: Ints, shift_h: Floats) -> Ints:
    """Return a local time of day by the category's busy hours, moved by the person's own shift (hours)."""
    n_bins = 24 * _BINS_PER_HOUR
    hour = (np.arange(n_bins) + 0.5) / _BINS_PER_HOUR
    draw = random.random(len(category))
    within = random.random(len(category))
    found = np.empty(len(category))
    for code, kind in enumerate(CATEGORIES):
        rows = np.flatnonzero(category == code)
        density = np.full(n_bins, 0.004)
        for peak, spread, weight in kind.peaks:
            apart = np.minimum(np.abs(hour - peak), 24 - np.abs(hour - peak))
            density += weight / spread * np.exp(-0.5 * (apart / spread) ** 2)
        reached = np.cumsum(density) / density.sum()
        found[rows] = (np.searchsorted(reached, draw[rows]) + within[rows]) / _BINS_PER_HOUR
    return ((found + shift_h) % 24 * HOUR_MS).astype(np.int64)

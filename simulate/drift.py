"""How the simulated world changes from a given day on. Before that day nothing differs, to the byte."""

from dataclasses import replace
from typing import Final, Literal, NamedTuple, get_args

import numpy as np

from domain.errors import ConfigError
from simulate.genuine import Calendar
from simulate.merchants import CODE
from simulate.population import Population
from simulate.purchases import ECOM, is_remote, own_device_and_ip, round_amount
from simulate.rows import DAY_MS, NONE, Rows, random_stream

DriftKind = Literal["new_story", "inflation", "channel_shift", "broken_field"]

INFLATION: Final = 1.25
"""Factor on all amounts."""
SHIFTED_SHARE: Final = 0.4
"""Of honest local purchases: they move online."""
NEW_STORY_SHARE: Final = 0.0015
"""Of all transactions from the day on: frauds of the new story."""
BROKEN_FIELD: Final = "mcc"
"""The field that no longer arrives."""


class Drift(NamedTuple):
    """One change and the day (0 = the first one) from which it holds.

    `new_story`: a fraud that was never seen before; `inflation`: prices rise; `channel_shift`: people buy online what
    they bought in shops; `broken_field`: the merchant category no longer arrives.
    """

    kind: DriftKind
    day: int


def parse_drift(text: str) -> Drift:
    """Return the drift that `KIND@DAY` names.

    >>> parse_drift("inflation@40")
    Drift(kind='inflation', day=40)

    Raises:
        ConfigError: It names no known kind, or no day from 0 on.
    """
    name, _, day = text.partition("@")
    kinds: dict[str, DriftKind] = {kind: kind for kind in get_args(DriftKind)}
    if name not in kinds or not day.isdecimal():
        raise ConfigError(f"drift must be KIND@DAY with KIND one of {', '.join(kinds)}, like inflation@40; found {text!r}")
    return Drift(kinds[name], int(day))


def inflated(rows: Rows, population: Population, calendar: Calendar, day: int) -> Rows:
    """Return the rows with prices risen by INFLATION from the day on."""
    later = rows.time_ms >= calendar.start_ms + day * DAY_MS
    is_cash = population.merchants.category[rows.merchant] == CODE["atm"]
    risen = round_amount(random_stream(population.seed, "inflation"), np.round(rows.amount_minor * INFLATION), is_cash)
    return replace(rows, amount_minor=np.where(later, risen, rows.amount_minor))


def moved_online(rows: Rows, population: Population, calendar: Calendar, day: int) -> Rows:
    """Return the honest rows with SHIFTED_SHARE of the local purchases made online from the day on."""
    random = random_stream(population.seed, "channel_shift")
    later = rows.time_ms >= calendar.start_ms + day * DAY_MS
    moves = np.flatnonzero(later & ~is_remote(population, rows.merchant) & (random.random(len(rows)) < SHIFTED_SHARE))
    card = rows.card[moves]
    merchant = population.draw_favourite(random, card, np.ones(len(moves), dtype=np.bool_))
    channel = np.full(len(moves), ECOM)
    at_day = (rows.time_ms[moves] - calendar.start_ms) // DAY_MS
    at_home = np.full(len(moves), NONE)
    device, ip = own_device_and_ip(random, population, card=card, day=at_day, merchant=merchant, channel=channel, away=at_home)
    changed = {"merchant": merchant, "channel": channel, "device": device, "ip": ip}
    columns = {name: getattr(rows, name).copy() for name in changed}
    for name, values in changed.items():
        columns[name][moves] = values
    return replace(rows, **columns)

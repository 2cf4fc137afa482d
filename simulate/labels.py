"""What the bank gets to know, and when: the difference between truth and labels.

Truth is the story (null = genuine). A label is a report: `is_fraud` True from `label_time_ms` on, by `label_source`.
Frauds that nobody reports stay False without a time, like everything good (good by maturity), and a few honest
purchases are reported by mistake. Labels may become known after the last simulated day.
"""

from typing import Final, NamedTuple

import numpy as np

from domain.label import SOURCES, LabelSource
from simulate.rows import DAY_MS, HOUR_MS, NONE, Flags, Floats, Ints, Rows
from simulate.stories import NAMES

FALSE_REPORT_SHARE: Final = 0.00012
"""Of genuine transactions: forgotten purchases, families, regrets."""
SHORTEST_CHARGEBACK_DAYS: Final = 3.0
LONGEST_CHARGEBACK_DAYS: Final = 45.0

_ANALYST: Final = SOURCES.index("analyst")
_CUSTOMER: Final = SOURCES.index("customer")
_CHARGEBACK: Final = SOURCES.index("chargeback")


class Reporting(NamedTuple):
    """How a story comes to light: shares of its cases (one card in one campaign); the rest is never reported."""

    analyst: float
    customer: float
    chargeback: float


REPORTING: Final[dict[str, Reporting]] = {
    "card_testing": Reporting(0.40, 0.15, 0.40),
    "account_takeover": Reporting(0.30, 0.22, 0.40),
    "compromised_terminal": Reporting(0.22, 0.12, 0.52),
    "stolen_card": Reporting(0.25, 0.50, 0.17),
    "bust_out": Reporting(0.55, 0.0, 0.15),
    "merchant_collusion": Reporting(0.20, 0.08, 0.42),
    "stolen_number": Reporting(0.15, 0.20, 0.50),
    "gift_cards": Reporting(0.08, 0.42, 0.10),
}


class Known(NamedTuple):
    """Columns in row order."""

    is_fraud: Flags
    label_time_ms: Ints
    """NONE where nothing is reported."""
    source: Ints
    """Place in domain.label.SOURCES; NONE where nothing is reported."""


def labels_of(random: np.random.Generator, rows: Rows) -> Known:
    """Return what becomes known about the rows: all genuine, or all of one story.

    A case comes to light as a whole: analysts hours to days after its first act (later acts within hours), customers
    within a week, charge-backs SHORTEST..LONGEST_CHARGEBACK_DAYS after each act.
    """
    story = int(rows.story[0]) if len(rows) else NONE
    if story == NONE:
        return _false_reports(random, rows)
    _, case = np.unique(rows.campaign * (int(rows.card.max()) + 1) + rows.card, return_inverse=True)
    n_cases = int(case.max()) + 1
    begin_ms = np.full(n_cases, np.iinfo(np.int64).max)
    np.minimum.at(begin_ms, case, rows.time_ms)
    share = REPORTING[NAMES[story]]
    draw = random.random(n_cases)
    source = np.select(
        [draw < share.analyst, draw < share.analyst + share.customer, draw < sum(share)], [_ANALYST, _CUSTOMER, _CHARGEBACK], NONE
    )
    delay_ms = _delay_ms(random, source)
    known_ms = begin_ms[case] + delay_ms[case].astype(np.int64)
    soon_ms = rows.time_ms + (random.uniform(0.1, 3.0, len(rows)) * HOUR_MS).astype(np.int64)
    low, high = (rows.time_ms + int(days * DAY_MS) for days in (SHORTEST_CHARGEBACK_DAYS, LONGEST_CHARGEBACK_DAYS))
    by_row = source[case]
    label_time_ms = np.where(by_row == _CHARGEBACK, np.clip(known_ms, low, high), np.maximum(known_ms, soon_ms))
    return Known(by_row != NONE, np.where(by_row == NONE, NONE, label_time_ms), by_row)


def source_name(code: int) -> LabelSource | None:
    """Return the name of a source code; None for NONE."""
    return None if code == NONE else SOURCES[code]


def _false_reports(random: np.random.Generator, rows: Rows) -> Known:
    n = len(rows)
    is_reported = random.random(n) < FALSE_REPORT_SHARE
    source = np.where(random.random(n) < 0.75, _CHARGEBACK, _CUSTOMER)
    delay_ms = _delay_ms(random, source).astype(np.int64)
    return Known(is_reported, np.where(is_reported, rows.time_ms + delay_ms, NONE), np.where(is_reported, source, NONE))


def _delay_ms(random: np.random.Generator, source: Ints) -> Floats:
    n = len(source)
    analyst = np.clip(random.lognormal(np.log(36), 0.8, n), 1, 12 * 24) * HOUR_MS
    customer = np.clip(random.lognormal(np.log(20), 0.9, n), 0.4, 7 * 24) * HOUR_MS
    chargeback = np.clip(random.lognormal(np.log(14), 0.6, n), SHORTEST_CHARGEBACK_DAYS, LONGEST_CHARGEBACK_DAYS) * DAY_MS
    return np.select([source == _ANALYST, source == _CUSTOMER], [analyst, customer], chargeback)

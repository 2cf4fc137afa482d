"""Hours of counters, drawn from known distributions."""

import numpy as np

from monitoring.packed import Counts
from monitoring.profile import N_BINS, Profile, count

NAMES = ("event_log_amount", "card_total_7d", "event_hour_sin", "card_transactions_ever", "event_country")
FIRST = 480_000  # a Tuesday


def profile(seed=0):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(50_000, len(NAMES))).astype(np.float32)
    vectors[:, 4] = 5.0
    vectors[random.random(50_000) < 0.1, 1] = np.nan
    return Profile.of(NAMES, vectors, random.beta(1, 50, 50_000))


def hour(known, n, seed, *, shift=0.0, missing=0.1, alert_rate=0.01, score=50):
    """One hour of independent rows; `shift` in standard deviations, of every feature but the constant one."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n, len(NAMES))) + shift
    vectors[:, 4] = 5.0
    vectors[random.random(n) < missing, 1] = np.nan
    bins = [count(column, edges) for column, edges in zip([*vectors.T, random.beta(1, score, n)], known.edges, strict=True)]
    return Counts(n, int(random.binomial(n, alert_rate)), np.stack(bins))


def hours(known, first, end, n=700, **changes):
    return {at: hour(known, n, at, **changes) for at in range(first, end)}


def nothing(known):
    return Counts(0, 0, np.zeros((len(known.names), N_BINS + 1), np.int64))

"""Is one of two models better? A test that may be looked at after every day, and stopped at any of them.

Each piece of evidence is one for the first or one for the second, as a fair coin if neither is better. The E-value bets
against the fair coin with a uniform prior on the better half: a wealth that is a martingale under "no better", so that it
reaches 1/alpha with probability alpha at most, however often one looks (Ville 1939; Robbins 1970; Ramdas et al. 2023).
"""

import sys
from collections.abc import Iterable
from math import comb
from typing import Final, Literal

import numpy as np

ENOUGH: Final = 20.0
"""E-value that decides: 1 / 0.05."""
MOST: Final = sys.float_info.max
"""What an E-value that no float holds is given as: JSON has no infinity."""
Winner = Literal["first", "second"]


def e_value(n_for: int, n_against: int) -> float:
    """Return the evidence that the coin favours "for"; 1 = none.

    E = 2^(n+1) B(a+1, b+1) P(Beta(a+1, b+1) > 1/2), with a for, b against and n = a + b. As the probability is the one
    that n + 1 fair coins show at most a heads, E = sum_{i <= a} C(n+1, i) / ((n+1) C(n, a)): whole numbers, no rounding.

    >>> [e_value(0, 0), e_value(1, 0), e_value(0, 1)]
    [1.0, 1.5, 0.5]
    """
    n = n_for + n_against
    term, total = 1, 1
    for i in range(n_for):
        term = term * (n + 1 - i) // (i + 1)
        total += term
    try:
        return total / ((n + 1) * comb(n, n_for))
    except OverflowError:
        return MOST


def winner(n_first: int, n_second: int) -> Winner | None:
    """Return for whom there is enough evidence, None as long as there is for neither."""
    if e_value(n_first, n_second) >= ENOUGH:
        return "first"
    return "second" if e_value(n_second, n_first) >= ENOUGH else None


def stopped_at(counts: Iterable[tuple[int, int]]) -> tuple[int, Winner] | None:
    """Return the look, from 1 on, at which a comparison stopped, and for whom; None = it never did.

    Args:
        counts: New evidence for the first and the second model, one pair a look.
    """
    n_first = n_second = 0
    for look, (first, second) in enumerate(counts, start=1):
        n_first, n_second = n_first + first, n_second + second
        found = winner(n_first, n_second)
        if found is not None:
            return look, found
    return None


def simulated_stops(*, n_comparisons: int, n_looks: int, per_look: float, favour: float = 0.5, seed: int) -> list[Winner | None]:
    """Return how as many comparisons end, simulated from counts.

    Args:
        n_comparisons: How many.
        n_looks: After which an undecided one ends.
        per_look: Mean of the Poisson number of new pieces of evidence at a look.
        favour: Probability that a piece favours the first model; 0.5 = neither is better.
        seed: Of the random numbers.
    """
    random = np.random.default_rng(seed)
    found: list[Winner | None] = []
    for _ in range(n_comparisons):
        total = random.poisson(per_look, n_looks)
        first = random.binomial(total, favour)
        stop = stopped_at(zip(first.tolist(), (total - first).tolist(), strict=True))
        found.append(None if stop is None else stop[1])
    return found


def chance_of_stopping(*, n_looks: int, per_look: int) -> float:
    """Return the exact probability that a comparison of equals stops, for whomever: `per_look` pieces at each of `n_looks` looks.

    >>> chance_of_stopping(n_looks=28, per_look=3) < 0.05
    True
    """
    alive, stopped = np.ones(1), 0.0
    coins = np.array([comb(per_look, heads) for heads in range(per_look + 1)], np.float64) / 2.0**per_look
    for look in range(1, n_looks + 1):
        alive = np.convolve(alive, coins)
        n = look * per_look
        is_over = np.array([winner(n_first, n - n_first) is not None for n_first in range(n + 1)])
        stopped += float(alive[is_over].sum())
        alive[is_over] = 0.0
    return stopped

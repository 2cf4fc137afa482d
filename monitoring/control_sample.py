"""A small random sample for review, drawn whatever the answer was: recall that does not depend on what gets reported.

pi = clip(scale sqrt(p), LEAST, MOST): drawing in proportion to the root of the probability spends reviews where frauds are
(Neyman's allocation for a rare binary outcome), and the floor keeps every transaction possible, so that weighting by 1/pi
(Horvitz and Thompson 1952) is unbiased.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

LEAST: Final = 0.0002
MOST: Final = 0.2
FEWEST_FRAUDS: Final = 10
"""Below it a recall would be luck: None."""
_SEED: Final = b"weir control 1"
_Z: Final = 1.959964
_WHOLE: Final = 2.0**64


class Drawn(NamedTuple):
    """Which transactions of a chunk are drawn."""

    mask: NDArray[np.bool_]
    """Shape (n,)."""
    pi: NDArray[np.float64]
    """Shape (n,): each one's probability of being drawn; 0 = there is no sample."""


class Recall(NamedTuple):
    """A share with its 95 % interval."""

    value: float
    low: float
    high: float


def sampled(transaction_ids: Sequence[str], probabilities: NDArray[np.float64], scale: float, *, seed: bytes = _SEED) -> Drawn:
    """Return which transactions are drawn for review, and with which probability.

    Depends on nothing but the arguments: the answer to a transaction that is scored again after a crash is the same.

    Args:
        transaction_ids: As they arrived.
        probabilities: float64 (n,), calibrated, in [0, 1].
        scale: c in c sqrt(p); 0 = no sample.
        seed: At most 64 bytes; another seed draws another sample.

    >>> mask, pi = sampled(["t1", "t2"], np.array([0.04, 1.0]), 0.1)
    >>> pi.round(6).tolist()
    [0.02, 0.1]
    """
    if scale <= 0.0:
        return Drawn(np.zeros(len(transaction_ids), np.bool_), np.zeros(len(transaction_ids)))
    pi = np.clip(scale * np.sqrt(probabilities), LEAST, MOST)
    return Drawn(uniform(transaction_ids, seed) < pi, pi)


def uniform(names: Sequence[str], seed: bytes) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each name: as good as random, and always the same for a name and a seed of at most 64 bytes."""
    digests = b"".join(blake2b(name.encode(), digest_size=8, key=seed).digest() for name in names)
    found: NDArray[np.float64] = np.frombuffer(digests, "<u8") / _WHOLE
    return found


def control_recall(pi: NDArray[np.float64], is_alert: NDArray[np.bool_], is_fraud: NDArray[np.bool_]) -> Recall | None:
    """Return recall by inverse probability weighting; None below FEWEST_FRAUDS drawn frauds.

    The interval is Wilson's with as many frauds as the linearised variance of the ratio is worth (Saerndal, Swensson and
    Wretman 1992, 5.7), so it stays within [0, 1] and does not vanish at the ends.

    Args:
        pi: float64 (n,): the probability of each drawn transaction, above 0.
        is_alert: bool (n,): it was reviewed or declined by the model's decision.
        is_fraud: bool (n,): what the review, or any later label, says.
    """
    weight, caught = 1.0 / pi[is_fraud], is_alert[is_fraud]
    if len(weight) < FEWEST_FRAUDS:
        return None
    total = float(weight.sum())
    value = float(weight[caught].sum()) / total
    variance = float(((1.0 - pi[is_fraud]) * (weight * (caught - value)) ** 2).sum()) / total**2
    n_worth = value * (1.0 - value) / variance if variance > 0.0 else total**2 / float((weight**2).sum())
    low, high = _wilson(value, min(n_worth, float(len(weight))))
    return Recall(value, min(low, value), max(high, value))


def _wilson(share: float, n: float) -> tuple[float, float]:
    centre = share + _Z**2 / (2 * n)
    half = _Z * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))
    whole = 1 + _Z**2 / n
    return float(max(0.0, (centre - half) / whole)), float(min(1.0, (centre + half) / whole))

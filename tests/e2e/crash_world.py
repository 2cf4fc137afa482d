"""What a crash test streams: a simulated history, labels and corrections in time, a few labels ahead of it, a few records twice."""

import json
import random
from collections import defaultdict
from typing import NamedTuple

import polars as pl

from service.history_records import HistoryRecords
from simulate.generate import generate

_HOUR_MS = 3_600_000
Records = list[tuple[bytes, bytes]]


class World(NamedTuple):
    """Transactions in batches, and what goes with each batch."""

    history: pl.DataFrame
    batch_size: int
    early: dict[int, Records]
    """Batch -> labels sent before it (key, value): their transactions come in it or in a later one."""
    due: dict[int, Records]
    """Batch -> labels sent when everything up to it is committed."""
    again: dict[int, Records]
    """Batch -> transactions of it that the producer sends a second time."""

    @property
    def n_batches(self) -> int:
        return -(-len(self.history) // self.batch_size)

    def transactions(self, batch: int) -> Records:
        part = self.history[batch * self.batch_size : (batch + 1) * self.batch_size]
        return list(zip(*HistoryRecords(part).transactions(0, len(part)), strict=True))


def make_world(n_transactions: int, *, seed: int, batch_size: int = 1_000, early_share: float = 0.03, again_share: float = 0.0) -> World:
    """Return a world of so many transactions; 3 % of them get labels, of which some are corrected, or sent too early.

    Args:
        n_transactions: How many; at least 1,000.
        seed: Of everything.
        batch_size: Transactions of a batch.
        early_share: Share of the labels that are sent before their transaction.
        again_share: Share of the transactions that are sent twice.
    """
    n_days = 20 if n_transactions < 50_000 else 80
    history = generate(n_days=n_days, n_cards=n_transactions // n_days * 5 // 4 + 50, seed=seed)
    assert len(history) >= n_transactions, f"{len(history)} transactions; ask for more cards"
    history = history[:n_transactions]
    draw = random.Random(seed)
    early: dict[int, Records] = defaultdict(list)
    due: dict[int, Records] = defaultdict(list)
    rows = history.select("transaction_id", "event_time_ms", "is_fraud").iter_rows()
    last = -(-n_transactions // batch_size) - 1
    for i, (name, event_ms, is_fraud) in enumerate(rows):
        if not is_fraud and draw.random() > 0.03:
            continue
        batch = i // batch_size
        first = _label(name, event_ms + 10 * _HOUR_MS, is_fraud=True)
        if draw.random() < early_share:
            early[max(0, batch - draw.randrange(2))].append(first)
        else:
            due[batch].append(first)
        if draw.random() < 0.4:  # it was not a fraud after all ...
            due[min(batch + 1, last)].append(_label(name, event_ms + 20 * _HOUR_MS, is_fraud=False))
            if draw.random() < 0.3:  # ... or was it?
                due[min(batch + 2, last)].append(_label(name, event_ms + 30 * _HOUR_MS, is_fraud=True))
        elif draw.random() < 0.1:  # older news that come later change nothing
            due[min(batch + 1, last)].append(_label(name, event_ms + 5 * _HOUR_MS, is_fraud=False))
    world = World(history, batch_size, early, due, defaultdict(list))
    if again_share:
        for batch in range(world.n_batches):
            world.again[batch] += [pair for pair in world.transactions(batch) if draw.random() < again_share]
    return world


def _label(name: str, label_ms: int, *, is_fraud: bool) -> tuple[bytes, bytes]:
    value = {"transaction_id": name, "is_fraud": is_fraud, "label_time_ms": label_ms, "source": "analyst"}
    return name.encode(), json.dumps(value).encode()

"""Run the whole scoring path once before the first transaction, so that it does not pay for compilation."""

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from domain.decision import Tier
from domain.transaction import Transaction
from features.batch import batch_of
from features.currency import Rates
from features.memory import MemoryLog
from features.store import FeatureStore
from service.settings import Settings
from service.wiring import keys_of

if TYPE_CHECKING:
    from stream.lineup import Scorer

_N = 100


def warm_up(settings: Settings, rates: Rates, scorer: "Scorer") -> None:
    """Observe, score and explain made-up transactions in memory; nothing is kept or published."""
    asyncio.run(_warm_up(settings, rates, scorer))


async def _warm_up(settings: Settings, rates: Rates, scorer: "Scorer") -> None:
    store = FeatureStore(MemoryLog(), keys_of(settings), settings.features.definition(), rates)
    made_up = [
        Transaction(
            transaction_id=f"t{i}", card_id="c", merchant_id=f"m{i % 7}", device_id="d", ip="i", amount_minor=100 + i,
            currency=rates.base_currency, event_time_ms=1_700_000_000_000 + i * 1000, lat=1.0, lon=1.0,
        )
        for i in range(_N)
    ]  # fmt: skip
    times = [t.time_ms for t in made_up]
    source = np.arange(_N, dtype=np.int64) + (2 << 48)
    for _ in range(2):  # the second time they are redelivered: another branch of the kernel
        batch = batch_of(made_up, source, np.array(times, np.int64), rates)
        observed = await store.observe(batch, [t.transaction_id for t in made_up], times)
    await store.credit(["t1"], [3 << 48], [times[1] + 1], [True])
    probabilities = scorer.score(observed.vectors)
    scorer.decide(probabilities, Tier.FULL)
    scorer.reasons(observed.vectors[:1], budget_ms=1000.0)
    await store.close()

"""Times of single parts: simulator, offline features, feature store in memory, model."""

import time
from typing import Any

import numpy as np

from benchmarks.stage import Stage
from domain.decision import Tier
from features.offline import replay
from service.wiring import load_champion, rates_of
from simulate.generate import generate


def parts(place: Stage) -> dict[str, Any]:
    """Return seconds and microseconds of the parts."""
    settings, rates = place.settings, rates_of(place.settings)
    began = time.perf_counter()
    simulated = generate(n_days=100, n_cards=10_000, seed=1)
    simulate_s = time.perf_counter() - began
    history = place.world.history.head(200_000)
    replay(history.head(1_000), settings.features.definition(), rates)
    began = time.perf_counter()
    vectors = replay(history, settings.features.definition(), rates)
    replay_s = time.perf_counter() - began
    scorer = load_champion(settings)
    found: dict[str, Any] = {
        "simulate_1m_s": round(simulate_s * 1e6 / len(simulated), 1),
        "replay_tx_per_s": round(len(history) / replay_s),
    }
    for tier in (Tier.FULL, Tier.SMALL):
        for n in (1, 256):
            found[f"score_{tier.value}_{n}_us_per_row"] = _score_us(scorer, vectors, tier, n)
    return found


def _score_us(scorer: Any, vectors: Any, tier: Tier, n: int) -> float:
    chunks = [np.ascontiguousarray(vectors[a : a + n]) for a in range(100_000, 100_000 + 200 * n, n)]
    for chunk in chunks[:20]:
        scorer.score(chunk, tier=tier)
    times = []
    for chunk in chunks:
        began = time.perf_counter()
        scorer.score(chunk, tier=tier)
        times.append(time.perf_counter() - began)
    return round(1e6 * float(np.median(times)) / n, 1)


def training(place: Stage) -> dict[str, Any]:
    """Train on 28 days of 10,000 transactions a day, of a history of 65 days; return seconds."""
    from benchmarks.training_run import train_once

    history = generate(n_days=65, n_cards=10_000, seed=2)
    return train_once(history, place.settings)

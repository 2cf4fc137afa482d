"""Fixtures of the end-to-end tests: one trained model for all, one installation for each."""

import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from models.options import Sizes, TrainingOptions
from service.model_training import train_and_register
from service.settings import load
from simulate.generate import START_MS, generate
from tests.e2e.installation import Installation

DAY_MS = 86_400_000
PAST_DAYS = 66


class Trained(NamedTuple):
    """A history and the registry with the model trained on its past."""

    registry: Path
    history: pl.DataFrame
    start_ms: int


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Trained:
    """A small model (the product's members, fewer trees), champion of its registry; made once for all test processes. Leave it as it is."""
    folder = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    start_ms = START_MS + PAST_DAYS * DAY_MS
    with (folder / "trained.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (streamed := folder / "streamed.parquet").exists():
            history = generate(n_days=PAST_DAYS + 14, n_cards=1_500, seed=5, start_ms=START_MS)
            options = TrainingOptions(
                min_calibration_frauds=30, sizes=Sizes(boosting_rounds=60, forest_trees=20, extra_trees=20, small_rounds=30)
            )
            settings = load(environ={"WEIR_MODEL_REGISTRY": str(folder / "registry")}).settings
            train_and_register(history, settings, options=options, to_ms=start_ms)
            history.filter(pl.col("event_time_ms") >= start_ms).write_parquet(streamed)
    return Trained(folder / "registry", pl.read_parquet(streamed), start_ms)


@pytest.fixture
def installation(trained, broker, redis_url, kafka_prefix, tmp_path) -> Iterator[Installation]:
    """Topics of its own on the session's broker, an empty Redis, the trained champion."""
    found = Installation(tmp_path, bootstrap=broker.bootstrap, redis_url=redis_url, prefix=kafka_prefix, registry=trained.registry)
    yield found
    found.close()

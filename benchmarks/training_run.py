"""Time one training."""

import time
from typing import Any

import polars as pl

from models.options import TrainingOptions
from models.training import train
from service.settings import Settings
from service.wiring import rates_of


def train_once(history: pl.DataFrame, settings: Settings) -> dict[str, Any]:
    """Train on a history with the product's sizes; return seconds in all and by stage."""
    began = time.perf_counter()
    trained = train(history, features=settings.features.definition(), rates=rates_of(settings), options=TrainingOptions())
    return {
        "train_rows": trained.manifest.window.n_rows,
        "train_s": round(time.perf_counter() - began, 1),
        "train_stages_s": {name: round(seconds, 1) for name, seconds in trained.seconds.items()},
    }

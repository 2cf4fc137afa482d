"""What a booster's features are worth to it."""

import numpy as np

from features.spec import FEATURES


def gain_shares(booster: bytes) -> dict[str, float]:
    """Return each feature's share of a booster's total gain; they add up to 1, features that no tree asks for have 0.

    Args:
        booster: As in a bundle.
    """
    from models.xgboost_alone import xgboost  # half a second: what only names models does not wait for it

    gains = xgboost.Booster({"nthread": 1}, model_file=bytearray(booster)).get_score(importance_type="total_gain")
    values = np.zeros(len(FEATURES))
    for name, gain in gains.items():
        values[int(name.removeprefix("f"))] = gain
    total = float(values.sum()) or 1.0
    return {feature.name: float(value) / total for feature, value in zip(FEATURES, values, strict=True)}

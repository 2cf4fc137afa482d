"""What features are worth to a booster."""

import pytest

from features.spec import FEATURES
from models.bundle import BOOSTER
from models.gain import gain_shares
from tests.unit.models_synthetic import trained


def test_shares_of_the_gain_name_every_feature_and_add_up_to_one():
    found = gain_shares(trained().files[BOOSTER])

    assert list(found) == [feature.name for feature in FEATURES]
    assert sum(found.values()) == pytest.approx(1)
    assert min(found.values()) >= 0
    assert max(found.values()) > 1 / len(FEATURES)

"""Reasons: a stable vocabulary, readable sentences."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from features.spec import COLUMN, FEATURES, N_FEATURES
from models.reasons import Reasons
from models.vocabulary import CODES, Facts, sentence

GOLDEN = Path(__file__).parents[1] / "golden" / "reason_codes.json"


def vector(**values: float) -> np.ndarray:
    found = np.full(N_FEATURES, np.nan, np.float32)
    for name, value in values.items():
        found[COLUMN[name]] = value
    return found


def said(name: str, **values: float) -> str:
    return sentence(COLUMN[name], Facts(vector(**values), 100, 7)).text


def test_every_feature_has_a_code_and_the_codes_are_those_that_were_published():
    found = {feature.name: code for feature, code in zip(FEATURES, CODES, strict=True)}

    assert found == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("value", [math.nan, 0.0, 1.0, 2.5, 650.0])
def test_every_feature_can_be_said(value: float):
    facts = Facts(np.full(N_FEATURES, value, np.float32), 100, 7)

    for column in range(N_FEATURES):
        text = sentence(column, facts).text
        assert text
        assert "nan" not in text.split()
        assert "None" not in text


def test_sentences_read_as_a_person_would_say_them():
    assert said("card_amount_over_median", card_amount_over_median=14.2) == "spent 14.2 times the card's usual amount"
    assert said("card_since_merchant") == "first time at this merchant in 30 days"
    assert (
        said("merchant_risk_7d", merchant_risk_7d=0.2, merchant_known_frauds_7d=3) == "3 known frauds at this merchant in the last 14 days"
    )
    assert said("card_speed", card_speed=6200, card_distance=1240, card_since_last=720) == (
        "1,240 km from the last place of this card, 12 minutes ago"
    )
    assert said("card_count_1h", card_count_1h=12, card_count_30d=288) == (
        "12 earlier transactions of this card in the last hour (usual: 0.4)"
    )
    assert said("event_country", event_country=26 * 17 + 14) == "merchant in RO, where fraud is more frequent"
    assert said("device_since_card") == "first time on this device in 30 days"


def test_features_that_say_the_same_are_one_reason():
    contributions = np.zeros(N_FEATURES, np.float32)
    contributions[COLUMN["card_amount_over_median"]] = 1.0
    contributions[COLUMN["card_amount_robust_z"]] = 0.5
    contributions[COLUMN["card_count_1h"]] = 0.25

    found = Reasons(100, 7).of(vector(card_amount_over_median=9.0, card_amount_robust_z=4.0, card_count_1h=3), contributions)

    assert [(r.code, r.feature, r.contribution) for r in found] == [
        ("unusual_amount", "card_amount_over_median", 1.5),
        ("card_velocity", "card_count_1h", 0.25),
    ]


def test_only_what_raised_the_score_is_a_reason_and_at_most_five():
    contributions = np.linspace(-1, 1, N_FEATURES).astype(np.float32)

    found = Reasons(100, 7).of(np.ones(N_FEATURES, np.float32), contributions)

    assert len(found) == 5
    assert all(r.contribution > 0 for r in found)
    assert [r.contribution for r in found] == sorted((r.contribution for r in found), reverse=True)


def test_a_missing_value_is_null_in_the_reason():
    contributions = np.zeros(N_FEATURES, np.float32)
    contributions[COLUMN["card_since_merchant"]] = 1.0

    (found,) = Reasons(100, 7).of(vector(), contributions)

    assert (found.code, found.value) == ("new_merchant", None)

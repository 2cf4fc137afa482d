"""The decision index alone tells by what a transaction was answered first."""

import pytest

from domain.decision import Tier
from features.index import Entry, FirstAnswer
from service.explained_index import Indexed
from stream.lineup import Release

ENTRY = Entry(7, 5, 1_000, ("c9", "m9", None, None), FirstAnswer(Tier.FULL, "review", 0, 3, 0.25))


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        (Release("weir@1", "0a0a0a0a").encode(), {"model": "weir@1", "policy": "0a0a0a0a", "variant": "champion"}),
        (
            Release("weir@2", "0b0b0b0b", "challenger", "night-limit").encode(),
            {"model": "weir@2", "policy": "0b0b0b0b", "variant": "challenger", "rule": "night-limit"},
        ),
        ("", {}),
    ],
)
def test_model_policy_variant_and_rule_are_told(release, expected):
    found = Indexed(ENTRY, is_applied=True, place=None, release=release, labels=[]).score("t1")

    assert found == {"transaction_id": "t1", "probability": 0.25, "decision": "review", "tier": "full", "flags": []} | expected

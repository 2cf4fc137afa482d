"""Lists before the model, limits after it, and the name of the rule that decided."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.decision import Outcome
from domain.transaction import Transaction
from features.batch import Batch, batch_of
from features.currency import Rates
from features.spec import COLUMN, N_FEATURES
from models.rules import SEVERITY, AmountLimit, ListRule, Rules, VelocityLimit

OUTCOMES: tuple[Outcome, ...] = ("approve", "review", "decline")


def batch(*rows: dict[str, Any]) -> Batch:
    """One transaction a row; what it does not say is plain."""
    plain = {"card_id": "c", "merchant_id": "m", "amount_minor": 1_000, "currency": "EUR", "event_time_ms": 1_000}
    transactions = [Transaction(**{"transaction_id": f"t{i}", **plain, **row}) for i, row in enumerate(rows)]
    n = len(transactions)
    return batch_of(transactions, np.arange(n), np.full(n, 1_000), Rates.load(None, "EUR"))


def vectors(n: int, **columns: float) -> np.ndarray:
    found = np.zeros((n, N_FEATURES), np.float32)
    for name, value in columns.items():
        found[:, COLUMN[name]] = value
    return found


def decided(rules: Rules, row: dict[str, Any], outcome: Outcome = "approve", **features: float) -> tuple[Outcome, str | None]:
    found = rules.apply(batch(row), vectors(1, **features), [outcome])
    return found.outcomes[0], found.rules.get(0)


def listed(outcome: Outcome, *values: str, field: str = "card_id", name: str = "a-list") -> ListRule:
    return ListRule(name=name, field=field, values=values, outcome=outcome)


def test_without_rules_the_model_decides():
    rules = Rules()

    assert not rules
    assert rules.apply(batch({}, {}), vectors(2), ["review", "approve"]) == (["review", "approve"], {})


@pytest.mark.parametrize(
    ("field", "value", "row"),
    [
        ("card_id", "c7", {"card_id": "c7"}),
        ("merchant_id", "m7", {"merchant_id": "m7"}),
        ("device_id", "d7", {"device_id": "d7"}),
        ("ip", "10.0.0.7", {"ip": "10.0.0.7"}),
        ("country", "KP", {"country": "KP"}),
        ("mcc", "7995", {"mcc": 7995}),
        ("mcc", "0742", {"mcc": 742}),
    ],
)
def test_a_block_list_declines_what_is_on_it_and_nothing_else(field: str, value: str, row: dict[str, Any]):
    rules = Rules((listed("decline", value, field=field),))

    assert decided(rules, row) == ("decline", "a-list")
    assert decided(rules, {}) == ("approve", None)


def test_a_list_stands_in_for_the_model_also_where_it_says_the_same():
    rules = Rules((listed("approve", "c7"),))

    assert decided(rules, {"card_id": "c7"}, "decline") == ("approve", "a-list")
    assert decided(rules, {"card_id": "c7"}, "approve") == ("approve", "a-list")


def test_a_block_list_for_review_softens_a_decline_of_the_model():
    assert decided(Rules((listed("review", "c7"),)), {"card_id": "c7"}, "decline") == ("review", "a-list")


def test_an_allow_list_wins_over_block_lists_and_the_most_severe_block_list_over_others():
    review = listed("review", "c7", "c8", name="watch")
    decline = listed("decline", "c7", "c8", name="stolen")
    allow = listed("approve", "c8", name="staff")
    rules = Rules((review, decline, allow))

    assert decided(rules, {"card_id": "c7"}) == ("decline", "stolen")
    assert decided(rules, {"card_id": "c8"}) == ("approve", "staff")


def test_an_amount_limit_holds_from_its_amount_on_in_the_base_currency():
    rules = Rules(amounts=(AmountLimit(name="large", amount_minor=500_000, outcome="review"),))

    assert decided(rules, {"amount_minor": 499_999}) == ("approve", None)
    assert decided(rules, {"amount_minor": 500_000}) == ("review", "large")
    assert decided(rules, {"amount_minor": 500_000, "currency": "XXX"}) == ("approve", None)


def test_a_velocity_limit_holds_from_its_bound_on_and_never_for_a_missing_feature():
    rules = Rules(velocities=(VelocityLimit(name="fast", feature="card_count_1h", bound=10, outcome="decline"),))

    assert decided(rules, {}, card_count_1h=9) == ("approve", None)
    assert decided(rules, {}, card_count_1h=10) == ("decline", "fast")
    assert decided(rules, {}, card_count_1h=float("nan")) == ("approve", None)


def test_limits_only_make_it_more_severe_also_for_what_a_list_allows():
    rules = Rules(
        (listed("approve", "c7", name="staff"),),
        (
            AmountLimit(name="large", amount_minor=500_000, outcome="review"),
            AmountLimit(name="huge", amount_minor=900_000, outcome="decline"),
        ),
    )  # fmt: skip

    assert decided(rules, {"card_id": "c7", "amount_minor": 600_000}) == ("review", "large")
    assert decided(rules, {"amount_minor": 600_000}, "decline") == ("decline", None)
    assert decided(rules, {"amount_minor": 900_000}) == ("decline", "huge")


@given(st.lists(st.tuples(st.sampled_from(OUTCOMES), st.booleans(), st.integers(0, 20)), min_size=1, max_size=20))
def test_every_row_is_decided_as_if_it_were_alone(rows: list[tuple[Outcome, bool, int]]):
    rules = Rules(
        (listed("decline", "c7"),), velocities=(VelocityLimit(name="fast", feature="card_count_1h", bound=10, outcome="review"),)
    )  # fmt: skip
    together = vectors(len(rows))
    together[:, COLUMN["card_count_1h"]] = [count for _, _, count in rows]
    columns = batch(*({"card_id": "c7" if is_listed else "c"} for _, is_listed, _ in rows))

    found = rules.apply(columns, together, [outcome for outcome, _, _ in rows])

    for i, (outcome, is_listed, count) in enumerate(rows):
        alone = decided(rules, {"card_id": "c7" if is_listed else "c"}, outcome, card_count_1h=count)
        assert (found.outcomes[i], found.rules.get(i)) == alone
        assert is_listed or SEVERITY[found.outcomes[i]] >= SEVERITY[outcome]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"lists": [{"name": "a", "field": "mcc", "values": ["food"], "outcome": "decline"}]}, "category code 'food'"),
        ({"lists": [{"name": "a", "field": "country", "values": ["de"], "outcome": "decline"}]}, "two capital letters"),
        ({"lists": [{"name": "a", "field": "country", "values": [], "outcome": "decline"}]}, "length >= 1"),
        ({"lists": [{"name": "a", "field": "iban", "values": ["x"], "outcome": "decline"}]}, "Invalid enum value 'iban'"),
        ({"lists": [{"name": "a", "field": "ip", "values": ["x"], "outcome": "block"}]}, "Invalid enum value 'block'"),
        ({"velocities": [{"name": "a", "feature": "card_count", "bound": 1, "outcome": "review"}]}, "does not exist"),
        ({"amounts": [{"name": "a", "amount_minor": 1, "outcome": "approve"}]}, "Invalid enum value 'approve'"),
        ({"amounts": [{"name": "A rule", "amount_minor": 1, "outcome": "review"}]}, "regex"),
        ({"amounts": [{"name": "a", "amount_minor": 1, "outcome": "review"}] * 2}, "more than one rule is called a"),
        ({"amount": []}, "unknown field `amount`"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(content: dict[str, Any], sentence: str):
    with pytest.raises(msgspec.ValidationError, match=sentence):
        msgspec.json.decode(msgspec.json.encode(content), type=Rules)


def test_a_card_number_in_a_list_is_refused_and_not_repeated():
    with pytest.raises(ValueError, match="holds a card number") as caught:
        listed("decline", "4111 1111 1111 1111")

    assert "4111" not in str(caught.value)

"""An alert and a score on the terminal say what decided, if it was not the champion alone."""

import msgspec

from domain.decision import Alert, Reason, Tier
from service.alert_text import alert_text, score_text

ALERT = Alert(
    transaction_id="t1", card_id="c1", event_time_ms=1_700_000_000_000, scored_at_ms=1, probability=0.5, decision="decline",
    tier=Tier.FULL, flags=("late",), model="weir@1", variant="champion", policy="p", spec="s", source=(0, 1), amount_minor=1_999,
    currency="EUR", merchant_id="m1", reasons=(Reason(code="c", text="spent much", feature="f", value=1.0, contribution=1.0),),
)  # fmt: skip


def test_without_rule_and_trial_neither_is_mentioned():
    for text in (alert_text(ALERT).plain, score_text(ALERT).plain):
        assert "rule" not in text
        assert "champion" not in text
    assert alert_text(ALERT).plain.splitlines()[1:] == ["    - spent much"]


def test_a_rule_comes_before_the_models_reasons_and_the_challenger_is_named():
    ruled = msgspec.structs.replace(ALERT, rule="stolen-cards", variant="challenger")

    assert alert_text(ruled).plain.splitlines()[1:] == ["    - the rule stolen-cards decided it", "    - spent much"]
    assert score_text(ruled).plain.endswith("weir@1 full  challenger  rule stolen-cards  late")

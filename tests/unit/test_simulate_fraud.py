"""Laws of the fraud stories and of what the bank gets to know."""

import polars as pl
import pytest

from simulate.generate import generate
from simulate.labels import LONGEST_CHARGEBACK_DAYS, SHORTEST_CHARGEBACK_DAYS
from simulate.rows import DAY_MS
from simulate.stories import EVERYDAY, NAMES, NEW_STORY


@pytest.fixture(scope="module")
def history():
    # Many frauds, so that shares are steady.
    return generate(n_days=60, n_cards=3000, fraud_share=0.03).with_columns(
        ((pl.col("label_time_ms") - pl.col("event_time_ms")) / DAY_MS).alias("delay_days")
    )


@pytest.fixture(scope="module")
def frauds(history):
    return history.drop_nulls("story")


def story(frauds, name):
    return frauds.filter(pl.col("story") == name)


def test_every_everyday_story_is_told_even_in_the_default_population():
    told = set(generate()["story"].drop_nulls())

    assert told == {NAMES[place] for place in EVERYDAY}
    assert len(told) >= 6
    assert NAMES[NEW_STORY] not in told


def test_no_story_dominates(frauds):
    shares = frauds["story"].value_counts(normalize=True)["proportion"]

    assert shares.max() < 0.3
    assert shares.min() > 0.05


def test_card_testing_has_small_amounts_before_a_large_one(frauds):
    rows = story(frauds, "card_testing")
    by_card = rows.group_by("card_id", maintain_order=True).agg(
        pl.col("amount_minor").first().alias("first"), pl.col("amount_minor").max().alias("largest")
    )

    assert set(rows["channel"]) == {"ecom"}
    assert (by_card["largest"] > 5 * by_card["first"]).mean() > 0.7


def test_account_takeover_comes_from_devices_the_card_never_used(history, frauds):
    rows = story(frauds, "account_takeover").drop_nulls("device_id")
    own = history.filter(pl.col("story").is_null()).drop_nulls("device_id").select("card_id", "device_id").unique()

    assert rows.height > 50
    assert rows.join(own, on=["card_id", "device_id"], how="semi").is_empty()


def test_a_compromised_terminal_hits_many_cards_over_weeks_amid_honest_visits(history, frauds):
    rows = story(frauds, "compromised_terminal").filter(pl.col("channel") == "pos")
    terminals = rows.group_by("merchant_id").agg(
        pl.col("card_id").n_unique().alias("cards"),
        ((pl.col("event_time_ms").max() - pl.col("event_time_ms").min()) / DAY_MS).alias("days"),
    )
    honest = history.filter(pl.col("story").is_null() & pl.col("merchant_id").is_in(terminals["merchant_id"].to_list()))

    assert terminals["cards"].median() >= 8
    assert terminals["days"].median() >= 7
    assert honest.height > rows.height


def test_stolen_cards_are_used_for_hours_often_far_from_home(frauds):
    rows = story(frauds, "stolen_card")

    assert rows["ip"].count() == 0
    assert rows["country"].is_in(["DE", "AT"]).mean() < 0.9
    assert {"contactless", "pos"} <= set(rows["channel"])


def test_bust_outs_use_the_owners_own_device(history, frauds):
    rows = story(frauds, "bust_out").filter(pl.col("channel") == "ecom").drop_nulls("device_id")
    own = history.filter(pl.col("story").is_null()).drop_nulls("device_id").select("card_id", "device_id").unique()

    assert rows.join(own, on=["card_id", "device_id"], how="semi").height > 0.5 * rows.height


def test_colluding_merchants_are_few_and_book_many_payments(frauds):
    rows = story(frauds, "merchant_collusion")

    assert rows.height > 8 * rows["merchant_id"].n_unique()


def test_amounts_of_frauds_and_of_honest_purchases_overlap(history, frauds):
    honest = history.filter(pl.col("story").is_null())["amount_minor"]

    assert honest.quantile(0.25) < frauds["amount_minor"].median() < honest.quantile(0.95)


def test_labels_become_known_after_the_event(history):
    assert (history["delay_days"].drop_nulls() > 0).all()


def test_chargebacks_take_three_to_fortyfive_days(history):
    delay = history.filter(pl.col("label_source") == "chargeback")["delay_days"]

    assert delay.min() >= SHORTEST_CHARGEBACK_DAYS == 3
    assert delay.max() <= LONGEST_CHARGEBACK_DAYS == 45
    assert 7 < delay.median() < 21


def test_analysts_are_quicker_than_chargebacks(history):
    delay = history.filter(pl.col("label_source") == "analyst")["delay_days"]

    assert delay.median() < 3


def test_some_frauds_are_never_reported_and_then_look_good(frauds):
    silent = frauds.filter(~pl.col("is_fraud"))

    assert 0.03 < silent.height / frauds.height < 0.3
    assert silent["label_time_ms"].count() == 0
    assert silent["label_source"].count() == 0


def test_a_few_honest_purchases_are_reported_by_mistake(history):
    honest = history.filter(pl.col("story").is_null())

    assert 0 < honest["is_fraud"].mean() < 0.001


def test_a_label_has_a_time_and_a_source_exactly_when_it_says_fraud(history):
    for column in ("label_time_ms", "label_source"):
        assert history[column].is_not_null().equals(history["is_fraud"].rename(column))
    assert set(history["label_source"].drop_nulls()) == {"analyst", "customer", "chargeback"}


def test_cards_are_open_when_they_are_misused(frauds):
    assert frauds["account_age_days"].min() >= 0

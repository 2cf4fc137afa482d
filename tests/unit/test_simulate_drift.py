"""Each drift does what it says, and nothing before its day."""

import json

import polars as pl
import pytest
from click.testing import CliRunner

from domain.errors import ConfigError
from features.history import read_history
from service.cli import weir
from simulate.drift import INFLATION, Drift, parse_drift
from simulate.generate import START_MS, generate
from simulate.rows import DAY_MS

DAY = 20
SIZE = {"n_days": 40, "n_cards": 600, "seed": 3}
KINDS = ("new_story", "inflation", "channel_shift", "broken_field")
LATER = pl.col("event_time_ms") >= START_MS + DAY * DAY_MS


@pytest.fixture(scope="module")
def plain():
    return generate(**SIZE)


@pytest.fixture(scope="module")
def drifted():
    return {kind: generate(**SIZE, drifts=[Drift(kind, DAY)]) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_differs_before_the_day(plain, drifted, kind):
    assert drifted[kind].filter(~LATER).equals(plain.filter(~LATER))
    assert not drifted[kind].filter(LATER).equals(plain.filter(LATER))


def test_a_new_story_is_told_from_the_day_on(drifted):
    told = drifted["new_story"].filter(pl.col("story") == "gift_cards")

    assert told.height > 5
    assert told.filter(~LATER).is_empty()
    assert set(told["amount_minor"]) <= {5_000, 10_000, 15_000, 20_000, 25_000}


def test_inflation_raises_prices(plain, drifted):
    before, after = (history.filter(LATER)["amount_minor"].mean() for history in (plain, drifted["inflation"]))

    assert after / before == pytest.approx(INFLATION, rel=0.02)


def test_a_channel_shift_moves_honest_purchases_online(plain, drifted):
    honest = LATER & pl.col("story").is_null()
    before, after = (history.filter(honest)["channel"].is_in(["ecom"]).mean() for history in (plain, drifted["channel_shift"]))

    assert after > before + 0.2
    assert drifted["channel_shift"].height == plain.height


def test_a_broken_field_no_longer_arrives(plain, drifted):
    broken = drifted["broken_field"].filter(LATER)

    assert broken["mcc"].count() == 0
    assert broken.drop("mcc").equals(plain.filter(LATER).drop("mcc"))


def test_several_drifts_add_up():
    history = generate(
        **SIZE, drifts=[Drift("new_story", 10), Drift("broken_field", 30), Drift("inflation", 25), Drift("channel_shift", 0)]
    )

    assert (history["story"] == "gift_cards").any()
    assert history.filter(pl.col("event_time_ms") >= START_MS + 30 * DAY_MS)["mcc"].count() == 0


@pytest.mark.parametrize("text", ["inflation", "inflation@", "inflation@-1", "inflation@x", "flood@3", "@3"])
def test_a_drift_that_is_none_is_refused_with_the_known_kinds(text):
    with pytest.raises(ConfigError, match="one of new_story, inflation"):
        parse_drift(text)


@pytest.mark.parametrize("drifts", [[Drift("inflation", 40)], [Drift("inflation", 1), Drift("inflation", 2)]])
def test_drifts_must_begin_within_the_days_and_be_given_once(drifts):
    with pytest.raises(ConfigError, match="drift inflation"):
        generate(**SIZE, drifts=drifts)


def test_the_command_writes_a_history_and_a_summary(tmp_path):
    out = tmp_path / "h.parquet"
    arguments = ["simulate", str(out), "--days", "12", "--cards", "100", "--start", "2024-02-29", "--drift", "broken_field@6", "--json"]
    answer = CliRunner().invoke(weir, arguments, catch_exceptions=False)
    summary = json.loads(answer.output)
    history = read_history(out)

    assert summary["transactions"] == history.height
    assert summary["frauds"] == sum(summary["stories"].values()) == history["story"].count()
    assert history["event_time_ms"][0] // DAY_MS == 19_782

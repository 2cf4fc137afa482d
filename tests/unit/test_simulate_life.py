"""Laws of the simulated world: determinism, sizes, habits."""

import polars as pl
import pytest

from domain.errors import ConfigError
from features.history import SCHEMA, normalised, read_history, write_history
from simulate.generate import START_MS, generate
from simulate.rows import DAY_MS

SMALL = {"n_days": 21, "n_cards": 300}


@pytest.fixture(scope="module")
def history():
    return generate()


@pytest.fixture(scope="module")
def genuine(history):
    return history.filter(pl.col("story").is_null())


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_history(generate(**SMALL, seed=7), tmp_path / name)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_seed_gives_another_history_with_other_ids():
    one, other = generate(**SMALL, seed=1), generate(**SMALL, seed=2)

    assert not one.equals(other)
    assert not set(one["transaction_id"]) & set(other["transaction_id"])


def test_what_is_generated_is_a_history_as_it_stands(history):
    further = ["story", "label_source"]

    assert history.columns == [*SCHEMA, *further]
    assert normalised(history, "simulation").equals(history)


def test_a_written_simulation_reads_back_equal(tmp_path):
    history = generate(**SMALL)
    write_history(history, tmp_path / "h.parquet")

    assert read_history(tmp_path / "h.parquet").equals(history)


def test_transactions_lie_within_the_simulated_days(history):
    times = history["event_time_ms"]

    assert times.min() >= START_MS
    assert times.max() < START_MS + 60 * DAY_MS
    assert ((times - START_MS) // DAY_MS).n_unique() == 60


def test_there_is_about_one_transaction_per_card_and_day(history):
    assert 0.8 < history.height / (3000 * 60) < 1.25


def test_frauds_are_a_half_percent(history):
    assert 0.003 <= history["story"].is_not_null().mean() <= 0.008


def test_amounts_are_positive_and_heavy_tailed(genuine):
    amount = genuine["amount_minor"]

    assert amount.min() >= 1
    assert amount.mean() > 1.5 * amount.median()


def test_only_online_purchases_have_an_ip_and_only_places_have_coordinates(genuine):
    remote = pl.col("channel").is_in(["ecom", "moto"])

    assert genuine.filter(pl.col("channel") != "ecom")["ip"].null_count() == genuine.filter(pl.col("channel") != "ecom").height
    assert genuine.filter(remote)["lat"].count() == 0
    assert genuine.filter(~remote)["lat"].is_not_null().mean() > 0.9
    assert genuine.filter(pl.col("channel").is_in(["pos", "atm"]))["device_id"].count() == 0


def test_devices_and_ips_are_shared_within_households_and_networks(genuine):
    for entity in ("device_id", "ip"):
        cards = genuine.drop_nulls(entity).group_by(entity).agg(pl.col("card_id").n_unique())

        assert (cards["card_id"] > 1).mean() > 0.01


def test_honest_people_do_odd_things_too(genuine):
    abroad = ~pl.col("country").is_in(["DE", "AT"]) & ~pl.col("channel").is_in(["ecom", "moto"])
    devices = genuine.drop_nulls("device_id").group_by("card_id").agg(pl.col("device_id").n_unique())
    hours = (genuine["event_time_ms"] // 3_600_000) % 24

    assert 0.005 < genuine.select(abroad.mean()).item() < 0.2
    assert (devices["device_id"] > 1).mean() > 0.2
    assert 0.005 < (genuine["amount_minor"] > 50_000).mean() < 0.05
    assert 0.005 < (hours < 6).mean() < 0.2


def test_weekends_and_salary_days_are_busier(genuine):
    day = ((pl.col("event_time_ms") - START_MS) // DAY_MS).alias("day")
    counts = genuine.group_by(day).len().sort("day")["len"]
    # The first day is a Wednesday: days 2 and 3 are a Friday and a Saturday, days 5 and 6 a Monday and a Tuesday.
    busy = counts.gather([d for d in range(60) if d % 7 in (2, 3)]).mean()
    quiet = counts.gather([d for d in range(60) if d % 7 in (5, 6)]).mean()

    assert busy > 1.1 * quiet


def test_accounts_age_day_by_day(genuine):
    card = genuine.filter(pl.col("card_id") == genuine["card_id"][0])
    opened = (card["event_time_ms"] - START_MS) // DAY_MS - card["account_age_days"]

    assert opened.n_unique() == 1


def test_the_wanted_rate_and_share_are_met():
    history = generate(n_days=30, n_cards=1000, per_day=3.0, fraud_share=0.02)

    assert 2.4 < history.height / 30_000 < 3.8
    assert 0.012 <= history["story"].is_not_null().mean() <= 0.03


def test_the_smallest_population_is_a_history_too():
    for seed in range(5):
        history = generate(n_days=1, n_cards=10, seed=seed)

        assert normalised(history, "simulation").equals(history)


@pytest.mark.parametrize("wrong", [{"n_days": 0}, {"n_cards": 1}, {"seed": -1}, {"start_ms": 5}, {"per_day": 0}, {"fraud_share": 0.5}])
def test_arguments_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="must be"):
        generate(**(SMALL | wrong))


def test_progress_grows_to_one():
    told = []
    generate(**SMALL, progress=told.append)

    assert told == sorted(told)
    assert told[-1] == 1.0

"""Fairness between groups: what is refused, what passes, and what cannot be told."""

import numpy as np
import polars as pl
import pytest

from domain.errors import ConfigError
from models.fairness import column_of, fairness, fairness_check
from models.gate_evidence import Evidence, Opinion
from models.judged import Judged


def evidence(
    east_rate: float, west_rate: float, champion: tuple[float, float] | None = None, n: int = 30_000, rows_of_card: int = 1, seed: int = 1
) -> tuple[Evidence, pl.Series]:
    """Half of the cards are east; good rows of a card are alerted together, at the rate of its region."""
    random = np.random.default_rng(seed)
    card = np.arange(n) // rows_of_card
    is_east = card % 2 == 0

    def opinion(east: float, west: float) -> Opinion:
        is_alert = random.random(card.max() + 1)[card] < np.where(is_east, east, west)
        return Opinion(is_alert.astype(np.float64), is_alert)

    judged = Judged(np.arange(n), np.zeros(n, np.bool_), card, np.zeros(n, np.int64), np.zeros(n, np.bool_), np.zeros(n))
    said = None if champion is None else opinion(*champion)
    return Evidence(judged, np.zeros(n, np.int64), opinion(east_rate, west_rate), said), pl.Series(np.where(is_east, "east", "west"))


def test_a_group_that_is_stopped_too_often_for_certain_is_refused_with_its_name_and_ratio():
    found, groups = evidence(0.02, 0.01)

    check = fairness_check("extra.region", fairness(found, groups))

    assert check.outcome == "refused"
    assert check.sentence.startswith("good customers of east are stopped")
    assert check.figures["east ratio"] == pytest.approx(2.0, rel=0.3)
    assert 1.25 < check.figures["east lower"] < check.figures["east ratio"]
    assert "west are" not in check.sentence


def test_equal_groups_pass_and_the_worst_one_is_named():
    check = fairness_check("region", fairness(*evidence(0.02, 0.02)))

    assert check.outcome == "passed"
    assert "most false alarms for" in check.sentence


def test_frauds_and_rows_without_a_group_do_not_count():
    found, groups = evidence(0.02, 0.02)
    is_fraud = found.candidate.is_alert & (groups == "east").to_numpy()
    judged = with_target(found.judged, target=is_fraud)
    some = groups.to_frame("g").with_columns(g=pl.when(pl.int_range(pl.len()) < 2_000).then(None).otherwise("g"))["g"]

    east, west = fairness(Evidence(judged, found.fold, found.candidate, None), some)

    assert (east.n_false, east.n_good) == (0, 14_000 - int(is_fraud[2_000:].sum()))
    assert west.n_good == 14_000


def with_target(judged: Judged, target: np.ndarray) -> Judged:
    return Judged(judged.row, target, judged.card, judged.day, judged.is_known, judged.amount)


@pytest.mark.parametrize(("rates", "n"), [((0.02, 0.005), 19_000), ((0.02, 0.002), 30_000)], ids=["good rows", "false alarms"])
def test_too_little_data_on_one_side_is_not_assessed(rates: tuple[float, float], n: int):
    check = fairness_check("region", fairness(*evidence(*rates, n=n)))

    assert check.outcome == "not assessed"
    assert check.figures["east ratio"] is None


def test_alarms_that_come_by_card_are_weaker_evidence():
    alone, together = (fairness(*evidence(0.04, 0.03, n=40_000, rows_of_card=m))[0] for m in (1, 40))

    assert together.ratio is not None
    assert alone.ratio is not None
    assert together.ratio - together.lower > 3 * (alone.ratio - alone.lower)


def test_a_group_that_fares_worse_than_under_the_champion_is_refused_though_its_own_ratio_could_be_chance():
    found, groups = evidence(0.0118, 0.0100, champion=(0.0075, 0.0110), n=60_000)

    east = fairness(found, groups)[0]

    assert east.lower < 1.25
    assert east.over_champion > 1.25
    assert east.over_champion_lower > 1
    assert east.is_unfair
    assert "the champion's ratio" in fairness_check("region", [east]).sentence


def test_a_group_that_fares_a_little_worse_than_under_the_champion_passes():
    found, groups = evidence(0.011, 0.010, champion=(0.0100, 0.010), n=60_000)

    assert not any(group.is_unfair for group in fairness(found, groups))


def test_groups_are_columns_or_fields_of_extra_and_anything_else_is_refused():
    history = pl.DataFrame({"channel": ["pos", None], "extra": ['{"a": {"b": 7}}', "{}"], "extra.c": ["x", "y"]})

    assert column_of(history, "channel").to_list() == ["pos", None]
    assert column_of(history, "extra.a.b").to_list() == ["7", None]
    assert column_of(history, "extra.c").to_list() == ["x", "y"]
    with pytest.raises(ConfigError, match="no column 'age'"):
        column_of(history, "age")

"""A search learns from earlier days, is judged on later ones, and its last days stay unseen; the report of features changes nothing."""

from functools import cache
from importlib.util import find_spec
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from domain.errors import ConfigError, TrainingRefused
from features.spec import COLUMN, FEATURES
from models import search as module
from models.dataset import Dataset, calibration_start
from models.feature_selection import SelectionReport, select
from models.options import TrainingOptions, options_from
from models.search import SPACE, RandomProposer, fold_starts, search, space_of
from tests.unit.models_synthetic import SMALL, dataset_of

TINY = msgspec.structs.replace(
    SMALL, min_calibration_frauds=10, most_good_rows=800, sizes=msgspec.structs.replace(SMALL.sizes, boosting_rounds=6)
)

TEN = msgspec.structs.replace(TINY, sizes=msgspec.structs.replace(SMALL.sizes, boosting_rounds=10))


def early(dataset: Dataset) -> Dataset:
    return dataset.take(dataset.day < calibration_start(dataset, TINY))


class Quick:
    """Another proposer's points with few and flat trees."""

    def __init__(self, proposer: module.Proposer) -> None:
        self._proposer = proposer

    def ask(self) -> module.Point:
        return {**self._proposer.ask(), "sizes.boosting_rounds": 4.0, "boosting.depth": 2.0}

    def tell(self, value: float) -> None:
        self._proposer.tell(value)


@cache
def rows() -> Dataset:
    return dataset_of()


@cache
def first_found() -> module.Found:
    return found_by(1)


def found_by(seed: int, dataset: Dataset | None = None) -> module.Found:
    return search(dataset or rows(), TINY, Quick(RandomProposer(seed)), n_trials=1)


def test_folds_lie_behind_one_another_and_before_the_days_that_calibrate():
    days = early(rows())

    folds = fold_starts(days)

    assert len(folds) == 3
    assert all(end == first for (_, end), (first, _) in pairwise(folds))
    assert folds[0][0] > days.day.min()
    assert folds[-1][1] == days.day.max() + 1 == calibration_start(rows(), TINY)


def test_the_same_seed_searches_the_same_points_and_another_others():
    assert first_found() == found_by(1)
    assert first_found().trials != found_by(2).trials


def test_no_trial_sees_the_days_that_calibrate():
    dataset = rows()
    late = dataset.day >= calibration_start(dataset, TINY)
    vectors = dataset.vectors.copy()
    vectors[late] = np.random.default_rng(1).normal(size=(int(late.sum()), vectors.shape[1]))
    spoilt = Dataset(vectors, dataset.target, dataset.weight, dataset.day)

    one, other = first_found(), found_by(1, spoilt)

    assert (one.start, one.best, one.trials) == (other.start, other.best, other.trials)
    assert one.start_on_last_days != other.start_on_last_days


def test_the_best_is_never_worse_than_the_start_and_is_judged_on_the_last_days():
    found = first_found()

    assert found.best.average_precision == max(trial.average_precision for trial in [found.start, *found.trials])
    assert found.start.options == {}
    assert 0 < found.best_on_last_days <= 1


def test_every_point_of_the_space_is_an_option_that_training_takes():
    proposer = RandomProposer(3)
    for _ in range(30):
        options = options_from(module._table(proposer.ask()), TrainingOptions(), "search")
        for name, (least, most, _) in SPACE.items():
            section, _, entry = name.partition(".")
            assert least * 0.999 <= getattr(getattr(options, section), entry) <= most * 1.001


def test_a_search_can_be_kept_to_few_rounds():
    proposer = RandomProposer(3, space_of(20))

    assert {proposer.ask()["sizes.boosting_rounds"] for _ in range(5)} == {20.0}


def test_a_search_over_too_few_days_or_frauds_is_refused():
    dataset = rows()
    with pytest.raises(TrainingRefused, match="too few for 3 folds"):
        fold_starts(dataset.take(dataset.day < 3))
    few = dataset.target & (np.cumsum(dataset.target) % 20 == 0)
    with pytest.raises(TrainingRefused, match="a fold of the search would hold"):
        fold_starts(Dataset(dataset.vectors, few, dataset.weight, dataset.day))


def test_optuna_searches_the_same_points_again_or_says_how_to_get_it():
    from service.optuna_search import OptunaProposer

    if find_spec("optuna") is None:
        with pytest.raises(ConfigError, match=r"requirements/optuna\.txt"):
            OptunaProposer(7, SPACE)
        return
    found = [search(rows(), TINY, Quick(OptunaProposer(7, SPACE)), n_trials=2) for _ in range(2)]

    assert found[0] == found[1]
    assert len(found[0].trials) == 2


@pytest.fixture(scope="module")
def report() -> SelectionReport:
    return select(dataset_of(3_000), TEN)


def test_the_features_that_tell_frauds_are_the_first_of_the_report(report: SelectionReport):
    assert {one.name for one in report.features[:2]} == {"card_amount_over_median", "event_category"}
    assert [one.verdict for one in report.features[:2]] == ["useful", "useful"]
    assert len(report.features) == len(FEATURES)
    assert sum(one.gain_share for one in report.features) == pytest.approx(1.0)


def test_a_copy_of_a_feature_is_redundant_and_a_constant_one_unused():
    dataset = dataset_of(3_000)
    vectors = dataset.vectors.copy()
    vectors[:, COLUMN["card_amount_over_ewma"]] = vectors[:, COLUMN["card_amount_over_median"]] * 2
    vectors[:, COLUMN["card_count_5m"]] = 1.0
    found = select(Dataset(vectors, dataset.target, dataset.weight, dataset.day), TEN)
    worth = {one.name: one for one in found.features}
    pair = {"card_amount_over_ewma", "card_amount_over_median"}

    assert sum(worth[name].verdict == "redundant" and {worth[name].redundant_with} < pair for name in pair) == 1
    assert worth["card_count_5m"].verdict == "unused"


def test_the_report_says_what_fewer_features_and_missing_blocks_cost(report: SelectionReport):
    sets = {one.name: one for one in report.sets}

    assert sets["all"].n_features == len(FEATURES)
    assert sets["strongest 10"].n_features == 10
    assert sets["without state"].average_precision < sets["all"].average_precision
    assert {"without merchant_labels", "without device_ip", "without place"} < set(sets)


def test_the_report_respects_features_that_are_hidden_already():
    found = select(dataset_of(3_000), msgspec.structs.replace(TEN, without=("card_amount_over_median",)))
    worth = {one.name: one for one in found.features}

    assert worth["card_amount_over_median"].verdict == "unused"
    assert found.sets[0].n_features == len(FEATURES) - 1

"""What a fold is measured by, against scikit-learn or against the definition written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from models.calibration import sigmoid
from models.card_precision import CardRanking
from models.fold_metrics import Prices, fold_metrics
from models.judged import Judged
from models.paired import METRICS, Resamples, paired_difference
from models.ranking import Ranking


def rows(seed: int, n: int = 400, n_cards: int = 40, n_days: int = 5, digits: int = 1):
    """Scores with many ties, truth, cards and days."""
    r = np.random.default_rng(seed)
    target = r.random(n) < 0.1
    target[:2] = True, False
    score = np.round(r.normal(0, 1, n) + 1.2 * target, digits)
    return score, target, r.integers(0, n_cards, n), np.sort(r.integers(0, n_days, n))


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_resample_has_the_metrics_that_scikit_learn_gives_weighted_rows(seed):
    score, target, card, _ = rows(seed)
    counts = np.random.default_rng(seed).integers(0, 4, (40, 3)).astype(float)
    counts[card[:2]] = 1.0
    ranking = Ranking(score, target, card, 40)

    for place in range(3):
        weight = counts[card, place]
        assert ranking.average_precision(counts)[place] == pytest.approx(average_precision_score(target, score, sample_weight=weight))
        assert ranking.roc_auc(counts)[place] == pytest.approx(roc_auc_score(target, score, sample_weight=weight))


def card_precision_by_hand(score, target, card, day, k, copies):
    """The definition, card by card; `copies[c]` cards instead of card c, all of them like it."""
    gone: set[int] = set()
    shares = []
    for d in sorted(set(day.tolist())):
        best = {}
        for s, c in zip(score[day == d].tolist(), card[day == d].tolist(), strict=True):
            best[c] = max(best.get(c, -np.inf), s)
        order = [c for c in sorted(best, key=lambda c: (-best[c], c)) if c not in gone for _ in range(copies[c])]
        fraud_cards = set(card[(day == d) & target].tolist())
        hits = [c for c in order[:k] if c in fraud_cards]
        gone |= set(hits)
        shares.append(len(hits) / k)
    return float(np.mean(shares))


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_card_precision_is_its_definition_also_in_resamples(seed):
    score, target, card, day = rows(seed)
    counts = np.random.default_rng(seed).integers(0, 3, (40, 2))
    ranking = CardRanking(score, target, card, day, k=7)

    assert ranking.value == pytest.approx(card_precision_by_hand(score, target, card, day, 7, np.ones(40, int)))
    resampled = ranking.by_card(counts[: card.max() + 1].astype(float))
    for place in range(2):
        assert resampled[place] == pytest.approx(card_precision_by_hand(score, target, card, day, 7, counts[:, place]))


def test_the_reach_counts_hits_against_what_could_be_hit():
    day = np.array([0, 0, 0, 0, 1, 1])
    card = np.array([0, 1, 2, 3, 0, 3])
    target = np.array([True, False, True, False, True, True])
    score = np.array([0.9, 0.8, 0.7, 0.1, 0.9, 0.2])

    hits, frauds = (found.tolist() for found in CardRanking(score, target, card, day, k=2).hits())

    assert hits == [1, 1]  # card 0 on day 0 leaves; card 3 on day 1
    assert frauds == [2, 1]
    assert CardRanking(score, target, card, day, k=2).reach == pytest.approx((1 / 2 + 1 / 1) / 2)


def test_the_difference_of_a_model_to_itself_is_nothing():
    score, target, card, day = rows(1)

    found = paired_difference("average_precision", score, score.copy(), target, card, day, n_resamples=50)

    assert (found.mean, found.se, found.better_folds) == (0.0, 0.0, 0)


@pytest.mark.parametrize("metric", list(METRICS))
def test_a_better_model_is_better_in_every_fold_by_more_than_the_error(metric):
    r = np.random.default_rng(3)
    n = 4_000
    target, fold = r.random(n) < 0.05, np.repeat([0, 1], n // 2)
    card, day = r.integers(0, 900, n), np.repeat(np.arange(10), n // 10)
    noise = r.normal(0, 1, n)

    found = paired_difference(metric, noise + 3 * target, noise + target, target, card, day, fold=fold, n_resamples=200)

    assert found.better_folds == found.n_folds == 2
    assert found.mean > 3 * found.se > 0
    assert found.se == max(found.se_by_card, found.se_by_day)


def test_the_standard_error_is_that_of_repeated_draws_of_cards():
    """Twenty rows of a card share their luck: an error that took rows as independent would be far too small."""
    differences, errors = [], []
    for seed in range(60):
        r = np.random.default_rng(seed)
        card = np.repeat(np.arange(100), 20)
        target = np.repeat(r.random(100) < 0.3, 20)
        signal = target + r.normal(0, 0.3, 2_000)
        a, b = (signal + np.repeat(r.normal(0, 1, 100), 20) for _ in range(2))
        found = paired_difference("roc_auc", a, b, target, card, np.zeros(2_000, np.int64), n_resamples=100)
        differences.append(found.mean)
        errors.append(found.se_by_card)

    assert np.mean(errors) == pytest.approx(np.std(differences), rel=0.3)


def test_resamples_are_the_same_for_the_same_seed_and_others_for_another():
    score, target, card, day = rows(5)
    metric = METRICS["average_precision"]

    first, again, other = (Resamples(target, card, day, n_resamples=20, seed=seed).spread(metric, score) for seed in (1, 1, 2))

    assert (first.by_card == again.by_card).all()
    assert (first.by_day == again.by_day).all()
    assert (first.by_card != other.by_card).any()


def judged_of(target, amount, *, is_known=None):
    n = len(target)
    return Judged(
        np.arange(n),
        target,
        np.arange(n),
        np.zeros(n, np.int64),
        np.zeros(n, np.bool_) if is_known is None else is_known,
        np.asarray(amount, float),
    )


def test_probabilities_that_are_right_have_slope_and_ratio_one():
    r = np.random.default_rng(0)
    logit = r.normal(-3, 2, 50_000)
    target = r.random(50_000) < sigmoid(logit)
    judged = judged_of(target, np.ones(50_000))

    right = fold_metrics(sigmoid(logit), judged, 0.5, Prices())
    extreme = fold_metrics(sigmoid(2 * logit + 3), judged, 0.5, Prices())

    assert right["slope"] == pytest.approx(1, abs=0.05)
    assert right["observed_over_expected"] == pytest.approx(1, abs=0.05)
    assert extreme["slope"] == pytest.approx(0.5, abs=0.05)


def test_cost_is_what_alerts_and_missed_frauds_cost():
    judged = judged_of(np.array([True, True, False, False]), [100.0, 40.0, 7.0, 7.0])

    found = fold_metrics(np.array([0.9, 0.1, 0.8, 0.0]), judged, 0.5, Prices(alert=5.0, loss_share=0.5))

    assert found["cost_per_1000"] == pytest.approx(1000 * (2 * 5.0 + 0.5 * 40.0) / 4)
    assert (found["precision"], found["recall"], found["alert_rate"]) == (0.5, 0.5, 0.5)


def test_known_cards_leave_card_precision_and_nothing_else():
    target = np.array([True, False, True, False])
    p = np.array([0.9, 0.8, 0.1, 0.0])

    alone = fold_metrics(p, judged_of(target, np.ones(4)), 0.5, Prices(), k=2)
    known = fold_metrics(p, judged_of(target, np.ones(4), is_known=np.array([True, False, False, False])), 0.5, Prices(), k=2)

    assert alone["card_precision_at_2"] == 0.5
    assert known["card_precision_at_2"] == 0.5  # the known fraud goes, the next one moves up
    assert known["card_reach_at_2"] == 1.0
    assert alone["card_reach_at_2"] == 0.5
    assert known["average_precision"] == alone["average_precision"]

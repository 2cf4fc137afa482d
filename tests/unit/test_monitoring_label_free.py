import numpy as np
import pytest

from monitoring.label_free import LabelFree


def _world(random):
    p = random.beta(0.2, 8, 400_000)
    return p, random.random(len(p)) < p, p > 0.1


def _realised(is_alert, is_fraud):
    return (is_alert & is_fraud).sum() / is_alert.sum(), (is_alert & is_fraud).sum() / is_fraud.sum()


def test_calibrated_scores_promise_what_comes_out():
    p, is_fraud, is_alert = _world(np.random.default_rng(1))
    expected = LabelFree.of(p, is_alert)
    precision, recall = _realised(is_alert, is_fraud)

    assert expected.precision == pytest.approx(precision, abs=0.01)
    assert expected.recall == pytest.approx(recall, abs=0.01)
    assert expected.frauds == pytest.approx(is_fraud.sum(), rel=0.03)


def test_the_promise_is_blind_to_a_changed_concept():
    random = np.random.default_rng(2)
    p, is_fraud, is_alert = _world(random)
    expected, (_, recall_before) = LabelFree.of(p, is_alert), _realised(is_alert, is_fraud)
    is_fraud |= random.random(len(p)) < 0.01  # a new kind, to which the model is blind
    _, recall = _realised(is_alert, is_fraud)

    assert expected.recall == pytest.approx(recall_before, abs=0.01)
    assert recall < expected.recall - 0.1


def test_nothing_is_promised_of_nothing():
    empty = LabelFree.of(np.zeros(0), np.zeros(0, np.bool_))

    assert (empty.precision, empty.recall, empty.frauds) == (None, None, 0.0)

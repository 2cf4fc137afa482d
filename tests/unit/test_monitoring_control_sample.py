import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.control_sample import FEWEST_FRAUDS, LEAST, MOST, control_recall, sampled


@given(ids=st.lists(st.text(min_size=1, max_size=64), max_size=50), scale=st.floats(0, 10), data=st.data())
def test_who_is_drawn_depends_on_the_transaction_alone(ids, scale, data):
    p = np.array(data.draw(st.lists(st.floats(0, 1), min_size=len(ids), max_size=len(ids))), np.float64)
    mask, pi = sampled(ids, p, scale)
    alone = [sampled([name], p[i : i + 1], scale) for i, name in enumerate(ids)]

    assert mask.tolist() == [bool(one.mask[0]) for one in alone]
    assert pi.tolist() == [float(one.pi[0]) for one in alone]
    assert (not scale and not mask.any() and not pi.any()) or ((pi >= LEAST) & (pi <= MOST)).all()


def test_a_share_of_pi_is_drawn_and_another_seed_draws_others():
    ids = [f"t{i}" for i in range(50_000)]
    for p, pi in ((0.0, LEAST), (0.01, 0.01), (0.25, 0.05), (1.0, 0.1)):
        mask = sampled(ids, np.full(len(ids), p), 0.1).mask
        other = sampled(ids, np.full(len(ids), p), 0.1, seed=b"another").mask

        assert mask.mean() == pytest.approx(pi, abs=4 * np.sqrt(pi / len(ids)))
        assert (mask & other).mean() <= 2 * pi**2 + 1e-4


def test_recall_is_unbiased_and_its_interval_covers_though_missed_frauds_have_low_scores():
    random = np.random.default_rng(5)
    p = random.beta(0.3, 8, 60_000)
    is_fraud, is_alert = random.random(len(p)) < p, p > 0.25
    truth = is_alert[is_fraud].mean()
    found = []
    for trial in range(120):
        mask, pi = sampled([f"{trial}-{i}" for i in range(4_000)], chosen := random.choice(p, 4_000), 0.5)
        fraud = random.random(4_000) < chosen
        found.append(control_recall(pi[mask], (chosen > 0.25)[mask], fraud[mask]))
    kept = [one for one in found if one is not None]

    assert len(kept) > 100
    assert np.mean([one.value for one in kept]) == pytest.approx(truth, abs=0.03)
    assert np.mean([one.low <= truth <= one.high for one in kept]) >= 0.9


def test_recall_is_not_told_below_ten_frauds():
    pi, yes = np.full(FEWEST_FRAUDS, 0.1), np.ones(FEWEST_FRAUDS, np.bool_)

    assert control_recall(pi[1:], yes[1:], yes[1:]) is None
    found = control_recall(pi, yes, yes)
    assert found.value == found.high == 1.0
    assert 0.5 < found.low < 0.9

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from monitoring.quality_facts import DAY_MS, EDGES, UNKNOWN, Amounts, Answers, DayFacts, Verdicts, average_precision, facts_of
from monitoring.quality_matured import Threshold, calibration, thresholds

DAY = 20_000 * DAY_MS
probabilities = st.one_of(st.sampled_from([0.0, 1.0, *EDGES[::40].tolist()]), st.floats(0, 1))
rows = st.lists(
    st.tuples(
        st.integers(0, DAY_MS - 1), probabilities, st.booleans(), st.sampled_from([0.0, 0.01]),
        st.sampled_from([None, False, True]), st.integers(-2, 40), st.one_of(st.none(), st.integers(0, 10_000)),
    ),
    min_size=1, max_size=40,
)  # fmt: skip


def _facts(found, day_ms=DAY):
    """Return the facts of rows (ms of the day, p, is_alert, pi, verdict, delay in days, amount); every third id is a stranger's."""
    ids = np.arange(len(found), dtype=np.uint64) * 3 + 1
    event = np.array([day_ms + row[0] for row in found], np.int64)
    answers = Answers(ids, event, *(np.array([row[i] for row in found], kind) for i, kind in ((1, float), (2, bool), (3, float))))
    labelled = [i for i, row in enumerate(found) if row[4] is not None]
    known = np.array([event[i] + found[i][5] * DAY_MS for i in labelled], np.int64)
    verdicts = Verdicts(
        np.append(ids[labelled], [99_999]).astype(np.uint64), np.array([*(found[i][4] for i in labelled), True]), np.append(known, DAY)
    )
    priced = [i for i, row in enumerate(found) if row[6] is not None]
    amounts = Amounts(ids[priced], np.array([found[i][6] for i in priced], np.int64))
    return facts_of(day_ms, answers, amounts, verdicts)


def _is_fraud(row):
    return row[4] is True and row[5] > 0


@given(found=rows)
def test_facts_are_what_counting_one_by_one_gives(found):
    facts = _facts(found)
    frauds = [row for row in found if _is_fraud(row)]

    assert (facts.n, facts.n_alerts) == (len(found), sum(row[2] for row in found))
    assert facts.expected == pytest.approx(sum(row[1] for row in found))
    assert facts.expected_alerted == pytest.approx(sum(row[1] for row in found if row[2]))
    assert facts.per_hour.tolist() == [sum(row[0] // 3_600_000 == hour for row in found) for hour in range(24)]
    assert facts.is_alert.tolist() == [row[2] for row in frauds]
    assert (facts.known_ms - facts.event_ms).tolist() == [row[5] * DAY_MS for row in frauds]
    assert facts.amount_minor.tolist() == [UNKNOWN if row[6] is None else row[6] for row in frauds]
    assert facts.fraud_p.tolist() == [row[1] for row in frauds]
    assert facts.control_is_fraud.tolist() == [_is_fraud(row) for row in found if row[3]]
    assert facts.n_in_bin.sum() == len(found)
    assert facts.brier == pytest.approx(np.mean([(row[1] - _is_fraud(row)) ** 2 for row in found]))


@given(found=rows)
def test_encoded_facts_are_the_same_facts(found):
    facts = _facts(found)

    assert DayFacts.decode(facts.encode()).encode() == facts.encode()


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x80", b"\x01", msgspec.msgpack.encode({"day_ms": 1})])
def test_bytes_that_are_no_facts_are_refused(content):
    with pytest.raises((msgspec.MsgspecError, KeyError, TypeError, ValueError)):
        DayFacts.decode(content)


@given(p=st.lists(probabilities, min_size=1, max_size=60), data=st.data())
def test_average_precision_is_that_of_scikit_learn(p, data):
    is_fraud = np.array(data.draw(st.lists(st.booleans(), min_size=len(p), max_size=len(p))))
    scores = np.array(p)
    found = average_precision(scores, scores[is_fraud])

    if is_fraud.any():
        assert found == pytest.approx(average_precision_score(is_fraud, scores))
    else:
        assert np.isnan(found)


@given(days=st.lists(rows, min_size=1, max_size=3), current=probabilities)
def test_thresholds_tell_what_would_have_been(days, current):
    facts = [_facts(found, DAY + place * DAY_MS) for place, found in enumerate(days)]
    every = [row for found in days for row in found]
    above = {fact.day_ms: sum(row[1] >= current for row in found) for fact, found in zip(facts, days, strict=True)}
    table = thresholds(facts, Threshold(current, above))
    frauds = [row for row in every if _is_fraud(row)]

    assert current in [row.threshold for row in table]
    assert [row.threshold for row in table] == sorted(row.threshold for row in table)
    for row in table:
        alerts = sum(one[1] >= row.threshold for one in every)
        caught = [one for one in frauds if one[1] >= row.threshold]
        assert row.alerts_per_day == pytest.approx(alerts / len(days))
        assert row.precision == (pytest.approx(len(caught) / alerts) if alerts else None)
        assert row.recall == (pytest.approx(len(caught) / len(frauds)) if frauds else None)
        assert row.caught_minor == round(sum(one[6] or 0 for one in caught) / len(days))
        assert row.missed_minor == round(sum(one[6] or 0 for one in frauds if one not in caught) / len(days))


@given(days=st.lists(rows, max_size=3))
def test_calibration_leaves_nobody_out(days):
    facts = [_facts(found, DAY + place * DAY_MS) for place, found in enumerate(days)]
    points = calibration(facts)
    every = [row for found in days for row in found]

    if any(row[1] for row in every):
        assert sum(point.n for point in points) == len(every)
        assert sum(point.share * point.n for point in points) == pytest.approx(sum(_is_fraud(row) for row in every))
        assert sum(point.mean_p * point.n for point in points) == pytest.approx(sum(row[1] for row in every))
        assert len(points) <= 10
        means = [point.mean_p for point in points]
        assert means == pytest.approx(sorted(means))
    else:
        assert points == []


def test_no_day_has_no_thresholds():
    assert thresholds([]) == []

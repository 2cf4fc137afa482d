"""Several features at once: what is usual, what is not, and what is said where something is missing."""

import numpy as np
import pytest

from features.feature_row import FeatureRow, encode_row
from features.spec import FEATURES, N_FEATURES, FeatureSettings, fingerprint
from monitoring.packed import HOUR_MS
from monitoring.together import ErrorRatio, compare
from service.vector_sample import sample_vectors
from service.web.drift_answers import TogetherAnswer
from service.web.together import TogetherView
from tests.unit.archive_sample import START_MS, add_file, make_archive, record

SPEC = fingerprint(FeatureSettings())
NAMES = [feature.name for feature in FEATURES]
MOVED, LINKED = NAMES.index("card_mean_7d"), NAMES.index("merchant_total_7d")
SHOWN = [*range(LINKED, LINKED + 2), MOVED, NAMES.index("event_hour_sin"), NAMES.index("card_transactions_ever")]
NOW_H = START_MS // HOUR_MS
WEEK_H = 168


def rows(seed, n=600, *, shift=0.0, correlation=0.95, offset=0.0):
    """Vectors of four known features, two of which go together; all others are missing. `offset` is the day's own."""
    r = np.random.default_rng(seed)
    found = np.full((n, N_FEATURES), np.nan, np.float32)
    common = r.normal(size=n)
    found[:, LINKED] = np.sinh(common)
    found[:, LINKED + 1] = np.sinh(correlation * common + np.sqrt(1 - correlation**2) * r.normal(size=n))
    found[:, MOVED] = np.sinh(r.normal(size=n) + shift + offset)
    found[:, NAMES.index("event_hour_sin")] = seed
    found[:, NAMES.index("card_transactions_ever")] = seed
    return found


def days(offsets=(0.0, 0.0, 0.0, 0.0)):
    return [rows(seed, offset=offset) for seed, offset in enumerate(offsets, start=1)]


def compared(recent, earlier):
    """The comparison, of the known features."""
    return compare(recent[:, SHOWN], [day[:, SHOWN] for day in earlier], [NAMES[place] for place in SHOWN], seed=1)


def test_a_day_like_the_others_is_not_told_though_the_clock_and_growing_features_would_tell_it():
    found = compared(rows(9), days())

    assert (found.is_told, found.is_looser) == (False, False)
    assert found.told.low < 0.5 < found.told.high
    assert not {"event_hour_sin", "card_transactions_ever"} & set(found.told_by)


def test_a_shifted_feature_is_told_by_its_name():
    found = compared(rows(9, shift=1.0), days())

    assert found.is_told
    assert found.told_by[0] == "card_mean_7d"


def test_a_shift_that_earlier_days_show_too_is_usual():
    found = compared(rows(9, shift=1.0), days(offsets=(-1.0, 1.5, 0.0, -0.5)))

    assert found.told.low > 0.5
    assert not found.is_told


def test_features_that_no_longer_go_together_are_told_by_the_reconstruction_error():
    found = compared(rows(9, correlation=0.0), days())

    assert found.is_looser
    assert found.error.low > 1
    assert not compared(rows(9), days()).is_looser


def test_with_one_earlier_day_nothing_is_usual_and_nothing_is_judged():
    found = compared(rows(9, shift=3.0, correlation=0.0), days()[:1])

    assert (found.usual_auc, found.usual_times, found.is_told, found.is_looser) == (None, None, False, False)
    assert found.told.low > 0.6


def archive_of(folder, *parts, spec=SPEC):
    """An archive that holds the vectors of days; each part is the day's first hour and its rows."""
    archive, n = make_archive(folder), 0
    for from_hour, vectors in parts:
        records = []
        for i, vector in enumerate(vectors):
            time_ms = from_hour * HOUR_MS + i * 24 * HOUR_MS // len(vectors)
            row = FeatureRow(f"t{n}", 0, 0, 0, n, time_ms, spec, (0, 0, -1, -1), vector.astype("<f4").tobytes())
            records.append(record(n, time_ms, encode_row(row)))
            n += 1
        add_file(archive, "features.v1", records, hour_ms=from_hour * HOUR_MS)
    return archive


def weeks(recent):
    """Four earlier weeks' days and today's."""
    earlier = [(NOW_H - 24 - WEEK_H * week, vectors) for week, vectors in enumerate(days(), start=1)]
    return [*reversed(earlier), (NOW_H - 24, recent)]


def answer_of(archive) -> TogetherAnswer:
    view = TogetherView(archive)
    view.refresh(SPEC, NOW_H + 1, 0)
    return view.answer


def test_the_view_says_by_what_a_day_is_told_from_the_same_hours_of_earlier_weeks(tmp_path):
    quiet = answer_of(archive_of(tmp_path / "quiet", *weeks(rows(9))))
    moved = answer_of(archive_of(tmp_path / "moved", *weeks(rows(9, shift=1.0))))
    loose = answer_of(archive_of(tmp_path / "loose", *weeks(rows(9, correlation=0.0))))

    assert (quiet.state, quiet.n_recent, quiet.n_earlier, quiet.event_ms) == ("well", 600, 2_400, START_MS)
    assert "cannot be told from those of the same hours of earlier weeks better than is usual" in quiet.sentence
    assert "Features go together as usual" in quiet.sentence
    assert f"error is {quiet.error_now / quiet.error_before:.2f} times" in quiet.sentence
    assert moved.state == "attention"
    assert "most by card_mean_7d" in moved.sentence
    assert loose.state == "attention"
    assert "less closely than is usual" in loose.sentence


def test_an_archive_younger_than_a_week_is_compared_with_the_days_that_it_holds(tmp_path):
    found = answer_of(archive_of(tmp_path, (NOW_H - 72, rows(1)), (NOW_H - 48, rows(2)), (NOW_H - 24, rows(9))))
    alone = answer_of(archive_of(tmp_path / "one", (NOW_H - 48, rows(2)), (NOW_H - 24, rows(9))))

    assert found.state == "well"
    assert "from those of the days before" in found.sentence
    assert (alone.state, alone.auc_usual) == ("empty", None)
    assert alone.auc is not None
    assert "another earlier day" in alone.advice


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], "holds 0 vectors of the last 24 archived hours"),
        ([(NOW_H - 24, rows(9, n=499))], "holds 499 vectors of the last 24 archived hours of event time; 500 are needed"),
        ([(NOW_H - 24, rows(9))], "holds no earlier day with 500 vectors"),
    ],
)
def test_with_too_few_vectors_it_says_what_is_missing(tmp_path, parts, words):
    found = answer_of(archive_of(tmp_path, *parts))

    assert (found.state, found.auc) == ("empty", None)
    assert words in found.sentence
    assert "weir archive" in found.advice


def test_without_an_archive_it_says_how_one_comes_and_with_a_contradicting_one_what_to_mend(tmp_path):
    nothing = answer_of(tmp_path / "nothing")
    archive = archive_of(tmp_path / "archive", *weeks(rows(9)))
    add_file(archive, "features.v1", [record(i, START_MS, b"x") for i in range(2_990, 3_010)])
    contradicting = answer_of(archive)

    assert "there is no archive at" in nothing.sentence
    assert "weir archive" in nothing.advice
    assert "neither holds the other" in contradicting.sentence


def test_a_day_is_compared_once_and_what_was_missing_is_looked_for_again_after_a_minute(tmp_path):
    view = TogetherView(tmp_path)
    archive_of(tmp_path)
    view.refresh(SPEC, NOW_H + 1, 0)
    archive_of(tmp_path, *weeks(rows(9)))
    view.refresh(SPEC, NOW_H + 1, 59_999)
    assert view.answer.auc is None
    view.refresh(SPEC, NOW_H + 1, 60_000)
    first = view.answer
    assert first.auc is not None

    view.refresh(SPEC, NOW_H + 2, 60_001)
    assert view.answer is first
    view.refresh(SPEC, NOW_H + 1, 1_000_000)
    assert view.answer is first
    view.refresh(SPEC, NOW_H + 2, 1_000_001)
    assert view.answer.event_ms == START_MS + HOUR_MS


def test_a_sample_holds_each_transaction_once_only_of_its_span_and_features_and_is_the_same_again(tmp_path):
    day = rows(1, n=200)
    archive = archive_of(tmp_path, (NOW_H - 48, rows(5)), (NOW_H - 24, day))
    again = FeatureRow("t600", 0, 0, 0, 900, (NOW_H - 24) * HOUR_MS, SPEC, (0, 0, -1, -1), day[0].tobytes())
    rest = [again, again._replace(transaction_id="l", kind=1), again._replace(transaction_id="s", spec="0" * 16)]
    rest += [again._replace(transaction_id="v", vector=b"")]
    add_file(archive, "features.v1", [record(900 + i, START_MS, encode_row(row)) for i, row in enumerate(rest)])
    span = (NOW_H - 24) * HOUR_MS, NOW_H * HOUR_MS

    everything = sample_vectors(archive, SPEC, span, most_rows=1_000, most_read=10_000)
    some = sample_vectors(archive, SPEC, span, most_rows=50, most_read=10_000)

    assert sorted(everything[:, MOVED].tolist()) == sorted(day[:, MOVED].tolist())
    assert some.tobytes() == sample_vectors(archive, SPEC, span, most_rows=50, most_read=10_000).tobytes() == everything[:50].tobytes()


def test_samples_that_are_cut_short_are_of_the_same_hours(tmp_path):
    archive, n, hours = make_archive(tmp_path), 0, []
    for day in (NOW_H - 48, NOW_H - 24):
        for hour in range(24):
            vector = np.full(N_FEATURES, hour, np.float32).tobytes()
            numbers, time_ms = range(n, n + 10), (day + hour) * HOUR_MS
            values = [encode_row(FeatureRow(f"t{i}", 0, 0, 0, i, time_ms, SPEC, (0, 0, -1, -1), vector)) for i in numbers]
            add_file(archive, "features.v1", [record(i, time_ms, one) for i, one in zip(numbers, values, strict=True)], hour_ms=time_ms)
            n += 10
        span = day * HOUR_MS, (day + 24) * HOUR_MS
        hours.append(set(sample_vectors(archive, SPEC, span, most_rows=1_000, most_read=40)[:, 0].tolist()))

    assert hours[0] == hours[1]
    assert len(hours[0]) == 4
    assert max(hours[0]) - min(hours[0]) > 12


def test_a_reconstruction_error_of_nothing_is_a_number():
    assert np.isfinite(ErrorRatio(1.0, 0.0, 0.5, 2.0).times)

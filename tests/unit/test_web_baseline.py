"""Noise limits from a history."""

import asyncio

import pytest

from domain.errors import HistoryError
from features.history import write_history
from service.demo_baseline import set_baseline
from service.web.baseline import WARM_UP_DAYS, measure_baseline
from service.web.evaluation import decoded_effects, keep_effects
from service.web.hours import HourLog
from service.web.watch import DriftWatch
from simulate.generate import generate
from tests.unit.web_scenes import NOW_MS, settings_of, shelf_of


def history_of(folder, n_days):
    write_history(generate(n_days=n_days, n_cards=40, seed=3), folder / "history.parquet")
    return folder / "history.parquet"


def test_a_history_sets_the_limits_so_that_drift_is_judged_from_the_first_day(tmp_path):
    shelf, champion = shelf_of(tmp_path)
    settings = settings_of(tmp_path)
    shares: list[float] = []

    effects = measure_baseline(settings, history_of(tmp_path, WARM_UP_DAYS + 31), shares.append)
    keep_effects(tmp_path / "monitoring", champion, effects)

    async def judged():
        watch = DriftWatch(shelf, tmp_path / "monitoring", "EUR")
        await watch.evaluate([], champion)
        found = await watch.answer("24h", NOW_MS)
        await watch.close()
        return found

    answer = asyncio.run(judged())
    assert 28 <= effects.n_days <= 32
    assert shares[-1] == 1.0
    assert (answer.model, answer.has_baseline, answer.baseline_days) == (champion, True, 28)


def test_a_history_that_is_too_short_is_refused_with_what_is_missing(tmp_path):
    shelf_of(tmp_path)

    with pytest.raises(HistoryError, match=r"holds \d+ days beside the 30 .* the baseline needs 28"):
        measure_baseline(settings_of(tmp_path), history_of(tmp_path, WARM_UP_DAYS + 10), lambda _: None)


def test_the_demo_measures_its_limits_once(tmp_path):
    _, champion = shelf_of(tmp_path)
    settings, history = settings_of(tmp_path), history_of(tmp_path, WARM_UP_DAYS + 31)
    shares: list[float] = []

    set_baseline(history, settings, champion, tmp_path, shares.append)
    n_measured = len(shares)
    (tmp_path / "monitoring" / "hours.sqlite").unlink()  # as the next run does
    set_baseline(history, settings, champion, tmp_path, shares.append)

    log = HourLog(tmp_path / "monitoring" / "hours.sqlite")
    kept = decoded_effects(log.kept(champion, "effects"))
    log.close()
    assert len(shares) == n_measured > 0
    assert kept.is_enough
    (tmp_path / f"noise-{champion}.npz").write_bytes(b"of an older version")
    set_baseline(history, settings, champion, tmp_path, shares.append)
    assert len(shares) > n_measured

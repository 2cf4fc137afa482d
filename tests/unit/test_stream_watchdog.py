"""What the watchdog calls stuck, and what it must not."""

import pytest

from stream.watchdog import Judge, Limits, Vitals

WELL = Vitals(is_flowing=True)


def verdicts(vitals, *, until_s, turned=lambda now_s: now_s, stopping_s=None):
    judge = Judge(Limits(), now_s=0.0)
    found = []
    for tick in range(int(until_s * 4) + 1):
        now_s = tick / 4
        if stopping_s is not None and now_s >= stopping_s:
            judge.stopping(now_s)
        found.append(judge.verdict(vitals(now_s), loop_turned_s=turned(now_s), now_s=now_s))
    return found


def test_a_process_that_works_is_left_alone_for_hours():
    assert not any(verdicts(lambda _: WELL, until_s=7200))


@pytest.mark.parametrize(
    ("vitals", "limit_s", "reason"),
    [
        (lambda _: Vitals(is_flowing=False), 60, "no records flow"),
        (lambda _: Vitals(is_flowing=True, has_coordinator_error=True), 2, "coordinator's error"),
        (lambda _: Vitals(is_flowing=True, stuck_since_s=0.0), 30, "unacknowledged for 30 s"),
    ],
)
def test_silence_ends_the_process_after_its_limit_and_not_before(vitals, limit_s, reason):
    found = verdicts(vitals, until_s=limit_s + 1)

    assert not any(found[: limit_s * 4 + 1])
    assert reason in found[limit_s * 4 + 1]


def test_a_coordinator_that_has_ended_is_noticed_at_once():
    assert "ended" in verdicts(lambda _: Vitals(is_flowing=True, is_coordinator_gone=True), until_s=0)[0]


def test_a_blocked_event_loop_is_noticed():
    found = verdicts(lambda _: WELL, until_s=16, turned=lambda now_s: min(now_s, 0.0))
    assert "event loop" in found[-1]


def test_a_coordinator_error_that_passes_does_no_harm():
    assert not any(verdicts(lambda now_s: Vitals(is_flowing=True, has_coordinator_error=now_s % 2 < 1), until_s=60))


def test_chunks_that_are_acknowledged_in_time_do_no_harm():
    assert not any(verdicts(lambda now_s: Vitals(is_flowing=True, stuck_since_s=now_s - 29), until_s=200))


def test_an_assignment_that_is_refused_again_and_again_waits_and_one_that_hangs_does_not():
    assert not any(verdicts(lambda now_s: Vitals(is_flowing=False, refused_s=now_s - 3), until_s=600))

    found = verdicts(lambda now_s: Vitals(is_flowing=False, refused_s=min(now_s, 100.0)), until_s=161)
    assert not any(found[: 160 * 4 + 1])
    assert "no records flow" in found[160 * 4 + 1]


def test_draining_has_its_time_whatever_else_is_silent_and_no_more():
    found = verdicts(lambda _: Vitals(is_flowing=False, stuck_since_s=-100.0), until_s=20, stopping_s=0.0)

    assert not any(found[: 9 * 4 + 1])
    assert "draining took longer than 9 s" in found[9 * 4 + 1]

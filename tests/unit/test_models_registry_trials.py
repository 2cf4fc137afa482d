"""Trials, rollback and policy in the registry: one line of history each, with who and why; and several writers at once."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from domain.errors import ModelError, NoChampion
from models.registry import Registry
from models.registry_history import Event, History, Rollout, State
from tests.unit.registry_places import PLACES, SHARED, place_of
from tests.unit.registry_samples import Clock, bundle_of


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def registry(place: str, tmp_path: Path, clock: Clock) -> Registry:
    return Registry(place_of(place, tmp_path), clock_ms=clock)


@pytest.fixture
def models(registry: Registry, tmp_path: Path) -> tuple[str, str, str]:
    """Three models; the first is champion."""
    return tuple(registry.register(bundle_of(tmp_path / name, name)) for name in ("one", "two", "three"))


def test_a_shadow_becomes_challenger_and_the_history_says_who_and_why(registry: Registry, models, clock: Clock):
    one, two, _ = models

    found = registry.shadow(two, who="ann", why="looks better")

    assert found == Rollout("shadow", two, 0.0, clock.now_ms)
    assert registry.state() == State({"champion": one, "challenger": two}, found, "")
    assert registry.reference("challenger") == two
    assert registry.history()[-1] == Event(
        clock.now_ms, "shadow", two, {"champion": one, "challenger": two}, "ann", "looks better", rollout=found
    )


def test_a_larger_canary_keeps_its_start_and_a_change_of_mode_begins_anew(registry: Registry, models, clock: Clock):
    _, two, _ = models
    registry.shadow(two)
    clock.now_ms += 5
    began_ms = clock.now_ms

    assert registry.canary(two, 5).started_ms == began_ms
    clock.now_ms += 5
    assert registry.canary(two, 20) == Rollout("canary", two, 20, began_ms)
    assert registry.shadow(two).started_ms == clock.now_ms


def test_the_same_trial_again_is_no_event(registry: Registry, models):
    _, two, _ = models
    registry.canary(two, 5)
    n_events = len(registry.history())

    registry.canary(two, 5)

    assert len(registry.history()) == n_events


def test_promoting_the_challenger_ends_its_trial_and_promoting_another_does_not(registry: Registry, models):
    one, two, three = models
    registry.shadow(two)
    registry.promote(three)
    assert registry.state().rollout is not None
    assert registry.aliases() == {"champion": three, "previous": one, "challenger": two}

    registry.promote("challenger", is_forced=True)

    assert registry.state() == State({"champion": two, "previous": three}, None, "")
    assert [event.is_forced for event in registry.history()[-2:]] == [False, True]


def test_ending_a_trial_leaves_the_champion(registry: Registry, models):
    one, two, _ = models
    registry.canary(two, 5)

    assert registry.end_rollout(who="weir", why="too many alerts") == two
    assert registry.state() == State({"champion": one}, None, "")
    with pytest.raises(ModelError, match="no model is on trial"):
        registry.end_rollout()


def test_a_rollback_brings_the_champion_before_and_a_second_one_undoes_it(registry: Registry, models):
    one, two, _ = models
    with pytest.raises(ModelError, match="nothing to roll back to"):
        registry.rollback()
    registry.promote(two)

    assert registry.rollback(who="ann", why="worse") == one
    assert registry.aliases() == {"champion": one, "previous": two}
    assert registry.rollback() == two
    assert [(event.event, event.model, event.who) for event in registry.history()[-2:]] == [
        ("rolled_back", one, "ann"), ("rolled_back", two, ""),
    ]  # fmt: skip


def test_what_cannot_be_on_trial_is_refused_and_changes_nothing(registry: Registry, models):
    one, two, three = models
    with pytest.raises(ModelError, match="beside itself"):
        registry.shadow(one)
    for percent in (0, 100, -1, float("nan")):
        with pytest.raises(ModelError, match="more than 0 and less than 100"):
            registry.canary(two, percent)
    with pytest.raises(ModelError, match="weir models list"):
        registry.shadow("nothing@0")
    registry.shadow(two)
    before = registry.stamp()
    with pytest.raises(ModelError, match=f"{two} is on trial"):
        registry.canary(three, 5)
    assert registry.stamp() == before


def test_a_trial_needs_a_champion(tmp_path: Path):
    root = tmp_path / "registry"
    registry = Registry(root)
    model = registry.register(bundle_of(tmp_path / "one", "one"))
    (root / "history.jsonl").unlink()

    with pytest.raises(NoChampion, match="promote one first"):
        registry.shadow(model)


def test_a_policy_is_in_force_after_its_event_and_survives_what_comes_later(registry: Registry, models):
    one, two, _ = models
    registry.set_policy("0badcafe", model=one, who="ann", why="holidays")
    registry.promote(two)

    assert registry.state().policy == "0badcafe"
    event = registry.history()[-2]
    assert (event.event, event.model, event.policy, event.who, event.why) == ("policy", one, "0badcafe", "ann", "holidays")
    n_events = len(registry.history())
    registry.set_policy("0badcafe")
    assert len(registry.history()) == n_events


@pytest.mark.parametrize(
    "change",
    [
        lambda r, model, seen: r.promote(model, expected=seen),
        lambda r, _, seen: r.rollback(expected=seen),
        lambda r, model, seen: r.shadow(model, expected=seen),
        lambda r, model, seen: r.canary(model, 5, expected=seen),
        lambda r, _, seen: r.end_rollout(expected=seen),
        lambda r, _, seen: r.set_policy("11111111", expected=seen),
        lambda r, _, seen: r.collect(0, expected=seen),
    ],
    ids=["promote", "rollback", "shadow", "canary", "end", "policy", "collect"],
)
def test_a_change_by_somebody_who_saw_another_state_is_refused(registry: Registry, models, clock: Clock, change):
    _, two, three = models
    registry.promote(two)
    registry.shadow(three)
    seen = registry.state()
    registry.set_policy("0badcafe")
    clock.now_ms += 10**9
    before = registry.stamp()

    with pytest.raises(ModelError, match="somebody else changed"):
        change(registry, three, seen)
    assert registry.stamp() == before
    change(registry, three, registry.state())


def test_the_stamp_differs_after_every_event_and_only_then(registry: Registry, models):
    _, two, _ = models
    stamps = [registry.stamp()]
    for change in (lambda: registry.shadow(two), registry.end_rollout, lambda: registry.set_policy("0badcafe")):
        assert registry.stamp() == stamps[-1]
        change()
        stamps.append(registry.stamp())

    assert len(set(stamps)) == 4


def test_the_stamp_of_an_empty_registry_is_empty(registry: Registry):
    assert registry.stamp() == ()


def test_lines_of_the_first_version_are_still_read(tmp_path: Path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"time_ms":5,"event":"registered","model":"weir@1","aliases":{"champion":"weir@1"}}\n')

    assert History(path).state() == State({"champion": "weir@1"}, None, "")
    assert History(path).events()[0].who == ""


_COUNTING = """
import sys
from pathlib import Path
from domain.errors import ModelError
from models.registry import Registry
from tests.unit.registry_places import place_of
registry = Registry(place_of(sys.argv[1], Path(sys.argv[2])))
done = 0
while done < int(sys.argv[3]):
    seen = registry.state()
    try:
        registry.set_policy(f"{int(seen.policy or '0', 16) + 1:08x}", expected=seen)
    except ModelError:
        continue
    done += 1
"""


@pytest.mark.parametrize("place", SHARED, indirect=True)
def test_no_update_of_several_writers_is_lost(registry: Registry, place: str, models, tmp_path: Path):
    n_writers, n_each = 4, 25
    writers = [
        subprocess.Popen([sys.executable, "-c", _COUNTING, place, str(tmp_path), str(n_each)]) for _ in range(n_writers)
    ]  # fmt: skip

    assert [writer.wait(120) for writer in writers] == [0] * n_writers
    assert int(registry.state().policy, 16) == n_writers * n_each
    assert [int(event.policy, 16) for event in registry.history()[3:]] == list(range(1, n_writers * n_each + 1))


_CHANGING = """
import sys
from pathlib import Path
from domain.errors import ModelError
from models.registry import Registry
from tests.unit.registry_places import place_of
registry, number = Registry(place_of(sys.argv[1], Path(sys.argv[2]))), int(sys.argv[3])
sys.argv.pop(1)
while True:
    for change in (
        lambda: registry.promote(sys.argv[3 + number % 3], who=f"writer {number}"), lambda: registry.canary(sys.argv[4], 5.0 + number),
        registry.rollback, lambda: registry.shadow(sys.argv[5]), registry.end_rollout, lambda: registry.set_policy(f"{number:08x}"),
    ):
        try:
            change()
        except ModelError:
            pass
"""


@pytest.mark.parametrize("place", SHARED, indirect=True)
def test_readers_see_whole_states_while_writers_are_killed(registry: Registry, place: str, models, tmp_path: Path):
    deadline = time.monotonic() + 120
    n_killed = n_looks = 0
    writers = [_changer(place, tmp_path, number, models) for number in range(3)]
    try:
        while n_killed < 6:
            assert time.monotonic() < deadline, "the writers write nothing"
            n_before = len(registry.history())
            while len(registry.history()) < n_before + 5 and time.monotonic() < deadline:
                _check(registry.state())
                n_looks += 1
            writers[n_killed % 3].send_signal(signal.SIGKILL)
            writers[n_killed % 3].wait(30)
            writers[n_killed % 3] = _changer(place, tmp_path, n_killed % 3, models)
            n_killed += 1
    finally:
        for writer in writers:
            writer.kill()
            writer.wait(30)

    assert n_looks
    lines, events = _written(place, tmp_path), registry.history()
    assert 0 <= len(lines) - len(events) <= (n_killed + len(writers)) * (place == "folder")  # a kill cuts one line short at most
    for event in events:
        _check(event.state)
    assert registry.promote(models[0]) == models[0]
    assert json.loads(_written(place, tmp_path)[-1])["aliases"]["champion"] == models[0]


def _changer(place: str, folder: Path, number: int, models: tuple[str, ...]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", _CHANGING, place, str(folder), str(number), *models])


def _written(place: str, folder: Path) -> list[bytes]:
    """The events as they lie there."""
    root = place_of(place, folder)
    if isinstance(root, Path):
        return (root / "history.jsonl").read_bytes().splitlines()
    return [root.read(f"history/{name}") for name in root.names("history")]


def _check(state: State) -> None:
    assert state.champion
    assert (state.rollout.model if state.rollout else None) == state.aliases.get("challenger")
    assert state.aliases.get("challenger") is None or state.policy == "" or len(state.policy) == 8

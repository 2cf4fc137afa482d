"""A worker follows the registry: what can be verified answers, what cannot changes nothing, and every change is told once."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import structlog

from domain.decision import Tier
from domain.errors import ConfigError, StoreUnavailable, Unavailable
from domain.model_event import ModelEvent
from features.spec import FeatureSettings, fingerprint
from models.bundle import BOOSTER, FULL, load_bundle
from models.policy import LivePolicy, Thresholds
from models.policy_store import PolicyStore
from models.registry import Registry
from models.rules import ListRule, Rules
from models.store import Store
from service.lineup_loading import LineupLoader
from service.model_watch import ModelWatch
from stream.lineup import Lineup, model_of
from stream.publisher import DeliveryFailed
from tests.unit.models_synthetic import vectors_of
from tests.unit.registry_places import ExclusiveFiles, place_of
from tests.unit.registry_samples import KEY, Installation

SPEC = fingerprint(FeatureSettings())
STRICT = LivePolicy(rules=Rules(lists=(ListRule(name="stolen", field="card_id", values=("c1",), outcome="decline"),)))
PATIENCE_S = 30.0


class Site:
    """A registry with a champion, and a worker's watch on it."""

    def __init__(self, folder: Path, root: Store | None = None) -> None:
        self.at = Installation(folder, root=root)
        self.registry = self.at.registry
        self.first = self.at.add("first")
        self.policies = PolicyStore(self.at.root)
        self.adopted: list[Lineup] = []
        self.told: list[ModelEvent] = []
        self.is_refusing = False
        self.n_put_off = 0
        self.running: ModelWatch

    def watch(self) -> ModelWatch:
        champion = load_bundle(self.registry.resolve("champion"), KEY, SPEC)
        loader = LineupLoader(self.registry, self.policies, KEY, SPEC, chunk_size=10)
        return ModelWatch(self.registry, loader, loader.first(champion), worker="w", poll_s=0.01)

    def set_policy(self, policy: LivePolicy) -> str:
        version = self.policies.write(policy, KEY)
        self.registry.set_policy(version, who="eve", why="a list")
        return version

    async def adopt(self, lineup: Lineup) -> None:
        if self.is_refusing:
            self.n_put_off += 1
            raise Unavailable("Redis does not answer")
        self.adopted.append(lineup)

    async def tell(self, event: ModelEvent) -> None:
        if self.is_refusing:
            raise DeliveryFailed("no broker")
        self.told.append(event)

    def play(self, *steps: tuple[Callable[[], object], Callable[[ModelWatch], bool]]) -> ModelWatch:
        """Do each step while the watch runs, and wait for what it must lead to."""

        async def body() -> ModelWatch:
            watch = self.running = self.watch()
            running = asyncio.create_task(watch.run(self.adopt, self.tell))
            async with asyncio.timeout(PATIENCE_S):
                for act, is_done in steps:
                    act()
                    while not is_done(watch):
                        assert not running.done(), running.exception()
                        await asyncio.sleep(0.01)
            running.cancel()
            return watch

        return asyncio.run(body())

    def damage(self, model: str, name: str = FULL) -> None:
        file = self.registry.resolve(model) / name
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(bytes(content))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def champion_is(model: str) -> Callable[[ModelWatch], bool]:
    return lambda watch: watch.model == model


def test_the_promoted_model_answers_and_a_rollback_needs_no_loading(site):
    second = site.at.add("second")
    graph = site.registry.resolve(site.first) / FULL

    watch = site.play(
        (lambda: site.registry.promote(second, who="ann", why="better"), champion_is(second)),
        (lambda: (graph.unlink(), site.registry.rollback(who="bob", why="worse")), champion_is(site.first)),
        (lambda: None, lambda _: len(site.told) == 2),
    )

    assert (watch.n_swaps, watch.n_refused) == (2, 0)
    assert [model_of(lineup.champion) for lineup in site.adopted] == [second, site.first]
    assert [(event.event, event.model, event.previous, event.who, event.why, event.worker) for event in site.told] == [
        ("model_promoted", second, site.first, "ann", "better", "w"),
        ("model_promoted", site.first, second, "bob", "worse", "w"),
    ]


@pytest.mark.parametrize("name", [FULL, BOOSTER, "manifest.json", "manifest.sig"])
def test_a_damaged_bundle_is_refused_once_and_the_old_model_goes_on(site, name):
    second = site.at.add("second")
    site.damage(second, name)

    watch = site.play(
        (lambda: site.registry.promote(second), lambda watch: watch.n_refused == 1),
        (lambda: site.at.add("third"), lambda _: len(site.told) >= 1),
    )

    assert (watch.model, watch.n_swaps, watch.n_refused) == (site.first, 0, 1)
    assert [(event.event, event.model) for event in site.told] == [("bundle_refused", second)]
    assert f"{site.first} goes on answering" in site.told[0].sentence


def test_after_two_refused_models_the_one_that_answers_is_still_there(site):
    bad, worse, good = (site.at.add(name) for name in ("bad", "worse", "good"))
    site.damage(bad)
    site.damage(worse)

    watch = site.play(
        (lambda: site.registry.promote(bad), lambda watch: watch.n_refused == 1),
        (lambda: site.registry.promote(worse), lambda watch: watch.n_refused == 2),
        (lambda: watch_forgets(site), champion_is(site.first)),
        (lambda: site.registry.promote(good), champion_is(good)),
    )

    assert watch.n_swaps == 1


def watch_forgets(site: Site) -> None:
    """As some time after a swap: only what answers, or may be asked for at once, stays loaded."""
    watch = site.running
    watch._loader.forget(watch.lineup)


def test_a_challenger_comes_and_goes_and_one_that_cannot_be_loaded_stays_away(site):
    second, bad = site.at.add("second"), site.at.add("bad")
    site.damage(bad)

    site.play(
        (lambda: site.registry.shadow(second, who="ann", why="a try"), lambda watch: watch.lineup.challenger is not None),
        (lambda: site.registry.canary(second, 5.0), lambda watch: watch.lineup.percent == 5.0),
        (lambda: site.registry.canary(second, 25.0), lambda watch: watch.lineup.percent == 25.0),
        (lambda: site.registry.end_rollout(why="enough"), lambda watch: watch.lineup.challenger is None),
        (lambda: site.registry.shadow(bad), lambda watch: watch.n_refused == 1),
        (lambda: None, lambda watch: watch.lineup.challenger is None and len(site.told) == 6),
    )

    small, large = site.adopted[1:3]
    assert small.started_ms == large.started_ms
    assert [(event.event, event.model, event.mode, event.percent) for event in site.told] == [
        ("rollout_started", second, "shadow", 0.0),
        ("rollout_ended", second, "shadow", 0.0),
        ("rollout_started", second, "canary", 5.0),
        ("rollout_started", second, "canary", 25.0),
        ("rollout_ended", second, "canary", 0.0),
        ("bundle_refused", bad, "", 0.0),
    ]
    assert site.told[0].why == "a try"


def test_a_promoted_challenger_is_champion_and_its_rollout_has_ended(site):
    second = site.at.add("second")

    watch = site.play(
        (lambda: site.registry.canary(second, 5.0), lambda watch: watch.lineup.challenger is not None),
        (lambda: site.registry.promote(second), champion_is(second)),
        (lambda: None, lambda _: len(site.told) == 3),
    )

    assert watch.lineup.challenger is None
    assert [event.event for event in site.told] == ["rollout_started", "model_promoted", "rollout_ended"]


def test_a_live_policy_holds_for_every_model_and_its_thresholds_for_their_own(site):
    second = site.at.add("second")
    strict = LivePolicy({Tier.FULL: Thresholds(0.0, 0.0)}, site.first, STRICT.rules)

    watch = site.play(
        (lambda: site.registry.shadow(second), lambda watch: watch.lineup.challenger is not None),
        (lambda: site.set_policy(strict), lambda watch: bool(watch.lineup.champion.rules)),
        (lambda: None, lambda _: len(site.told) == 2),
        (lambda: site.at.add("unrelated"), lambda watch: watch._stamp == site.registry.stamp()),
    )

    champion, challenger = watch.lineup.champion, watch.lineup.challenger
    assert champion.rules == challenger.rules == STRICT.rules
    probabilities = champion.score(vectors_of(50))
    assert champion.decide(probabilities, Tier.FULL) == ["decline"] * 50
    assert champion.decide(np.zeros(1), Tier.SMALL) == ["approve"]
    assert challenger.decide(np.zeros(1), Tier.FULL) == ["approve"]
    assert watch.n_swaps == 2
    changed = site.told[-1]
    assert (changed.event, changed.policy, changed.who, changed.why) == ("policy_changed", champion.policy_version, "eve", "a list")
    assert (changed.previous, changed.live) == (champion.manifest.policy.version, strict.version)


def test_a_policy_that_was_altered_is_refused_and_the_one_in_force_stays(site):
    version = site.policies.write(STRICT, KEY)
    site.registry.set_policy(version)
    other = site.policies.write(LivePolicy(), KEY)
    file = site.at.root / "policies" / f"{other}.json"
    file.write_bytes(file.read_bytes() + b" ")

    watch = site.play((lambda: site.registry.set_policy(other), lambda watch: watch.n_refused == 1))

    assert watch.lineup.champion.rules == STRICT.rules


def test_a_worker_does_not_start_without_the_policy_that_is_set(site):
    site.registry.set_policy(site.policies.write(STRICT, b"another key"))

    with pytest.raises(ConfigError, match="live policy cannot be used"):
        site.watch()


def test_what_could_not_be_made_ready_is_adopted_later_and_told_once(site):
    second = site.at.add("second")

    def begin() -> None:
        site.is_refusing = True
        site.registry.promote(second)

    def end() -> None:
        site.is_refusing = False

    watch = site.play(
        (begin, lambda _: site.n_put_off == 3), (end, champion_is(second)), (lambda: None, lambda _: len(site.told) == 1)
    )  # fmt: skip

    assert watch.n_swaps == 1


def test_what_serves_from_the_first_chunk_on_is_what_the_registry_says(site):
    second = site.at.add("second")
    site.registry.canary(second, 7.0)
    site.registry.set_policy(site.policies.write(STRICT, KEY))

    lineup = site.watch().lineup

    assert (model_of(lineup.champion), model_of(lineup.challenger), lineup.mode, lineup.percent) == (site.first, second, "canary", 7.0)
    assert lineup.champion.rules == STRICT.rules


@pytest.fixture
def away(tmp_path: Path) -> tuple[Site, ExclusiveFiles, Registry]:
    """A worker's registry in a store, the files it is reached by, and the registry as another machine reaches it."""
    root = place_of("exclusive", tmp_path)
    return Site(tmp_path, root), root._system, Registry(place_of("exclusive", tmp_path))


def test_while_the_store_is_away_the_model_goes_on_and_then_what_changed_is_followed(away):
    site, files, elsewhere = away
    second = site.at.add("second")
    n_before = 0

    def leave() -> None:
        nonlocal n_before
        files.n_answered, n_before = 0, files.n_requests

    with structlog.testing.capture_logs() as logs:
        watch = site.play(
            (leave, lambda _: files.n_requests > n_before + 3),
            (lambda: elsewhere.promote(second), lambda watch: files.n_requests > n_before + 9 and watch.model == site.first),
            (lambda: setattr(files, "n_answered", None), champion_is(second)),
            (lambda: None, lambda _: len(site.told) == 1),
        )

    assert (watch.n_swaps, watch.n_refused) == (1, 0)
    assert [line["event"] for line in logs if line["event"].startswith("registry")] == ["registry_not_followed", "registry_followed_again"]
    assert next(line["reason"] for line in logs if "reason" in line).endswith("cannot be used now: no route to the store")


def test_whichever_answer_of_the_store_is_missing_no_model_and_no_policy_is_refused(away, tmp_path):
    site, files, elsewhere = away
    second, third = site.at.add("second"), site.at.add("third")
    champion = load_bundle(site.registry.resolve("champion"), KEY, SPEC)
    loader = LineupLoader(site.registry, site.policies, KEY, SPEC, chunk_size=10)
    lineup = loader.first(champion).lineup
    elsewhere.promote(second)
    elsewhere.shadow(third)
    elsewhere.set_policy(PolicyStore(place_of("exclusive", tmp_path)).write(STRICT, KEY))

    n_put_off = 0
    for n_answered in range(200):
        files.n_answered = n_answered
        try:
            loaded = loader.follow(lineup)
            break
        except StoreUnavailable:
            n_put_off += 1

    assert n_put_off > 12
    assert loaded.refusals == []
    assert [model_of(loaded.lineup.champion), model_of(loaded.lineup.challenger)] == [second, third]
    assert loaded.lineup.champion.rules

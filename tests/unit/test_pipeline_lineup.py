"""Who answers a chunk: one lineup, named in every answer; the challenger for its cards alone, the rules before both."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.decision import Tier
from features.memory import MemoryLog
from models.rules import AmountLimit, ListRule, Rules
from monitoring.control_sample import uniform
from stream.lineup import Lineup, Release
from stream.scored import Scored, ShadowCount
from stream.shedding import Shedding
from tests.unit.pipeline_runs import Run, TinyScorer, alerts, records_of, rows, scores, timeless, transaction

VALUES = [transaction(i, card_id=f"c{i % 40}") for i in range(200)]
STARTED_MS = 1_790_000_000_000


class Challenger(TinyScorer):
    """Answers otherwise; the lower tier of both is another function still."""

    name, policy_version = "other", "p2"

    def score(self, vectors, *, tier: Tier = Tier.FULL):
        return (super().score(vectors, tier=tier) + 0.41) % 1.0


def canary(percent: float, started_ms: int = STARTED_MS) -> Lineup:
    return Lineup(TinyScorer(), Challenger(), "canary", percent, started_ms)


def run_of(lineup: Lineup, log: MemoryLog | None = None, **options) -> Run:
    run = Run(log, **options)
    run.lineup = lineup
    return run


def probabilities(messages, scorer) -> list[float]:
    vectors = np.stack([np.frombuffer(row.vector, np.float32) for row in rows(messages)])
    return scorer.score(vectors).tolist()


def test_a_shadow_is_asked_about_everything_and_changes_nothing_else():
    [plain] = Run()(records_of(VALUES))

    [messages] = run_of(Lineup(TinyScorer(), Challenger(), "shadow", 0.0, STARTED_MS))(records_of(VALUES))

    assert [(s.shadow.model, s.shadow.probability) for s in scores(messages)] == [
        ("other@1", p) for p in probabilities(messages, Challenger())
    ]
    without = b"".join(m.value for m in timeless(plain) if m.topic == "scores")
    assert b"shadow" not in without
    for one, other in ((scores(plain), scores(messages)), (alerts(plain), alerts(messages))):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert (a.probability, a.decision, a.model, a.policy, a.variant, a.flags) == (
                b.probability, b.decision, b.model, b.policy, b.variant, b.flags,
            )  # fmt: skip
    assert [alert.reasons for alert in alerts(plain)] == [alert.reasons for alert in alerts(messages)]


@given(percent=st.floats(0, 100), started_ms=st.integers(0, 1 << 45))
@settings(max_examples=40, deadline=None)
def test_a_canary_answers_its_cards_whole_and_every_answer_names_its_model(percent, started_ms):
    [messages] = run_of(canary(percent, started_ms))(records_of(VALUES))

    drawn = uniform([score.card_id for score in scores(messages)], b"weir canary %d" % started_ms) * 100 < percent
    ours, theirs = probabilities(messages, TinyScorer()), probabilities(messages, Challenger())
    for i, score in enumerate(scores(messages)):
        if drawn[i]:
            expected = ("other@1", "p2", "challenger", theirs[i], ("tiny@1", ours[i]))
            decision = Challenger().decide([theirs[i]], Tier.FULL)
        else:
            expected = ("tiny@1", "p1", "champion", ours[i], ("other@1", theirs[i]))
            decision = TinyScorer().decide([ours[i]], Tier.FULL)
        assert (score.model, score.policy, score.variant, score.probability, (score.shadow.model, score.shadow.probability)) == expected
        assert [score.decision] == decision


def test_a_larger_share_adds_cards_and_another_rollout_draws_others():
    cards = [f"c{i}" for i in range(20_000)]

    small, large = (set(canary(percent).challenged(cards).tolist()) for percent in (10, 30))
    another = set(canary(10, STARTED_MS + 1).challenged(cards).tolist())

    assert small < large
    assert abs(len(small) / 20_000 - 0.1) < 0.01
    assert abs(len(small & another) / len(small) - 0.1) < 0.04


def test_an_alert_of_the_challenger_says_what_its_score_says():
    [messages] = run_of(canary(50))(records_of(VALUES))

    by_source = {score.source: score for score in scores(messages)}
    assert {alert.variant for alert in alerts(messages)} == {"champion", "challenger"}
    for alert in alerts(messages):
        score = by_source[alert.source]
        assert (alert.model, alert.variant, alert.probability, alert.shadow) == (
            score.model,
            score.variant,
            score.probability,
            score.shadow,
        )
        assert alert.reasons


@pytest.mark.parametrize("is_far", [False, True])
def test_a_duplicate_names_what_answered_first_also_after_a_swap(is_far):
    log, n = MemoryLog(), len(VALUES)
    rules = Rules(amounts=(AmountLimit(name="large", amount_minor=5_000, outcome="review"),))
    ruled = canary(50)
    ruled.champion.rules = ruled.challenger.rules = rules
    run = run_of(ruled, log)
    again = records_of(VALUES, first=n)

    async def body():
        await run.assign()
        first = (await run.transactions.process(records_of(VALUES)))()
        second = run
        if is_far:  # another worker, which knows nothing but the decision index
            await run.store.note_answers()
            second = Run(log)
            await second.assign()
        second.lineup = Lineup(TinyScorer("9"))
        return first, (await second.transactions.process(again))()

    first, repeated = asyncio.run(body())

    assert {score.variant for score in scores(first)} == {"champion", "challenger"}
    assert {score.rule for score in scores(first)} == {None, "large"}
    for score, duplicate in zip(scores(first), scores(repeated), strict=True):
        assert "duplicate" in duplicate.flags
        for name in ("probability", "decision", "model", "policy", "variant", "rule", "tier"):
            assert getattr(duplicate, name) == getattr(score, name)
        assert duplicate.shadow is None


def test_a_chunk_keeps_the_lineup_that_it_began_with():
    run = Run()

    async def body():
        await run.assign()
        begun = await run.transactions.process(records_of(VALUES[:50]))
        run.lineup = Lineup(TinyScorer("2"))
        after = await run.transactions.process(records_of(VALUES[50:100], first=50))
        return scores(begun()), scores(after())

    before, after = asyncio.run(body())

    assert ({score.model for score in before}, {score.model for score in after}) == ({"tiny@1"}, {"tiny@2"})


def test_rules_decide_before_and_after_the_model_and_are_named():
    lists = (
        ListRule(name="trusted", field="card_id", values=("c1",), outcome="approve"),
        ListRule(name="stolen", field="card_id", values=("c1", "c2"), outcome="decline"),
    )
    run = Run()
    run.scorer.rules = Rules(lists=lists, amounts=(AmountLimit(name="large", amount_minor=5_000, outcome="review"),))
    [plain] = Run()(records_of(VALUES))

    [messages] = run(records_of(VALUES))

    for number, (score, without) in enumerate(zip(scores(messages), scores(plain), strict=True)):
        is_large = 100 + 37 * number >= 5_000
        if score.card_id == "c1":
            expected = ("review", "large") if is_large else ("approve", "trusted")
        elif score.card_id == "c2":
            expected = ("decline", "stolen")
        elif is_large and without.decision == "approve":
            expected = ("review", "large")
        else:
            expected = (without.decision, None)
        assert (score.decision, score.rule) == expected
        assert (score.probability, score.model, score.tier) == (without.probability, without.model, without.tier)
    assert [alert.source for alert in alerts(messages)] == [score.source for score in scores(messages) if score.decision != "approve"]


def test_rules_hold_for_the_challenger_and_in_an_outage():
    lineup = canary(50)
    lineup.challenger.rules = lineup.champion.rules = Rules(
        lists=(ListRule(name="stolen", field="card_id", values=tuple(f"c{i}" for i in range(40)), outcome="decline"),)
    )
    run = run_of(lineup)

    async def body():
        await run.assign()
        return (await run.transactions.process(records_of(VALUES)))(), run.transactions.degraded(records_of(VALUES, first=500))

    answered, degraded = asyncio.run(body())

    for messages in (answered, degraded):
        assert {(score.decision, score.rule) for score in scores(messages)} == {("decline", "stolen")}
    assert {score.variant for score in scores(answered)} == {"champion", "challenger"}
    assert {score.variant for score in scores(degraded)} == {"champion"}


class Late(Shedding):
    """Time is always short."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self.is_on = True

    def begin(self, append_ms, now_ms):
        return True


@pytest.mark.parametrize("lineup", [Lineup(TinyScorer()), Lineup(TinyScorer(), Challenger(), "shadow"), canary(50)])
def test_while_time_is_short_the_small_model_answers_and_nobody_else_is_asked(lineup):
    class Small(TinyScorer):
        def score(self, vectors, *, tier: Tier = Tier.FULL):
            assert tier is Tier.SMALL
            return super().score(vectors) / 2

    class SmallChallenger(Small):
        name, policy_version = "other", "p2"

        def score(self, vectors, *, tier: Tier = Tier.FULL):
            return super().score(vectors, tier=tier) + 0.5

    run = run_of(lineup._replace(champion=Small(), challenger=lineup.challenger and SmallChallenger()), shedding=Late())

    first, again = run(records_of(VALUES), records_of(VALUES, first=500))

    whole = probabilities(first, TinyScorer())
    for score, p in zip(scores(first), whole, strict=True):
        is_theirs = score.variant == "challenger"
        assert (score.probability, score.model) == ((p / 2 + 0.5, "other@1") if is_theirs else (p / 2, "tiny@1"))
    assert {score.tier for score in scores(first)} == {"small"}
    assert {score.shadow for score in scores(first)} == {None}
    assert [(s.tier, s.probability) for s in scores(again)] == [("small", s.probability) for s in scores(first)]
    is_canary = lineup.mode == "canary"
    assert {score.variant for score in scores(first)} == ({"champion", "challenger"} if is_canary else {"champion"})


def test_monitoring_is_told_of_each_variant_apart_and_of_the_shadow():
    found: list[Scored] = []

    [messages] = run_of(canary(50), on_scored=found.append)(records_of([*VALUES, *VALUES[:20]]))

    first = [score for score in scores(messages) if "duplicate" not in score.flags]
    assert [score.shadow for score in scores(messages) if "duplicate" in score.flags] == [None] * 20
    assert {scored.variant for scored in found} == {"champion", "challenger"}
    for scored in found:
        mine = [score for score in first if score.variant == scored.variant]
        assert (scored.model, scored.tier) == (mine[0].model, Tier.FULL)
        assert scored.probabilities.tolist() == [score.probability for score in mine]
        assert list(scored.outcomes) == [score.decision for score in mine]
        other = Challenger() if scored.variant == "champion" else TinyScorer()
        decided = other.decide([score.shadow.probability for score in mine], Tier.FULL)
        assert scored.shadow == ShadowCount(mine[0].shadow.model, len(mine), sum(outcome != "approve" for outcome in decided))


@given(
    model=st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,20}@[0-9a-f]{12}\Z"), policy=st.from_regex(r"\A[0-9a-f]{8}\Z"),
    variant=st.sampled_from(["champion", "challenger"]), rule=st.from_regex(r"\A([a-z0-9][a-z0-9._-]{0,63})?\Z"),
)  # fmt: skip
def test_a_release_is_read_as_it_was_written(model, policy, variant, rule):
    release = Release(model, policy, variant, rule)

    assert Release.decode(release.encode()) == release


def test_releases_of_earlier_versions_are_read_as_the_champions():
    assert Release.decode("weir@0123456789ab 89abcdef") == Release("weir@0123456789ab", "89abcdef", "champion", "")
    assert Release("weir@0123456789ab", "89abcdef").encode() == "weir@0123456789ab 89abcdef"

"""From records to an explanation: ranges, contributions, sentences, and what is said where something is missing."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from domain.card_mask import mask_card_values
from domain.decision import Tier
from features.index import Entry, decode_labels, encode_entry, encode_label
from features.spec import COLUMN, FEATURES, N_FEATURES, FeatureSettings, fingerprint
from models.decision_path import Answer, decision_path
from models.explainer import Explainer
from models.policy import LivePolicy, Thresholds, effective
from models.policy_store import PolicyStore
from monitoring.explanation import ExplainedLabel, Source, Threshold
from monitoring.profile import N_BINS, Profile
from monitoring.usual_range import usual_ranges
from service.explained_answer import explanation_of
from service.explained_index import Indexed
from service.explanation_text import print_explanation
from service.transaction_records import TransactionRecords, Vector
from tests.unit.models_synthetic import vectors_of
from tests.unit.web_scenes import KEY, registry_of, settings_of

SPEC = fingerprint(FeatureSettings())
CARD = "4111111111111111"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    registry, champion = registry_of(folder)
    return settings_of(folder), champion, registry


def _records(world, **changes):
    settings, champion, registry = world
    explainer = Explainer(registry.resolve("champion"), KEY)
    vector = vectors_of(50, 3)[7]
    score = {
        "transaction_id": "t1", "card_id": "c", "event_time_ms": 1_000, "probability": 0.9, "decision": "decline", "tier": "full",
        "flags": [], "model": champion, "policy": explainer.manifest.policy.version, "spec": SPEC, "source": [2, 40],
    }  # fmt: skip
    found = TransactionRecords(
        "topic",
        transaction={"transaction_id": "t1", "event_time_ms": 1_000, "amount_minor": 1999, "currency": "EUR", "extra": {"pan": CARD}},
        source=Source(topic="transactions.v1", partition=2, offset=40, append_ms=61_000),
        scores=[score],
        alert=score | {"reasons": [{"code": "amount", "text": "much", "contribution": 1.5}]},
        vectors=[Vector((), SPEC, vector.astype("<f4").tobytes())],
        labels=[ExplainedLabel(at_ms=90_000_000, is_fraud=True, source="chargeback")],
    )
    for name, value in changes.items():
        setattr(found, name, value)
    return settings, found, explainer, vector


def _explained(world, *, indexed=None, **changes):
    settings, found, explainer, vector = _records(world, **changes)
    return explanation_of(settings, "t1", found, indexed, []), explainer, vector


def test_contributions_are_those_of_the_booster_and_ranges_those_of_the_profile(world):
    found, explainer, vector = _explained(world)
    parts = explainer.contributions(vector, Tier.FULL)

    assert {feature.name: feature.contribution for feature in found.features} == {
        f.name: pytest.approx(float(parts[i]), abs=1e-4) for i, f in enumerate(FEATURES)
    }
    for feature in found.features:
        value = float(vector[COLUMN[feature.name]])
        usual = explainer.usual[feature.name]
        assert (feature.usual_low, feature.usual_high) == (usual.low, usual.high)
        assert feature.value == (None if np.isnan(value) else value)
        assert feature.is_unusual == usual.is_unusual(value)
    assert 0 < sum(feature.is_unusual for feature in found.features) < N_FEATURES / 4
    assert found.missing == []
    assert found.thresholds.review == explainer.manifest.policy.thresholds[Tier.FULL].review


def test_the_path_tells_place_model_comparison_and_label_in_order(world):
    found, _, _ = _explained(world)

    assert "record 40 of partition 2 of transactions.v1" in found.decision_path[0]
    assert "1 min after its event time" in found.decision_path[0]
    assert found.model in found.decision_path[1]
    assert "at or above the threshold for decline" in found.decision_path[2]
    assert found.decision_path[3].startswith("Labelled fraud by chargeback")
    assert found.score["reasons"][0]["text"] == "much"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vectors": []}, "feature vector was not found"),
        ({"vectors": [Vector((), "0" * 16, b"\0" * 4 * N_FEATURES)]}, "another feature spec"),
        ({"alert": None}, "the alert with its reasons was not found"),
        ({"labels": []}, "No label has come"),
        ({"scores": [], "alert": None}, "No answer to it was found"),
    ],
)
def test_what_is_missing_is_said(world, changes, words):
    found, _, _ = _explained(world, **changes)

    assert any(words in sentence for sentence in found.missing)
    assert all(feature.contribution is not None for feature in found.features) or "scores" in changes


def test_a_model_that_is_gone_costs_contributions_and_ranges_only(world):
    _, records, _, _ = _records(world)
    records.scores = [records.scores[0] | {"model": "weir@000000000000"}]
    found, _, _ = _explained(world, scores=records.scores)

    assert any("weir@000000000000 cannot be opened" in sentence for sentence in found.missing)
    assert found.thresholds is None
    assert len(found.features) == N_FEATURES
    assert {feature.contribution for feature in found.features} == {None}


def test_a_degraded_answer_is_explained_by_what_it_saw(world):
    _, records, explainer, vector = _records(world)
    degraded = records.scores[0] | {"tier": "degraded", "flags": ["degraded"]}
    blind = np.full(N_FEATURES, np.nan, np.float32)
    blind[:9] = vector[:9]
    vectors = [records.vectors[0], Vector(("degraded",), SPEC, blind.astype("<f4").tobytes())]
    restated = records.scores[0] | {"flags": ["restated"], "decision": "review", "probability": 0.5}
    found, _, _ = _explained(world, scores=[degraded, restated], vectors=vectors)
    parts = explainer.contributions(blind, Tier.FULL)

    assert np.array_equal(explainer.contributions(vector, Tier.DEGRADED), parts)
    assert not np.array_equal(explainer.contributions(vector, Tier.FULL), parts)
    assert sum(feature.value is not None for feature in found.features) <= 9
    assert {f.name: f.contribution for f in found.features}["event_log_amount"] == pytest.approx(float(parts[0]), abs=1e-4)
    assert "Answered once more with its history: review, at 50.0 %." in found.decision_path


def test_card_numbers_are_masked_wherever_they_stand(world):
    found, _, _ = _explained(world)

    assert CARD not in msgspec.json.encode(found).decode()
    assert found.transaction["extra"]["pan"] == "************1111"
    assert mask_card_values({"p": 0.4111111111111111, "n": int(CARD)}) == {"p": 0.4111111111111111, "n": "************1111"}


def test_the_index_alone_tells_entities_answer_and_labels(world):
    settings, _, _, _ = _records(world)
    entry = Entry(7, 5, 1_000, ("c9", "m9", None, None))
    indexed = Indexed(entry, is_applied=False, place=None, release="", labels=[])
    found = explanation_of(settings, "t1", TransactionRecords("index"), indexed, ["Kafka is away."])

    assert found.found_in == "index"
    assert found.transaction == {"transaction_id": "t1", "card_id": "c9", "merchant_id": "m9", "event_time_ms": 1_000}
    assert found.score is None
    assert found.missing[0] == "Kafka is away."
    assert any("claimed by a worker" in sentence for sentence in found.decision_path)


def test_the_text_names_the_strongest_features_and_everything_that_is_missing(world, capsys):
    found, _, _ = _explained(world, labels=[])
    print_explanation(found, show_all=False)
    text = capsys.readouterr().out

    assert all(feature.name in text for feature in found.features[:12])
    assert found.features[20].name + ":" not in text
    assert "19.99 EUR" in text
    assert all(sentence in text for sentence in (*found.missing, *found.decision_path))
    assert CARD not in text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer("approve", 0.1, Tier.FULL, (), "m@1", "p"), "below the threshold for review (20.0 %): approved"),
        (Answer("review", 0.2, Tier.FULL, (), "m@1", "p"), "at or above the threshold for review (20.0 %) and below that for decline"),
        (Answer("decline", 0.6, Tier.SMALL, (), "m@1", "p"), "at or above the threshold for decline (60.0 %): declined"),
        (Answer("review", 0.7, Tier.FULL, ("control",), "m@1", "p"), "released for review as part of the random sample"),
        (Answer("review", 0.1, Tier.FULL, (), "m@1", "p"), "something other than the model's own policy decided"),
        (Answer("decline", 0.1, Tier.RULES, (), "", "", rule="blocked_card"), "The rule blocked_card decided: declined."),
        (Answer("approve", 0.1, Tier.FULL, ("late", "stale"), "m@1", "p"), "Flag stale:"),
    ],
)
def test_the_path_says_what_decided(answer, words):
    assert words in " ".join(decision_path(answer, Thresholds(0.2, 0.6)))


def test_the_thresholds_of_a_policy_that_was_live_then_are_told(world):
    settings, champion, registry = world
    policy = LivePolicy({Tier.FULL: Thresholds(0.25, 0.75)}, champion)
    registry.set_policy(known := PolicyStore(Path(settings.model.registry)).write(policy, KEY))
    registry.set_policy("")
    version = effective(Explainer(registry.resolve("champion"), KEY).manifest.policy, policy, champion).version
    _, records, _, _ = _records(world)

    found, _, _ = _explained(world, scores=[records.scores[0] | {"policy": version}])

    assert known != version == found.policy
    assert found.thresholds == Threshold(review=0.25, decline=0.75)
    assert "threshold for decline (75.0 %): declined" in " ".join(found.decision_path)


def test_usual_ranges_hold_19_of_20_and_old_profiles_give_deciles():
    vectors = np.random.default_rng(1).normal(size=(20_000, 3)).astype(np.float32)
    vectors[:, 1] = np.nan
    vectors[:, 2] = 5.0
    profile = Profile.of(("card_mean_7d", "card_std_7d", "event_country"), vectors, np.full(10, 0.5))
    now, before = usual_ranges(profile), usual_ranges(Profile(profile.names, profile.edges, profile.counts))
    inside = (vectors[:, 0] >= now["card_mean_7d"].low) & (vectors[:, 0] <= now["card_mean_7d"].high)

    assert inside.mean() == pytest.approx(0.95, abs=0.001)
    assert (now["card_std_7d"].low, now["card_std_7d"].missing_share) == (None, 1.0)
    assert (now["event_country"].low, now["event_country"].high) == (None, None)
    assert (before["card_mean_7d"].low, before["card_mean_7d"].high) == pytest.approx((-1.28, 1.28), abs=0.05)
    assert np.array_equal(Profile.decode(profile.encode()).usual, profile.usual, equal_nan=True)
    assert profile.counts.shape == (4, N_BINS + 1)


def test_an_entry_gives_its_labels_back():
    data = encode_entry(
        Entry(1, 2, 3, ("c", "m", "d", None)), encode_label(7, 9, is_fraud=True, change=1) + encode_label(8, 11, is_fraud=False, change=-1)
    )

    assert [(label.source, label.label_ms, label.is_fraud) for label in decode_labels(data)] == [(7, 9, True), (8, 11, False)]

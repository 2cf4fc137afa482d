"""Robustness: the histories that are tried are altered as said, and a model that gives way is told from one that holds."""

import numpy as np
import polars as pl
import pytest

from domain.decision import Tier
from features.currency import Rates
from features.history import SCHEMA, normalised
from features.offline import replay
from features.spec import COLUMN, N_FEATURES, FeatureSettings, block
from models.robustness import Probes, missing_blocks, probes, small_changes
from simulate.generate import generate
from tests.unit.models_synthetic import trained, vectors_of


class Answers:
    """A model made by hand: its probability is a function of the vectors; thresholds are a real policy's, 0.5 in every tier."""

    def __init__(self, of) -> None:
        policy = trained().manifest.policy
        limits = {tier: type(found)(0.5, 0.9) for tier, found in policy.thresholds.items()}
        self.manifest = type(trained().manifest)(**{**_fields(trained().manifest), "policy": type(policy)(limits)})
        self._of = of

    def score(self, vectors, *, tier=Tier.FULL):
        if tier is Tier.DEGRADED:
            vectors = vectors.copy()
            vectors[:, block("state")] = np.nan
        return self._of(vectors).astype(np.float64)


def _fields(manifest) -> dict:
    return {name: getattr(manifest, name) for name in manifest.__struct_fields__}


AMOUNT = COLUMN["event_log_amount"]


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    return normalised(generate(n_days=12, n_cards=1_000, seed=3, fraud_share=0.05), "simulated")


@pytest.fixture(scope="module")
def tried(history) -> Probes:
    row = np.arange(5_000, len(history))
    is_fraud = history["story"].is_not_null().to_numpy()[row]
    return probes(history, row, is_fraud | (row % 3 == 0), is_fraud, seed=1)


def test_each_card_is_tried_once_and_alerted_frauds_are_split(history, tried):
    cards = history["card_id"].gather(tried.rows)

    assert cards.n_unique() == len(cards) == history["card_id"].gather(np.arange(5_000, len(history))).n_unique()
    assert tried.is_split.sum() > 20
    assert (history["story"].is_not_null().to_numpy()[tried.rows] == tried.is_split).all()


def test_amounts_change_by_one_per_cent_and_the_rest_of_the_history_stays(history, tried):
    kept = tried.history.filter(pl.Series(tried.keep))
    before, after = history["amount_minor"].to_numpy()[tried.rows], kept["amount_minor"].to_numpy()
    changed = ~tried.is_split[tried.origin]
    moved = after[changed] - before[tried.origin[changed]]

    assert (np.abs(moved) == np.maximum(np.round(before[tried.origin[changed]] * 0.01), 1)).all()
    assert (moved > 0).any()
    assert (moved < 0).any()
    untouched = history.select(*SCHEMA).filter(~pl.int_range(pl.len()).is_in(tried.rows.tolist()))
    assert tried.history.filter(pl.Series(~tried.keep)).equals(untouched)
    normalised(tried.history, "altered")  # still a history


def test_a_split_purchase_is_the_same_amount_within_a_minute(history, tried):
    kept = tried.history.filter(pl.Series(tried.keep)).with_columns(probe=pl.Series(tried.origin))
    parts = kept.filter(pl.Series(tried.is_split[tried.origin])).group_by("probe").agg(
        pl.len().alias("n"), pl.col("amount_minor").sum(), (pl.col("event_time_ms").max() - pl.col("event_time_ms").min()).alias("apart")
    ).sort("probe")  # fmt: skip

    assert (parts["n"] == 2).all()
    assert (parts["apart"] == 60_000).all()
    assert parts["amount_minor"].to_list() == history["amount_minor"].gather(tried.rows[np.flatnonzero(tried.is_split)]).to_list()


@pytest.fixture(scope="module")
def both(history, tried) -> tuple[np.ndarray, np.ndarray]:
    settings, rates = FeatureSettings(), Rates("EUR")
    keep = np.zeros(len(history), np.bool_)
    keep[tried.rows] = True
    before = replay(history, settings, rates, keep=keep)[np.argsort(np.argsort(tried.rows))]
    return before, replay(tried.history, settings, rates, keep=tried.keep)


def outcomes(candidate: Answers, champion: Answers | None, tried: Probes, both) -> list[str]:
    return [check.outcome for check in small_changes(candidate, champion, tried, *both)]


def test_a_model_that_does_not_look_at_amounts_holds(tried, both):
    steady = Answers(lambda x: np.ones(len(x)))

    assert outcomes(steady, None, tried, both) == ["passed", "passed"]


def test_a_model_that_turns_on_the_last_cent_is_refused_unless_the_champion_does_too(tried, both):
    nervous = Answers(lambda x: np.floor(np.expm1(x[:, AMOUNT].astype(np.float64)) * 100) % 2)
    steady = Answers(lambda x: np.ones(len(x)))

    assert outcomes(nervous, None, tried, both)[0] == "refused"
    assert outcomes(nervous, steady, tried, both)[0] == "refused"
    assert outcomes(nervous, nervous, tried, both)[0] == "passed"


def test_a_model_that_splitting_deceives_is_refused(tried, both):
    before, _ = both
    limit = float(np.quantile(before[tried.is_split, AMOUNT], 0.4))
    simple = Answers(lambda x: (x[:, AMOUNT] >= limit).astype(np.float64))

    check = small_changes(simple, None, tried, *both)[1]

    assert check.name == "split purchases"
    assert check.outcome == "refused"
    assert check.figures["share"] < 0.8


def test_too_few_alerts_are_not_assessed(tried, both):
    assert outcomes(Answers(lambda x: np.zeros(len(x))), None, tried, both) == ["not assessed", "not assessed"]


def test_a_model_that_goes_silent_or_wild_without_a_block_is_refused():
    x = vectors_of(2_000)
    places = x[:, block("place")]
    needs_places = Answers(lambda v: np.isfinite(v[:, block("place")]).any(axis=1))
    fears_holes = Answers(lambda v: np.isnan(v[:, block("merchant_labels")]).mean(axis=1) > 0.2)
    steady = Answers(lambda v: v[:, AMOUNT] > 7)
    assert N_FEATURES == x.shape[1] > places.shape[1]

    found = {name: missing_blocks(model, None, x) for name, model in (("silent", needs_places), ("wild", fears_holes), ("steady", steady))}

    assert {name: check.outcome for name, check in found.items()} == {"silent": "refused", "wild": "refused", "steady": "passed"}
    assert "without place alerts become 0.00 x" in found["silent"].sentence
    assert missing_blocks(needs_places, needs_places, x).outcome == "passed"
    assert missing_blocks(needs_places, steady, x).outcome == "refused"
    assert missing_blocks(Answers(lambda v: np.zeros(len(v))), None, x).outcome == "not assessed"

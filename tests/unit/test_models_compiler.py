"""A compiled graph says what the members' own libraries say, bit for bit where it can, whatever the input."""

import numpy as np
import pytest

from domain.decision import Tier
from domain.errors import ModelError
from features.spec import N_FEATURES
from models.bundle import FULL, SMALL
from models.calibration import Platt
from models.ensemble import compile_ensemble, compile_members
from models.fitted import trees_of
from models.graph import Graph
from models.graph_input import VECTORS
from models.members import MEMBERS
from models.missing import with_missing_blocks, without_state
from models.parity import TOLERANCE, check_parity, reference_rows
from models.policy import Thresholds
from models.session import open_session, run_in_blocks
from tests.unit.models_synthetic import all_members, dataset_of, fitted, trained, vectors_of


@pytest.fixture(scope="module")
def hard_rows() -> np.ndarray:
    return reference_rows(dataset_of().vectors, trees_of(all_members()), seed=5)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_compiled_member_equals_its_library_on_hard_rows(name: str, hard_rows: np.ndarray):
    ensemble = all_members()
    one = {name: ensemble.members[name]}

    expected = one[name].logit(ensemble.tables.encode(hard_rows))
    found = run_in_blocks(compile_members(one, ensemble.tables), "members", hard_rows, 1)[:, 0]

    assert np.abs(found - expected).max() < 5e-4
    assert np.abs(Platt(1, 0).probability(found) - Platt(1, 0).probability(expected)).max() < TOLERANCE


def test_trees_are_exact_on_their_splits_and_where_values_are_missing(hard_rows: np.ndarray):
    booster = fitted().ensemble.members["xgboost"]
    encoded = fitted().ensemble.tables.encode(hard_rows)

    found = run_in_blocks(compile_members({"xgboost": booster}, None), "members", encoded, 1)[:, 0]

    assert np.abs(found - booster.logit(encoded)).max() < 5e-6


def test_category_encodings_are_the_graphs_first_nodes(hard_rows: np.ndarray):
    tables = fitted().ensemble.tables
    graph = Graph()
    content = graph.finish(encoded=graph.categories(tables))

    found = run_in_blocks(content, "encoded", hard_rows, 1)

    assert np.array_equal(found.astype(np.float32), tables.encode(hard_rows), equal_nan=True)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 13, 16, 17, 100, 255])
def test_a_row_scores_the_same_bits_alone_and_among_others(size: int):
    rows = vectors_of(600, 3)
    session = open_session(compile_ensemble(all_members()))

    whole = session.run(["logit"], {"X": rows})[0]
    parts = np.concatenate([session.run(["logit"], {"X": rows[i : i + size]})[0] for i in range(0, len(rows), size)])

    assert np.array_equal(whole, parts)


@pytest.mark.parametrize("width", [1, 2, 3, 15, 17, 94, 187])
def test_a_sum_along_a_row_is_the_same_bits_wherever_the_row_stands(width: int):
    graph = Graph()
    bounds = [graph.constant([value], np.int64) for value in (0, width, 1)]
    columns = graph.op("Slice", VECTORS, *bounds)
    session = open_session(graph.finish(total=graph.row_sum(columns, width)))
    rows = np.random.default_rng(2).lognormal(size=(40, N_FEATURES)).astype(np.float32)

    whole = session.run(["total"], {VECTORS: rows})[0]

    assert np.array_equal(whole, np.concatenate([session.run(["total"], {VECTORS: row[None]})[0] for row in rows]))
    assert whole[:, 0] == pytest.approx(rows[:, :width].sum(axis=1), rel=1e-5)


def test_the_gate_passes_what_was_compiled():
    parity = trained().manifest.parity

    assert all(parity[name].n_rows >= 10_000 and parity[name].largest_difference <= TOLERANCE for name in (FULL, SMALL))


def test_the_gate_refuses_a_graph_that_differs():
    rows = vectors_of(200)
    tiers = [(Platt(1.0, 0.0), Thresholds(0.3, 0.6))]
    logit = np.linspace(-1, 1, 200)

    with pytest.raises(ModelError, match=r"model\.onnx differs from the fitted members .* the bundle is not written"):
        check_parity(rows, lambda _: logit, lambda _: logit + 1e-3, tiers, "model.onnx")


def test_the_gate_refuses_an_answer_that_is_not_a_number():
    tiers = [(Platt(1.0, 0.0), Thresholds(0.3, 0.6))]

    with pytest.raises(ModelError):
        check_parity(vectors_of(2), lambda _: np.zeros(2), lambda _: np.array([0.0, np.nan]), tiers, "model.onnx")


def test_rows_repeated_without_a_block_keep_target_and_the_event_itself():
    x = vectors_of(1_000)
    target = np.arange(1_000) % 7 == 0

    found, found_target, _ = with_missing_blocks(x, target, np.ones(1_000), seed=1)
    n_stateless = np.isnan(found[1_000:1_100]).sum(axis=1).min()

    assert len(found) == 1_250
    assert np.array_equal(found[:1_000], x, equal_nan=True)
    assert found_target[1_000:].mean() == pytest.approx(target.mean(), abs=0.06)
    assert n_stateless == np.isnan(without_state(x)).sum(axis=1).min()


def test_each_tier_has_its_own_calibration_and_thresholds():
    manifest = trained().manifest

    assert set(manifest.calibration) == set(manifest.policy.thresholds) == {Tier.FULL, Tier.SMALL, Tier.DEGRADED}
    assert manifest.calibration[Tier.FULL] != manifest.calibration[Tier.DEGRADED]

"""Variants of one ensemble: each proved against its own reference, calibrated for itself, and servable."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from domain.decision import Tier
from domain.errors import ModelError
from features.spec import FeatureSettings, fingerprint
from models.bundle import FULL, load_bundle, write_bundle
from models.ensemble import compile_members
from models.members import MEMBERS
from models.parity import TOLERANCE
from models.pruned import pruned
from models.quantised import quantised
from models.session import run_in_blocks
from models.trees import TreeMember
from models.variant import VARIANTS, file_of
from models.variant_bundle import as_variant, variant_graphs
from tests.unit.models_synthetic import SMALL, all_members, dataset_of, trained, vectors_of

KEY = b"k"
TREES = tuple(name for name in MEMBERS if name not in ("logistic_regression", "svm", "mlp"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bundle")
    write_bundle(place, trained().manifest, trained().files, KEY)
    return place


@pytest.mark.parametrize("name", TREES)
def test_a_members_leaves_add_up_to_its_own_answer(name: str):
    member = all_members().members[name]
    rows = all_members().tables.encode(dataset_of().vectors[:500])
    assert isinstance(member, TreeMember)

    nodes, starts = member.nodes(), np.flatnonzero(member.nodes().node == 0)
    total = nodes.leaf[starts + member.leaves(rows)].sum(axis=1, dtype=np.float64) + nodes.offset

    assert member.link(total) == pytest.approx(member.logit(rows), abs=2e-4)


@pytest.mark.parametrize("change", [pruned, quantised])
@pytest.mark.parametrize("name", TREES)
def test_a_changed_member_is_compiled_exactly(name: str, change):
    member = change(all_members().members[name])
    rows = all_members().tables.encode(dataset_of().vectors[:1_000])

    found = run_in_blocks(compile_members({name: member}, None), "members", rows, 1)[:, 0]

    assert found == pytest.approx(member.logit(rows), abs=1e-4)


def test_pruning_keeps_the_first_trees_and_the_scale_of_a_mean():
    forest, booster = (all_members().members[name] for name in ("extra_trees", "xgboost"))
    rows = all_members().tables.encode(dataset_of().vectors[:2_000])

    fewer = pruned(forest).table

    assert int(fewer.tree[-1]) + 1 == -(-SMALL.sizes.extra_trees // 3)
    assert int(pruned(booster).table.tree[-1]) + 1 == -(-SMALL.sizes.boosting_rounds // 2)
    assert np.corrcoef(pruned(forest).logit(rows), forest.logit(rows))[0, 1] > 0.7
    shares = [1 / (1 + np.exp(-(one.logit(rows) - forest.shift))) for one in (pruned(forest), forest)]
    assert shares[0].mean() == pytest.approx(shares[1].mean(), rel=0.3)


def test_rounded_leaves_are_whole_numbers_of_eight_bits_and_stay_near():
    member = all_members().members["xgboost"]
    rows = all_members().tables.encode(dataset_of().vectors[:2_000])

    found = quantised(member)

    assert np.array_equal(found.table.leaf, np.rint(found.table.leaf))
    assert np.abs(found.table.leaf).max() == 127
    assert np.abs(found.logit(rows) - member.logit(rows)).max() < SMALL.sizes.boosting_rounds * found.unit / 2
    assert not np.array_equal(found.logit(rows), member.logit(rows))


@pytest.mark.parametrize("name", ["logistic_regression", "mlp", "svm"])
def test_a_member_without_trees_stays_as_it_is(name: str):
    member = all_members().members[name]

    assert pruned(member) is quantised(member) is member


def test_a_bundle_says_of_each_variant_how_large_and_how_good_it_is():
    found = trained().manifest.variants

    assert set(found) == {"small", "pruned", "int8-leaf"}
    assert found["pruned"].n_bytes < 0.7 * len(trained().files[FULL])
    assert found["int8-leaf"].n_bytes_compressed < _zipped(trained().files[FULL])
    for name in VARIANTS:
        assert found[name].n_bytes == len(trained().files[file_of(name)])
        assert found[name].parity.n_rows >= 10_000
        assert found[name].parity.largest_difference <= TOLERANCE
        assert set(found[name].calibration) == {Tier.FULL, Tier.DEGRADED}
    assert found["int8-leaf"].n_flips < found["pruned"].n_flips < found["pruned"].n_rows / 20
    assert found["int8-leaf"].metrics["average_precision"] == pytest.approx(
        trained().manifest.metrics["ensemble"]["average_precision"], abs=0.02
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_becomes_a_model_of_its_own_that_a_worker_loads(folder: Path, tmp_path: Path, name: str):
    manifest, files = as_variant(folder, KEY, name)
    write_bundle(tmp_path / name, manifest, files, KEY)
    full, scorer = (load_bundle(place, KEY, fingerprint(FeatureSettings())) for place in (folder, tmp_path / name))
    rows = vectors_of(3_000, 9)

    difference = np.abs(scorer.score(rows) - full.score(rows))
    alerts = np.mean([outcome != "approve" for outcome in scorer.decide(scorer.score(rows), Tier.FULL)])

    assert manifest.graph == name
    assert scorer.version != full.version
    assert 0 < difference.max() < 0.9
    assert alerts == pytest.approx(SMALL.alert_rate, abs=0.002)
    assert np.array_equal(scorer.score(rows, tier=Tier.SMALL), full.score(rows, tier=Tier.SMALL))


def test_a_variant_that_the_bundle_does_not_hold_is_refused(folder: Path):
    for name in ("small", "float16"):
        with pytest.raises(ModelError, match="it holds: pruned, int8-leaf"):
            as_variant(folder, KEY, name)


def test_every_graph_of_a_bundle_is_read_after_it_was_verified(folder: Path):
    graphs = variant_graphs(folder, KEY)[2]

    assert list(graphs) == ["full", "small", "pruned", "int8-leaf"]
    assert graphs["pruned"] == trained().files[file_of("pruned")]


def test_a_variants_graph_that_differs_from_its_reference_is_not_built(monkeypatch: pytest.MonkeyPatch):
    from models import variants
    from tests.unit.models_synthetic import fitted

    compiled = variants.compile_ensemble

    def wrong(ensemble):
        platt = {name: msgspec.structs.replace(one, intercept=one.intercept + 1e-2) for name, one in ensemble.mixture.calibration.items()}
        return compiled(type(ensemble)(ensemble.tables, ensemble.members, type(ensemble.mixture)(platt, ensemble.mixture.weight)))

    monkeypatch.setattr(variants, "compile_ensemble", wrong)

    with pytest.raises(ModelError, match=r"pruned\.onnx differs from the fitted members"):
        fitted().finish(name="weir", features=FeatureSettings(), rates="0" * 16, warnings=())


def _zipped(content: bytes) -> int:
    import zlib

    return len(zlib.compress(content, 6))

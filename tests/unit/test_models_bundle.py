"""A bundle is trusted only after its signature, and nothing is opened before."""

import json
import pickle
import stat
from pathlib import Path

import joblib
import msgspec
import numpy as np
import pytest

from domain.decision import Tier
from domain.errors import BundleRejected, ConfigError, FeatureSpecMismatch
from features.spec import FEATURES, FeatureSettings, fingerprint
from models.bundle import FULL, MEMBERS, PROFILE, SERVING, load_bundle, verify_bundle, write_bundle
from models.manifest import FORMAT, MANIFEST, SIGNATURE
from models.scorer import Scorer
from models.signature import sign, signing_key
from models.training import fit
from monitoring.profile import N_BINS, SCORE, Profile, count
from tests.unit.models_synthetic import SMALL, WINDOW, dataset_of, fitted, trained, vectors_of

KEY = b"a key"
SPEC = fingerprint(FeatureSettings())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", trained().manifest, trained().files, KEY)
    return tmp_path / "bundle"


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    place = tmp_path_factory.mktemp("bundle")
    write_bundle(place, trained().manifest, trained().files, KEY)
    return load_bundle(place, KEY, SPEC)


class Bomb:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("unpickled"),))


def test_a_tampered_pickle_is_refused_and_not_opened(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (folder / MEMBERS).write_bytes(pickle.dumps(Bomb()))

    with pytest.raises(BundleRejected, match=r"members\.joblib .* was altered"):
        load_bundle(folder, KEY, SPEC)
    assert not (tmp_path / "unpickled").exists()


def test_a_correct_bundle_is_loaded_without_unpickling_anything(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    files = {**trained().files, MEMBERS: pickle.dumps(Bomb())}
    write_bundle(tmp_path / "signed", trained().manifest, files, KEY)

    load_bundle(tmp_path / "signed", KEY, SPEC)

    assert not (tmp_path / "unpickled").exists()


def test_the_signature_is_checked_before_any_other_file_is_read(folder: Path):
    manifest = folder / MANIFEST
    manifest.write_bytes(manifest.read_bytes().replace(b'"weir"', b'"evil"'))
    for path in folder.iterdir():
        if path.name not in (MANIFEST, SIGNATURE):
            path.unlink()

    with pytest.raises(BundleRejected, match="signature does not fit"):
        load_bundle(folder, KEY, SPEC)


def test_another_key_is_refused(folder: Path):
    with pytest.raises(BundleRejected, match=r"model\.signing_key"):
        load_bundle(folder, b"another", SPEC)


def test_an_unsigned_bundle_is_refused(folder: Path):
    (folder / SIGNATURE).unlink()

    with pytest.raises(BundleRejected, match="not signed"):
        load_bundle(folder, KEY, SPEC)


@pytest.mark.parametrize("name", [FULL, SERVING, PROFILE])
def test_an_altered_or_missing_file_is_refused_by_name(folder: Path, name: str):
    (folder / name).write_bytes((folder / name).read_bytes()[:-1] + b"x")
    with pytest.raises(BundleRejected, match=f"{name} .* was altered"):
        load_bundle(folder, KEY, SPEC)

    (folder / name).unlink()
    with pytest.raises(BundleRejected, match=f"no readable {name}"):
        load_bundle(folder, KEY, SPEC)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": FORMAT + 1}, "upgrade weir"),
        ({"surprise": 1}, "cannot be read"),
        ({"files": {}}, "lacks"),
        ({"format": None}, "cannot be read"),
    ],
)
def test_a_signed_manifest_that_is_too_new_or_wrong_is_refused(folder: Path, change: dict[str, object], sentence: str):
    content = json.dumps(json.loads((folder / MANIFEST).read_bytes()) | change).encode()
    (folder / MANIFEST).write_bytes(content)
    (folder / SIGNATURE).write_bytes(sign(content, KEY))

    with pytest.raises(BundleRejected, match=sentence):
        load_bundle(folder, KEY, SPEC)


def test_a_manifest_cannot_name_a_file_outside_the_bundle(folder: Path):
    found = json.loads((folder / MANIFEST).read_bytes())
    content = json.dumps(found | {"files": found["files"] | {"../secret": "0" * 64}}).encode()
    (folder / MANIFEST).write_bytes(content)
    (folder / SIGNATURE).write_bytes(sign(content, KEY))

    with pytest.raises(BundleRejected, match="outside itself"):
        load_bundle(folder, KEY, SPEC)


def test_a_model_of_other_features_is_refused_by_both_names(folder: Path):
    with pytest.raises(FeatureSpecMismatch) as caught:
        load_bundle(folder, KEY, "f" * 16)

    assert (caught.value.trained_on, caught.value.built_with) == (SPEC, "f" * 16)


def test_golden_rows_that_come_out_differently_are_refused(tmp_path: Path):
    from models.serving import decode_serving

    serving = decode_serving(trained().files[SERVING])
    wrong = msgspec.structs.replace(trained().manifest)
    shifted = type(serving)(
        serving.tables, serving.small_tables, serving.vectors, {tier: p + 1e-3 for tier, p in serving.probabilities.items()}
    )
    write_bundle(tmp_path, wrong, {**trained().files, SERVING: shifted.encode()}, KEY)

    with pytest.raises(BundleRejected, match="golden rows"):
        load_bundle(tmp_path, KEY, SPEC)


def test_the_same_data_settings_and_seeds_give_the_same_digest(tmp_path: Path):
    again = fit(dataset_of(), vectors_of(3_000, 9), WINDOW, SMALL).finish(
        name="weir", features=FeatureSettings(), rates="0" * 16, warnings=()
    )

    assert [name for name, data in again.files.items() if data != trained().files[name]] == []
    versions = {write_bundle(tmp_path / str(i), t.manifest, t.files, KEY) for i, t in enumerate((again, trained()))}
    assert len(versions) == 1


def test_the_pickle_holds_the_members_that_the_graph_equals(folder: Path, scorer: Scorer):
    members = joblib.load(folder / MEMBERS)
    rows = vectors_of(200, 4)

    expected = scorer.manifest.calibration[Tier.FULL].probability(members["ensemble"].logit(rows))

    assert scorer.score(rows) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("tier", [Tier.FULL, Tier.SMALL, Tier.DEGRADED])
def test_scores_do_not_depend_on_how_rows_are_batched(scorer: Scorer, tier: Tier):
    rows = vectors_of(101, 6)

    alone = np.concatenate([scorer.score(rows[i : i + 1], tier=tier) for i in range(len(rows))])

    assert np.array_equal(alone, scorer.score(rows, tier=tier))
    assert ((alone >= 0) & (alone <= 1)).all()


def test_no_rows_give_no_scores_and_no_reasons(scorer: Scorer):
    none = vectors_of(4)[:0]

    assert len(scorer.score(none)) == len(scorer.decide(scorer.score(none), Tier.FULL)) == len(scorer.reasons(none, budget_ms=5)) == 0


def test_a_degraded_score_reads_only_the_event_itself(scorer: Scorer):
    rows = vectors_of(50, 2)
    other = rows.copy()
    state = [place for place, feature in enumerate(FEATURES) if feature.entity]
    other[:, state] = 7.0

    assert np.array_equal(scorer.score(rows, tier=Tier.DEGRADED), scorer.score(other, tier=Tier.DEGRADED))


def test_the_model_alerts_at_about_the_rate_that_was_asked_for(scorer: Scorer):
    fresh = vectors_of(3_000, 77)

    for tier in (Tier.FULL, Tier.SMALL):
        outcomes = scorer.decide(scorer.score(fresh, tier=tier), tier)
        assert np.mean([outcome != "approve" for outcome in outcomes]) == pytest.approx(SMALL.alert_rate, abs=0.012)


def test_reasons_come_from_the_booster_within_the_budget_and_from_the_small_model_beyond(scorer: Scorer):
    rows = vectors_of(40, 8)
    alerts = rows[np.argsort(-scorer.score(rows))[:3]]

    exact, quick = scorer.reasons(alerts, budget_ms=1e6), scorer.reasons(alerts, budget_ms=0.0)

    assert len(exact) == len(quick) == 3
    assert all(1 <= len(reasons) <= 5 for reasons in (*exact, *quick))
    assert exact != quick


def test_the_small_model_follows_the_ensemble(scorer: Scorer):
    rows = vectors_of(2_000, 12)
    full, small = scorer.score(rows), scorer.score(rows, tier=Tier.SMALL)

    assert np.corrcoef(np.log(full), np.log(small))[0, 1] > 0.4


def test_the_manifest_says_what_was_trained_and_holds_no_clock(folder: Path):
    manifest, version, _ = verify_bundle(folder, KEY)

    assert len(version) == 12
    assert manifest.window.n_frauds == int(fitted().dataset.target.sum())
    assert set(manifest.metrics) == {
        "ensemble", "small", "degraded", "xgboost", "random_forest", "extra_trees", "logistic_regression",
    }  # fmt: skip
    assert "created" not in (folder / MANIFEST).read_text()


def test_the_key_file_is_made_once_and_only_its_owner_reads_it(tmp_path: Path):
    registry = tmp_path / "var" / "registry"

    first, second = signing_key("", registry), signing_key("", registry)

    assert first == second
    assert len(first) == 64
    path = tmp_path / "var" / "registry.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signing_key("given", registry) == b"given"
    path.write_bytes(b"")
    with pytest.raises(ConfigError, match="is empty"):
        signing_key("", registry)


def test_the_profile_counts_every_row_of_every_feature():
    x = vectors_of(1_000)
    x[:, 5] = 1.0
    x[:, 20] = np.nan
    score = np.linspace(0, 1, 500)

    found = Profile.decode(Profile.of([f.name for f in FEATURES], x, score).encode())

    assert found.names[-1] == SCORE
    assert found.counts[:-1].sum(axis=1).tolist() == [1_000] * len(FEATURES)
    assert found.counts[-1].tolist() == [50] * N_BINS + [0]
    assert found.counts[5].tolist() == [1_000] + [0] * N_BINS
    assert found.counts[20].tolist() == [0] * N_BINS + [1_000]
    assert count(x[:, 0].astype(np.float64), found.edges[0]).tolist() == found.counts[0].tolist()


def test_contributions_sum_to_the_score_and_a_model_where_they_do_not_is_refused(scorer: Scorer, monkeypatch: pytest.MonkeyPatch):
    scorer.check_reasons()
    monkeypatch.setattr("models.scorer._ADDITIVITY_TOLERANCE", -1.0)
    with pytest.raises(BundleRejected, match=r"contributions of the booster of .* miss its score by"):
        scorer.check_reasons()

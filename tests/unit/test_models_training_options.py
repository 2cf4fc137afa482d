"""Which members, features and weights a training uses: chosen by name, refused by name, and corrected for."""

from pathlib import Path
from threading import Event

import joblib
import msgspec
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from domain.decision import Tier
from domain.errors import ConfigError
from features.spec import COLUMN, FeatureSettings, block, fingerprint
from models import ensemble
from models.bundle import load_bundle, write_bundle
from models.ensemble import compile_members, fit_members
from models.hidden import hidden_columns
from models.linear import LogisticRegression
from models.members import MEMBERS, chosen
from models.options import DEFAULT_MEMBERS, TrainingOptions, options_from
from models.sample import Sample, draw
from models.session import run_in_blocks
from models.training import fit
from service.settings import load
from service.training_options import chosen_options
from tests.unit.models_synthetic import SMALL, WINDOW, dataset_of, trained, vectors_of

KEY = b"k"


def with_options(**changes: object) -> TrainingOptions:
    return msgspec.structs.replace(SMALL, **changes)


def test_the_products_members_are_trained_unless_others_are_named():
    assert tuple(chosen(TrainingOptions())) == DEFAULT_MEMBERS
    assert tuple(trained().manifest.member_weights) == DEFAULT_MEMBERS


def test_members_come_in_the_registrys_order_however_they_are_named():
    assert tuple(chosen(with_options(members=("mlp", "xgboost")))) == ("xgboost", "mlp")


@pytest.mark.parametrize(
    ("members", "sentence"), [(("xgboost", "magic"), "magic is not one of xgboost"), (("mlp", "mlp"), "names one twice")]
)
def test_a_member_that_does_not_exist_or_is_named_twice_is_refused(members: tuple[str, ...], sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        chosen(with_options(members=members))


def test_a_model_of_chosen_members_is_served_and_gives_reasons_without_xgboost(tmp_path: Path):
    options = with_options(members=("decision_tree", "mlp"), variants=())
    model = fit(dataset_of(), vectors_of(3_000, 9), WINDOW, options).finish(
        name="weir", features=FeatureSettings(), rates="0" * 16, warnings=()
    )
    write_bundle(tmp_path, model.manifest, model.files, KEY)
    scorer = load_bundle(tmp_path, KEY, fingerprint(FeatureSettings()))
    rows = vectors_of(300, 4)
    alerts = rows[np.argsort(-scorer.score(rows))[:3]]

    assert set(model.manifest.member_weights) == {"decision_tree", "mlp"}
    assert model.manifest.options.members == ("decision_tree", "mlp")
    assert all(1 <= len(reasons) <= 5 for reasons in scorer.reasons(alerts, budget_ms=1e6))
    assert scorer.reasons(alerts, budget_ms=1e6) == scorer.reasons(alerts, budget_ms=0.0)


def test_every_member_is_fitted_the_same_again():
    options = with_options(members=tuple(MEMBERS), n_jobs=2)
    sample = draw(dataset_of(), options)
    rows = sample.inputs[:500]

    for name, fit_member in chosen(options).items():
        one, other = fit_member(sample, options), fit_member(sample, options)
        assert np.array_equal(one.logit(rows), other.logit(rows)), name
        assert joblib.hash(one) == joblib.hash(other), name


def test_a_hidden_feature_changes_nothing_for_any_member():
    options = with_options(members=tuple(MEMBERS), without=("merchant_labels", "event_hour*", "event_category"))
    sample = draw(dataset_of(), options)
    hidden = hidden_columns(options.without)
    rows, other = sample.inputs[:400].copy(), sample.inputs[:400].copy()
    other[:, hidden] = np.random.default_rng(1).lognormal(2, 2, (400, len(hidden)))

    assert set(hidden) >= {*block("merchant_labels"), COLUMN["event_category"]}
    for name, fit_member in chosen(options).items():
        graph = compile_members({name: fit_member(sample, options)}, None)
        assert np.array_equal(run_in_blocks(graph, "members", rows, 1), run_in_blocks(graph, "members", other, 1)), name


@pytest.mark.parametrize(("without", "sentence"), [(("cart_*",), "no feature or block is called 'cart_"), (("*",), "no feature is left")])
def test_hiding_nothing_known_or_everything_is_refused(without: tuple[str, ...], sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        hidden_columns(without)


@pytest.mark.parametrize("imbalance", ["weights", "repeat", "smote"])
def test_frauds_that_count_more_leave_the_odds_true(imbalance: str):
    plain, changed = with_options(), with_options(imbalance=imbalance, fraud_factor=6)
    dataset = dataset_of()
    rate = dataset.target.mean()
    sample = draw(dataset, changed)
    member = chosen(with_options(members=("logistic_regression",)))["logistic_regression"](sample, changed)

    mean = (1 / (1 + np.exp(-member.logit(draw(dataset, plain).inputs)))).mean()

    assert sample.good_share == pytest.approx(draw(dataset, plain).good_share / 6)
    assert sample.weight[sample.target].sum() == pytest.approx(6 * draw(dataset, plain).weight[draw(dataset, plain).target].sum(), rel=0.08)
    assert mean == pytest.approx(rate, rel=0.6)


def test_synthetic_frauds_lie_between_two_frauds_and_keep_their_own_gaps_and_categories():
    dataset = dataset_of()
    sample = draw(dataset, with_options(imbalance="smote", fraud_factor=4))
    plain = draw(dataset, with_options())
    real = plain.inputs[: int((~np.isnan(plain.inputs[:, 0])).sum())][plain.target]
    column = COLUMN["card_amount_over_median"]

    made = sample.inputs[sample.target]

    assert len(made) > 3 * len(real) / 1.5
    assert np.nanmin(made[:, column]) >= np.nanmin(real[:, column])
    assert np.nanmax(made[:, column]) <= np.nanmax(real[:, column])
    assert set(np.unique(made[:, COLUMN["event_category"]])) <= set(np.unique(real[:, COLUMN["event_category"]]))


def test_options_are_read_from_a_file_and_the_command_line_wins(tmp_path: Path):
    file = tmp_path / "options.toml"
    file.write_text('members = ["xgboost"]\nmin_calibration_frauds = 50\n[boosting]\ndepth = 6\n')
    settings = load(environ={"WEIR_POLICY_ALERT_RATE": "0.01"}).settings

    found = chosen_options(settings, file, members="svm, mlp")

    assert found.members == ("svm", "mlp")
    assert (found.boosting.depth, found.boosting.learning_rate, found.min_calibration_frauds) == (6, 0.04, 50)
    assert found.alert_rate == 0.01


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"membres": ["xgboost"]}, "unknown field `membres`"),
        ({"boosting": {"depth": 99}}, r"<= 12.*boosting\.depth"),
        ({"members": []}, "length >= 1"),
        ({"imbalance": "magic"}, "imbalance"),
    ],
)
def test_an_option_that_is_unknown_or_out_of_range_is_refused_by_name(table: dict[str, object], sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        options_from(table, TrainingOptions(), "o.toml")


def test_a_table_leaves_what_it_does_not_name_as_the_base_has_it():
    found = options_from({"sizes": {"forest_trees": 3}}, SMALL, "o.toml")

    assert found == msgspec.structs.replace(SMALL, sizes=msgspec.structs.replace(SMALL.sizes, forest_trees=3))


def test_each_tier_still_answers_with_members_of_other_kinds():
    options = with_options(members=("svm", "hist_gradient_boosting", "isolation_forest"), variants=())
    fitted_now = fit(dataset_of(), vectors_of(2_000, 9), WINDOW, options)

    assert set(fitted_now.calibrated.tiers) == {Tier.FULL, Tier.SMALL, Tier.DEGRADED}
    assert fitted_now.calibrated.metrics["ensemble"]["roc_auc"] > 0.8


def test_members_fitted_beside_each_other_have_one_thread_for_sums_until_the_last_is_done(monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    first_done = Event()

    def quick(sample: Sample, options: TrainingOptions) -> object:
        found = LogisticRegression.fit(sample, options)
        first_done.set()
        return found

    def slow(_sample: Sample, _options: TrainingOptions) -> object:
        assert first_done.wait(60)
        seen.extend(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")
        return object()

    monkeypatch.setattr(ensemble, "chosen", lambda _options: {"slow": slow, "quick": quick})

    fit_members(draw(dataset_of(1_500), SMALL), msgspec.structs.replace(SMALL, n_jobs=2))

    assert set(seen) == {1}

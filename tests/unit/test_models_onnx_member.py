"""A network that was trained elsewhere: mapped by feature name, checked, merged exactly, calibrated and served."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from domain.errors import ConfigError, ModelError
from features.spec import COLUMN, FeatureSettings, fingerprint
from features.spec import FEATURES as ALL_FEATURES
from models.bundle import load_bundle, write_bundle
from models.ensemble import compile_members
from models.foreign import ForeignMapping
from models.foreign_checks import check_name
from models.members_file import foreign_members
from models.onnx_member import FEATURES_KEY, OnnxMember
from models.parity import TOLERANCE, reference_rows
from models.session import open_session, run_in_blocks
from models.training import fit
from tests.unit.foreign_networks import FEATURES, network
from tests.unit.models_synthetic import SMALL, WINDOW, dataset_of, frauds_of, vectors_of

KEY = b"k"
MAPPING = ForeignMapping(inputs={"x": FEATURES})


def read(content: bytes, mapping: ForeignMapping = MAPPING) -> OnnxMember:
    return OnnxMember.read(content, mapping, "net.onnx")


@pytest.mark.parametrize(
    ("content", "mapping", "kind"),
    [
        (network(), MAPPING, "probability"),
        (network(end=""), MAPPING, "logit"),
        (network(end="Softmax"), MAPPING, "probability"),
        (network(inputs="named"), ForeignMapping(), "probability"),
        (network(opset=13), MAPPING, "probability"),
        (network(opset=21), MAPPING, "probability"),
    ],
)
def test_a_network_is_merged_exactly_on_hard_rows(content: bytes, mapping: ForeignMapping, kind: str):
    member = read(content, mapping)
    rows = reference_rows(dataset_of().vectors, [], seed=5)

    found = run_in_blocks(compile_members({"net": member}, None), "members", rows, 1)[:, 0]

    assert member.described.kind == kind
    assert np.abs(1 / (1 + np.exp(-found)) - 1 / (1 + np.exp(-member.logit(rows)))).max() < TOLERANCE
    assert np.unique(found).size > 1_000


def test_a_mapping_in_the_files_metadata_is_followed():
    model = onnx.load_model_from_string(network())
    entry = model.metadata_props.add()
    entry.key, entry.value = FEATURES_KEY, json.dumps(FEATURES)

    found = read(model.SerializeToString(), ForeignMapping())

    assert found.described.inputs == {"x": FEATURES}


def test_inputs_are_found_by_name_not_by_place():
    swapped = ForeignMapping(inputs={"x": FEATURES[::-1]})
    rows = vectors_of(200)
    turned = rows.copy()
    columns = [COLUMN[name] for name in FEATURES]
    turned[:, columns] = rows[:, columns[::-1]]

    assert np.array_equal(read(network()).logit(rows), read(network(), swapped).logit(turned))
    assert not np.array_equal(read(network()).logit(rows), read(network(), swapped).logit(rows))
    graph = compile_members({"net": read(network(), swapped)}, None)
    assert run_in_blocks(graph, "members", rows, 1)[:, 0] == pytest.approx(read(network(), swapped).logit(rows), abs=1e-3)


def test_a_missing_value_is_what_the_mapping_says():
    rows, holes = vectors_of(100), vectors_of(100)
    column = COLUMN["card_amount_over_median"]
    rows[:, column], holes[:, column] = 7.0, np.nan
    member = read(network(), ForeignMapping(inputs={"x": FEATURES}, missing=7.0))
    graph = compile_members({"net": member}, None)

    assert np.array_equal(member.logit(rows), member.logit(holes))
    assert np.array_equal(run_in_blocks(graph, "members", rows, 1), run_in_blocks(graph, "members", holes, 1))


def test_a_row_gets_the_same_bits_alone_and_among_others():
    session = open_session(compile_members({"net": read(network(end=""))}, None))
    rows = vectors_of(64)

    whole = session.run(["members"], {"X": rows})[0]

    for size in (1, 2, 3, 7, 16):
        assert np.array_equal(whole, np.concatenate([session.run(["members"], {"X": rows[i : i + size]})[0] for i in range(0, 64, size)]))


def random_end() -> tuple[onnx.NodeProto, ...]:
    return (helper.make_node("RandomNormalLike", ["answer"], ["noise"]), helper.make_node("Add", ["answer", "noise"], ["late"]))


def batch_end() -> tuple[onnx.NodeProto, ...]:
    return (helper.make_node("Softmax", ["answer"], ["late"], axis=0),)


@pytest.mark.parametrize(
    ("content", "mapping", "sentence"),
    [
        (b"not a model", MAPPING, "is not an ONNX model"),
        (b"", MAPPING, "not a valid ONNX model|is not an ONNX model"),
        (network()[:-40], MAPPING, "is not an ONNX model|not a valid"),
        (network(opset=24), MAPPING, "has opset 24 of ai.onnx, up to 21"),
        (network(domain="com.microsoft"), MAPPING, "operators of 'com.microsoft'"),
        (network(rows=1), MAPPING, "takes exactly 1 row.*dynamic_axes"),
        (network(), ForeignMapping(inputs={"x": FEATURES[:3]}), "has 4 columns, the mapping names 3"),
        (network(), ForeignMapping(inputs={"y": FEATURES}), "has the inputs x, the mapping names y"),
        (network(), ForeignMapping(), "'x' is not a feature"),
        (network(), ForeignMapping(inputs={"x": (*FEATURES[:3], "card_shoe_size")}), "'card_shoe_size' is not a feature"),
        (network(), ForeignMapping(inputs={"x": (*FEATURES[:3], "event_category")}), "event_category is a code"),
        (network(), ForeignMapping(inputs={"x": FEATURES}, output="logits"), "no output 'logits'"),
        (network(extra=random_end()), MAPPING, "draws random numbers"),
        (network(extra=batch_end()), MAPPING, "depends on the rows beside it"),
        (network(end="", extra=(helper.make_node("Log", ["answer"], ["late"]),)), MAPPING, "no number"),
        (network(end="", extra=(helper.make_node("Concat", ["answer"] * 3, ["late"], axis=1),)), MAPPING, "3 numbers a row|not a valid"),
    ],
)
def test_a_file_that_cannot_be_merged_is_refused_with_what_to_do(content: bytes, mapping: ForeignMapping, sentence: str):
    with pytest.raises(ModelError, match=sentence):
        read(content, mapping)


def test_weights_in_another_file_are_refused_and_not_looked_for(tmp_path: Path):
    model = onnx.load_model_from_string(network())
    weight = next(one for one in model.graph.initializer if one.name == "w1")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")

    with pytest.raises(ModelError, match="weights outside itself"):
        read(model.SerializeToString())


def test_a_branch_is_refused():
    then = helper.make_graph(
        [helper.make_node("Identity", ["answer"], ["a"])], "t", [], [helper.make_tensor_value_info("a", TensorProto.FLOAT, ["batch", 1])]
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["answer"], ["b"])], "e", [], [helper.make_tensor_value_info("b", TensorProto.FLOAT, ["batch", 1])]
    )
    condition = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("v", TensorProto.BOOL, [], [True]))

    with pytest.raises(ModelError, match=r"branches or loops \(If\)"):
        read(network(extra=(condition, helper.make_node("If", ["yes"], ["late"], then_branch=then, else_branch=other))))


@pytest.mark.parametrize("name", ["xgboost", "ensemble", "Net", "a b", "", "baseline_mine", "x" * 33])
def test_a_members_name_must_be_free_and_plain(name: str):
    with pytest.raises(ConfigError, match="plain lower-case word"):
        check_name(name)


def test_a_model_with_a_network_is_calibrated_weighed_proved_and_served(tmp_path: Path):
    member = read(network())
    model = fit(dataset_of(), vectors_of(3_000, 9), WINDOW, SMALL, foreign={"net": member}).finish(
        name="weir", features=FeatureSettings(), rates="0" * 16, warnings=()
    )
    write_bundle(tmp_path, model.manifest, model.files, KEY)
    scorer = load_bundle(tmp_path, KEY, fingerprint(FeatureSettings()))
    rows = vectors_of(2_000, 4)
    p, truth = scorer.score(rows), frauds_of(rows, 4)

    manifest, foreign = foreign_members(tmp_path, KEY)

    assert manifest.member_weights["net"] > 0
    assert manifest.metrics["net"]["roc_auc"] > 0.8
    assert manifest.foreign["net"].inputs == {"x": FEATURES}
    assert foreign["net"].content == network()
    assert p[truth].mean() > 5 * p[~truth].mean()
    assert set(manifest.variants) == {"small", "pruned", "int8-leaf"}


def test_all_features_can_be_mapped_but_the_codes():
    names = tuple(one.name for one in ALL_FEATURES if not one.name.startswith(("event_channel", "event_category", "event_country")))
    member = read(network(features=names, scale=0.001), ForeignMapping(inputs={"x": names}))

    assert np.isfinite(member.logit(vectors_of(50))).all()

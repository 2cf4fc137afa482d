"""Small networks as exporters of PyTorch and others write them."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FEATURES = ("event_log_amount", "card_count_1h", "card_amount_over_median", "merchant_count_24h")


def network(
    *,
    features: tuple[str, ...] = FEATURES,
    rows: int | str = "batch",
    opset: int = 17,
    end: str = "Sigmoid",
    dtype: int = TensorProto.FLOAT,
    inputs: str = "matrix",
    extra: tuple[Any, ...] = (),
    domain: str = "",
    weight: float = 0.6,
    scale: float = 0.05,
) -> bytes:
    """Two layers on log-scaled inputs that rise with the third feature.

    Args:
        features: Columns of the input.
        rows: First dimension.
        opset: Of the standard operators.
        end: Last operator; "" = none (a logit), "Softmax" = two classes.
        dtype: Of the input.
        inputs: "matrix" = one input `x`; "named" = one input for each feature.
        extra: Nodes that make `late` of `answer`.
        domain: Of the first layer's operator.
        weight: Of the third feature.
        scale: Of the other weights.
    """
    generator = np.random.default_rng(3)
    first = (generator.normal(0, scale, (len(features), 8))).astype(np.float32)
    first[min(2, len(features) - 1), 0] = weight
    second = np.abs(generator.normal(0, 0.3, (8, 2 if end == "Softmax" else 1))).astype(np.float32)
    if end == "Softmax":
        second[:, 0] = 0
    nodes, names = [], ["x"] if inputs == "matrix" else list(features)
    if inputs == "named":
        nodes.append(helper.make_node("Concat", names, ["x"], axis=1))
    nodes += [
        helper.make_node("Abs", ["x"], ["size"]),
        helper.make_node("Add", ["size", "one"], ["above"]),
        helper.make_node("Log", ["above"], ["logs"]),
        helper.make_node("Gemm", ["logs", "w1", "b1"], ["hidden"], domain=domain),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "w2"], ["z"]),
        helper.make_node("Add", ["z", "b2"], ["answer" if not end else "shifted"]),
    ]
    if end:
        nodes.append(helper.make_node(end, ["shifted"], ["answer"], **({"axis": 1} if end == "Softmax" else {})))
    nodes += extra
    width = len(features) if inputs == "matrix" else 1
    constants = {
        "one": np.float32(1),
        "w1": first,
        "b1": np.zeros(8, np.float32),
        "w2": second,
        "b2": np.float32(-5) * np.ones(second.shape[1], np.float32),
    }
    if end == "Softmax":
        constants["b2"][0] = 0
    graph = helper.make_graph(
        nodes,
        "torch_export",
        [helper.make_tensor_value_info(name, dtype, [rows, width]) for name in names],
        [helper.make_tensor_value_info("late" if extra else "answer", TensorProto.FLOAT, [rows, second.shape[1]])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=opsets, producer_name="pytorch")
    model.ir_version = 8
    return model.SerializeToString()

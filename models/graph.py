"""Build an ONNX graph: one tree operator per member, everything else plain operators."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, compose, helper, numpy_helper

from features.spec import N_FEATURES
from models.categories import CATEGORY_COLUMNS, CategoryTables
from models.graph_input import VECTORS
from models.trees import Nodes

OPSET: Final = 21
ML_OPSET: Final = 3
_IR_VERSION: Final = 10
#: float32 values in the widest register there is (AVX-512).
_LANES: Final = 16


class Graph:
    """Nodes and constants of a graph under construction; every method returns the name of what it made."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, value: object, dtype: type = np.float32) -> str:
        """Add a constant tensor."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def op(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add one plain operator."""
        name = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def log(self, inputs: str, width: int) -> str:
        """Add a logarithm of float32 (n, width) whose rounding does not depend on where in a batch a row stands.

        The runtime takes whole registers by one formula and what is left at the end of a batch by another. So rows are
        widened to whole registers: a row's answer is the same bits in a batch of one as in one of hundreds.
        """
        lanes = -(-width // _LANES) * _LANES
        places = self.constant(np.arange(lanes) % width, np.int64)
        logs = self.op("Log", self.op("Gather", inputs, places, axis=1))
        bounds = [self.constant([value], np.int64) for value in (0, width, 1)]
        return logs if lanes == width else self.op("Slice", logs, *bounds)

    def row_sum(self, values: str, width: int) -> str:
        """Add the sum along each row of float32 (n, width) as (n, 1), rounded the same wherever a row stands.

        The runtime sums by registers from the first aligned address on. So rows are widened by zeros to whole registers:
        all of them are aligned alike.
        """
        if more := -width % _LANES:
            values = self.op("Pad", values, self.constant([0, 0, 0, more], np.int64))
        return self.op("ReduceSum", values, self.constant([1], np.int64), keepdims=1)

    def product(self, rows: str, weights: NDArray[np.float32]) -> str:
        """Add the matrix product of float32 rows (n, k) and `weights` (k, h), rounded the same wherever a row stands.

        The runtime multiplies a single row by another routine than several. So there are always several: one of zeros more.
        """
        more = self.op("Concat", rows, self.constant(np.zeros((1, len(weights)))), axis=0)
        bounds = [self.constant([value], np.int64) for value in (0, -1, 0)]
        return self.op("Slice", self.op("MatMul", more, self.constant(weights)), *bounds)

    def trees(self, nodes: Nodes, inputs: str, *, unit: float = 1.0) -> str:
        """Add trees as one regressor: the sum of the leaves times `unit`, float32 (n, 1). Exact, missing values included.

        Never the classifier operator and never its post-transforms: versions of the runtime got them wrong.
        """
        is_leaf = nodes.feature < 0
        attributes = {
            "nodes_treeids": nodes.tree,
            "nodes_nodeids": nodes.node,
            "nodes_featureids": np.maximum(nodes.feature, 0),
            "nodes_values": nodes.threshold,
            "nodes_truenodeids": np.maximum(nodes.left, 0),
            "nodes_falsenodeids": np.maximum(nodes.right, 0),
            "nodes_missing_value_tracks_true": np.where(is_leaf, 0, nodes.missing_left),
            "target_treeids": nodes.tree[is_leaf],
            "target_nodeids": nodes.node[is_leaf],
            "target_ids": np.zeros(int(is_leaf.sum()), np.int64),
            "target_weights": nodes.leaf[is_leaf],
        }
        name = f"trees_{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(
                "TreeEnsembleRegressor",
                [inputs],
                [name],
                name=name,
                domain="ai.onnx.ml",
                n_targets=1,
                nodes_modes=np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
                aggregate_function="SUM",
                post_transform="NONE",
                **{key: _numbers(value) for key, value in attributes.items()},
            )
        )
        total = self.op("Mul", name, self.constant([[unit]])) if unit != 1.0 else name
        return self.op("Add", total, self.constant([[nodes.offset]])) if nodes.offset else total

    def categories(self, tables: CategoryTables) -> str:
        """Add the category encodings: the graph's first nodes, equal to `CategoryTables.encode`."""
        first, after = CATEGORY_COLUMNS[0], CATEGORY_COLUMNS[-1] + 1
        assert tuple(range(first, after)) == CATEGORY_COLUMNS, "the category features stand side by side"
        sizes = np.array([len(table) for table in tables.tables])
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        codes = self._columns(first, after)
        known = self.op("Where", self.op("IsNaN", codes), self.constant(-1.0), codes)
        # Any code above the table's largest is worth its last place; 16777216 still fits a float32 exactly.
        bounded = self.op("Min", known, self.constant([sizes - 2.0]))
        rows = self.op("Cast", self.op("Add", bounded, self.constant([starts + 1.0])), to=TensorProto.INT64)
        worth = self.op("Gather", self.constant(np.concatenate(tables.tables)), rows, axis=0)
        parts = [self._columns(0, first)] if first else []
        parts += [worth, self._columns(after, N_FEATURES)]
        return self.op("Concat", *parts, axis=1)

    def insert(self, model: ModelProto, inputs: Mapping[str, str], output: str) -> str:
        """Add the nodes of another model of the same opsets, under names of their own; return the name of its `output`.

        Args:
            model: Checked by `models.foreign_checks`: flat, standard operators only.
            inputs: Its input -> what is fed.
            output: The one wanted.
        """
        prefix = f"m{len(self._nodes)}_"
        renamed = compose.add_prefix(model, prefix, inplace=False).graph
        fed = {prefix + name: source for name, source in inputs.items()}
        for node in renamed.node:
            names = [fed.get(name, name) for name in node.input]
            del node.input[:]
            node.input.extend(names)
            self._nodes.append(node)
        self._constants.extend(renamed.initializer)
        return fed.get(prefix + output, prefix + output)

    def finish(self, **outputs: str) -> bytes:
        """Return the serialised model whose outputs are float32 (n, any), by name."""
        for name, source in outputs.items():
            self._nodes.append(helper.make_node("Identity", [source], [name], name=f"out_{name}"))
        graph = helper.make_graph(
            self._nodes,
            "weir",
            [helper.make_tensor_value_info(VECTORS, TensorProto.FLOAT, [None, N_FEATURES])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in outputs],
            self._constants,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        model: ModelProto = helper.make_model(graph, opset_imports=opsets, producer_name="weir")
        model.ir_version = _IR_VERSION
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def _columns(self, start: int, stop: int) -> str:
        bounds = [self.constant([value], np.int64) for value in (start, stop, 1)]
        return self.op("Slice", VECTORS, *bounds)


def _numbers(values: NDArray[Any]) -> list[float] | list[int]:
    found: list[float] | list[int] = values.astype(float if values.dtype.kind == "f" else int).tolist()
    return found

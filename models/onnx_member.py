"""A member that was trained elsewhere: a network from PyTorch, Keras or TensorFlow, as an ONNX file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, version_converter

from domain.errors import ModelError
from features.spec import CATEGORY_FEATURES, COLUMN
from models.foreign import Foreign, ForeignMapping, Kind
from models.foreign_checks import checked, inputs_of, width_of
from models.forests import compile_share_logit, share_logit
from models.graph import OPSET, Graph
from models.session import open_session

#: Key of the file's own metadata with the features of its one input, as a JSON list.
FEATURES_KEY: Final = "weir.features"
#: Inputs are bounded: an absurd value must not become infinite on its way through the layers.
_LARGEST_INPUT: Final = 1e12
_LARGEST_LOGIT: Final = 30.0
_BLOCK_ROWS: Final = 4096
_PROBABILITY_ENDS: Final = frozenset({"Sigmoid", "Softmax"})
#: Log odds of a row alone and among others may differ by this much: the last bits of sums.
_ALONE_TOLERANCE: Final = 1e-4


@dataclass(frozen=True)
class OnnxMember:
    """A fixed network. It is calibrated and weighed like a fitted member, never fitted again.

    Attributes:
        content: The file, which the compiled form must equal.
        described: How it is read.
    """

    content: bytes
    described: Foreign

    @classmethod
    def read(cls, content: bytes, mapping: ForeignMapping, origin: str) -> Self:
        """Check a file and how its inputs are mapped to features.

        The mapping comes from `mapping`, else from the file's metadata `weir.features`, else inputs are named as features.

        Raises:
            ModelError: The file cannot become a member; the sentence says what to change.
        """
        model = checked(content, origin)
        inputs = _mapped(model, mapping, origin)
        output = mapping.output or model.graph.output[0].name
        if output not in {one.name for one in model.graph.output}:
            raise ModelError(f"{origin} has no output {output!r}; it has {', '.join(one.name for one in model.graph.output)}")
        kind = mapping.kind or _kind(model, output)
        found = cls(content, Foreign(sha256(content).hexdigest(), inputs, output, kind, mapping.missing))
        found._check_answers(origin)
        return found

    def logit(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the log odds, (n,), by the file as it came."""
        session, described = _session(self.content), self.described
        blocks = []
        for start in range(0, len(inputs), _BLOCK_ROWS):
            rows = inputs[start : start + _BLOCK_ROWS]
            found = session.run([described.output], {name: _fed(rows, names, described) for name, names in described.inputs.items()})[0]
            blocks.append(_one_column(found))
        values = np.concatenate(blocks).astype(np.float64) if blocks else np.empty(0)
        return share_logit(values) if described.kind == "probability" else np.clip(values, -_LARGEST_LOGIT, _LARGEST_LOGIT)

    def compile(self, graph: Graph, inputs: str) -> str:
        """Add the network's own nodes to `graph`.

        One row of zeros more goes through it: the runtime multiplies a single row by another routine than several.
        """
        fed = {}
        for name, names in self.described.inputs.items():
            columns = graph.op("Gather", inputs, graph.constant([COLUMN[one] for one in names], np.int64), axis=1)
            known = graph.op("Where", graph.op("IsNaN", columns), graph.constant(self.described.missing), columns)
            bounded = graph.op("Clip", known, graph.constant(-_LARGEST_INPUT), graph.constant(_LARGEST_INPUT))
            fed[name] = graph.op("Concat", bounded, graph.constant(np.zeros((1, len(names)))), axis=0)
        answer = graph.insert(_converted(self.content), fed, self.described.output)
        flat = graph.op("Reshape", answer, graph.constant([-1, self._n_classes()], np.int64))
        last = graph.op("Gather", flat, graph.constant([self._n_classes() - 1], np.int64), axis=1)
        bounds = [graph.constant([value], np.int64) for value in (0, -1, 0)]
        value = graph.op("Slice", last, *bounds)
        if self.described.kind == "probability":
            return compile_share_logit(graph, value, 0.0)
        return graph.op("Clip", value, graph.constant(-_LARGEST_LOGIT), graph.constant(_LARGEST_LOGIT))

    def _n_classes(self) -> int:
        rows = {name: np.zeros((2, len(names)), np.float32) for name, names in self.described.inputs.items()}
        return int(_session(self.content).run([self.described.output], rows)[0].size // 2)

    def _check_answers(self, origin: str) -> None:
        rows = np.random.default_rng(0).lognormal(1.0, 2.0, (64, len(COLUMN))).astype(np.float32)
        try:
            together, alone = self.logit(rows), np.concatenate([self.logit(rows[i : i + 1]) for i in range(len(rows))])
        except ModelError:
            raise
        except Exception as error:  # the runtime's errors have no common root
            raise ModelError(f"{origin} does not run: {str(error).splitlines()[0]}; export it again") from error
        if not np.isfinite(together).all():
            raise ModelError(f"{origin} answers some rows with no number; bound its inputs or its layers")
        if np.abs(together - alone).max() > _ALONE_TOLERANCE:
            raise ModelError(f"{origin}: a row's answer depends on the rows beside it; export it for inference, without batch statistics")


def _mapped(model: ModelProto, mapping: ForeignMapping, origin: str) -> dict[str, tuple[str, ...]]:
    names, told = inputs_of(model), {one.key: one.value for one in model.metadata_props}
    inputs = {name: tuple(features) for name, features in mapping.inputs.items()}
    if not inputs and FEATURES_KEY in told and len(names) == 1:
        inputs = {names[0]: _listed(told[FEATURES_KEY], origin)}
    if not inputs:
        inputs = {name: (name,) for name in names}
    if set(inputs) != set(names):
        raise ModelError(f"{origin} has the inputs {', '.join(names)}, the mapping names {', '.join(inputs)}; map each of them")
    for name, features in inputs.items():
        if unknown := [one for one in features if one not in COLUMN]:
            raise ModelError(
                f"{origin}: input {name}: {unknown[0]!r} is not a feature (docs/features.md lists them); name the features of its "
                f"columns in a mapping file, or in the file's metadata {FEATURES_KEY}"
            )
        if codes := [one for one in features if one in CATEGORY_FEATURES]:
            raise ModelError(f"{origin}: input {name}: {codes[0]} is a code without order; leave it out")
        width = width_of(model, name, origin)
        if width not in (None, len(features)):
            raise ModelError(f"{origin}: input {name} has {width} columns, the mapping names {len(features)} features; name one for each")
    return inputs


def _listed(text: str, origin: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelError(f"{origin}: the metadata {FEATURES_KEY} is not a JSON list of features; correct it") from error
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _kind(model: ModelProto, output: str) -> Kind:
    ends = {node.op_type for node in model.graph.node if output in node.output}
    return "probability" if ends & _PROBABILITY_ENDS else "logit"


def _fed(rows: NDArray[np.float32], names: tuple[str, ...], described: Foreign) -> NDArray[np.float32]:
    columns = rows[:, [COLUMN[name] for name in names]]
    known = np.where(np.isnan(columns), np.float32(described.missing), columns)
    return np.clip(known, np.float32(-_LARGEST_INPUT), np.float32(_LARGEST_INPUT)).astype(np.float32)


def _one_column(found: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the answer of each row: of one column itself, of two classes the second."""
    flat = found.reshape(len(found), -1) if found.ndim else found.reshape(1, 1)
    if flat.shape[1] not in (1, 2):
        raise ModelError(f"the network gives {flat.shape[1]} numbers a row; one (fraud) or two (good, fraud) can be read")
    return flat[:, -1]


@lru_cache(maxsize=8)
def _session(content: bytes) -> ort.InferenceSession:
    return open_session(content)


def _converted(content: bytes) -> ModelProto:
    """Return the file's model in the opset of our graphs."""
    model = checked(content, "the network")
    version = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    return model if version == OPSET else version_converter.convert_version(model, OPSET)


def foreign_described(members: Mapping[str, object]) -> dict[str, Foreign]:
    """Return how the foreign ones among `members` are read."""
    return {name: member.described for name, member in members.items() if isinstance(member, OnnxMember)}

"""May an ONNX file become a member? Its form is checked here, before anything of it runs."""

import re
from collections.abc import Iterator
from typing import Final

import onnx
from onnx import AttributeProto, ModelProto, TensorProto
from onnx.inliner import inline_local_functions

from domain.errors import ConfigError, ModelError
from models.graph import ML_OPSET, OPSET
from models.members import MEMBERS

LARGEST_BYTES: Final = 64 << 20
_DOMAINS: Final = {"": OPSET, "ai.onnx": OPSET, "ai.onnx.ml": ML_OPSET}
#: The same row must get the same answer again.
_RANDOM: Final = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"})


_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
#: Names of rows in the tables of metrics.
_TAKEN: Final = frozenset({"ensemble", "small", "degraded", *MEMBERS})


def check_name(name: str) -> None:
    """Accept the name of a foreign member.

    Raises:
        ConfigError: It is no plain word, or taken.
    """
    if not _NAME.fullmatch(name) or name in _TAKEN or name.startswith("baseline"):
        raise ConfigError(f"member {name!r}: give a plain lower-case word that is not one of {', '.join(sorted(_TAKEN))}")


def checked(content: bytes, origin: str) -> ModelProto:
    """Return the model in a file, its local functions resolved: one flat graph of standard operators in one file.

    Raises:
        ModelError: It is not such a model; the sentence says what to export differently.
    """
    if len(content) > LARGEST_BYTES:
        raise ModelError(f"{origin} is {len(content) >> 20} MB large, {LARGEST_BYTES >> 20} MB are allowed; export a smaller network")
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf has its own errors, not one root
        raise ModelError(f"{origin} is not an ONNX model: {error}; export it again") from error
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer) or model.graph.sparse_initializer:
        raise ModelError(f"{origin} keeps weights outside itself or sparse; save it as one file with dense weights")
    _check_opsets(model, origin)
    try:
        model = inline_local_functions(model)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker's errors have no common root either
        raise ModelError(f"{origin} is not a valid ONNX model: {str(error).splitlines()[0]}; export it again") from error
    _check_operators(model, origin)
    return model


def width_of(model: ModelProto, name: str, origin: str) -> int | None:
    """Return the number of columns of an input (None: any).

    Raises:
        ModelError: It is not float32 of shape (rows, columns), or the number of rows is fixed.
    """
    (found,) = (one for one in model.graph.input if one.name == name)
    tensor = found.type.tensor_type
    shape = list(tensor.shape.dim)
    if tensor.elem_type != TensorProto.FLOAT or len(shape) != 2:
        raise ModelError(f"{origin}: input {name} must be float32 of shape (rows, columns); export it so")
    if shape[0].HasField("dim_value"):
        raise ModelError(
            f"{origin}: input {name} takes exactly {shape[0].dim_value} row(s); export it with a free first dimension (dynamic_axes)"
        )
    return int(shape[1].dim_value) if shape[1].HasField("dim_value") else None


def inputs_of(model: ModelProto) -> list[str]:
    """Return the names of the inputs that are not weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [one.name for one in model.graph.input if one.name not in weights]


def _check_opsets(model: ModelProto, origin: str) -> None:
    functions = {function.domain for function in model.functions}
    for opset in model.opset_import:
        most = _DOMAINS.get(opset.domain)
        if most is None:
            if opset.domain in functions or not any(node.domain == opset.domain for node in _all_nodes(model)):
                continue
            raise ModelError(f"{origin} uses operators of {opset.domain!r}; only standard ONNX operators can be merged")
        if opset.version > most:
            domain = opset.domain or "ai.onnx"
            raise ModelError(f"{origin} has opset {opset.version} of {domain}, up to {most} is understood; export it with a lower opset")


def _check_operators(model: ModelProto, origin: str) -> None:
    for node in model.graph.node:
        if node.domain not in _DOMAINS:
            raise ModelError(f"{origin} uses the operator {node.domain}.{node.op_type}; only standard ONNX operators can be merged")
        if node.op_type in _RANDOM:
            raise ModelError(f"{origin} draws random numbers ({node.op_type}); export it for inference")
        if any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for attribute in node.attribute):
            raise ModelError(f"{origin} branches or loops ({node.op_type}); only straight networks can be merged")


def _all_nodes(model: ModelProto) -> Iterator[onnx.NodeProto]:
    yield from model.graph.node
    for function in model.functions:
        yield from function.node

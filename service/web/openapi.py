"""The OpenAPI document: paths from the handlers, schemas from the structs by the library that encodes them."""

from typing import Any, Final

import msgspec
from litestar import Litestar

from monitoring.explanation import Explanation
from service.web import answers

_REFERENCE: Final = "#/components/schemas/{name}"
_ROOTS: Final = (
    answers.StatusAnswer, answers.LiveAnswer, answers.LiveEvent, answers.AlertAnswer, answers.Incident, answers.DriftAnswer,
    answers.DriftFeatureAnswer, answers.QualityAnswer, answers.ModelsAnswer, answers.ModelAnswer, answers.Problem, Explanation,
)  # fmt: skip


def document(app: Litestar) -> bytes:
    """Return the document as JSON, the same for the same code."""
    found = app.openapi_schema.to_schema()
    found["components"] = {"schemas": msgspec.json.schema_components(_ROOTS, schema_hook=_anything, ref_template=_REFERENCE)[1]}
    for path in found["paths"].values():
        _mend(path["get"])
    return msgspec.json.format(msgspec.json.encode(found, order="sorted"), indent=1) + b"\n"


def _mend(operation: dict[str, Any]) -> None:
    """Describe errors as they are answered: a wrong parameter is a Problem like every other one."""
    problem = {"application/json": {"schema": {"$ref": _REFERENCE.format(name=answers.Problem.__name__)}}}
    for status, response in operation["responses"].items():
        if status != "200":
            response["content"] = problem
    operation["responses"]["200"]["description"] = "The view."
    if operation["tags"] == ["events"]:
        operation["responses"]["200"]["description"] = "The stream of events."
        operation["responses"]["200"]["content"] = {"text/event-stream": {"schema": {"type": "string"}}}


def _anything(kind: type) -> dict[str, Any]:
    """Return the schema of `object`: any JSON value."""
    if kind is object:
        return {"description": "any JSON value"}
    raise NotImplementedError(kind)

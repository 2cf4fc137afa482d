"""The OpenAPI document: paths from the handlers, schemas from the structs by the library that encodes them.

`python -m service.web.openapi > docs/openapi.json` writes it.
"""

import sys
from typing import Any, Final, cast

import msgspec
from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from monitoring.explanation import Explanation
from service.web.answers import Problem, StatusAnswer
from service.web.drift_answers import DriftAnswer, DriftFeatureAnswer, Incident
from service.web.live_answers import AlertAnswer, LiveAnswer, LiveEvent
from service.web.model_answers import ModelAnswer, ModelsAnswer
from service.web.quality_answers import QualityAnswer

_REFERENCE: Final = "#/components/schemas/{name}"
_ROOTS: Final = (
    StatusAnswer, LiveAnswer, LiveEvent, AlertAnswer, Incident, DriftAnswer,
    DriftFeatureAnswer, QualityAnswer, ModelsAnswer, ModelAnswer, Problem, Explanation,
)  # fmt: skip


def _document(app: Litestar) -> bytes:
    found = app.openapi_schema.to_schema()
    found["components"] = {"schemas": msgspec.json.schema_components(_ROOTS, schema_hook=_anything, ref_template=_REFERENCE)[1]}
    for path in found["paths"].values():
        _mend(path["get"])
    return msgspec.json.format(msgspec.json.encode(found, order="sorted"), indent=1) + b"\n"


def generated() -> bytes:
    """Return the document as JSON, the same for the same code; it takes a second."""
    from service.web.app import Views, build_api
    from service.web.pages import Pages

    config = OpenAPIConfig(
        title="weir", version="1", description="What the dashboard shows, as JSON.", use_handler_docstrings=True,
        render_plugins=[JsonRenderPlugin()], operation_id_creator=lambda handler, _method, _path: handler.handler_name,
    )  # fmt: skip
    return _document(build_api(cast("Views", None), Pages(), config))  # views are asked when an address is


def _mend(operation: dict[str, Any]) -> None:
    """Describe errors as they are answered: a wrong parameter is a Problem like every other one."""
    problem = {"application/json": {"schema": {"$ref": _REFERENCE.format(name=Problem.__name__)}}}
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


if __name__ == "__main__":
    sys.stdout.buffer.write(generated())

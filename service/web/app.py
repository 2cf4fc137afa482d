"""The HTTP interface: addresses, and which view answers them. Everything is read only."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final, Protocol, get_args

import structlog
from litestar import Litestar, Request, Response, get
from litestar.datastructures import ResponseHeader
from litestar.exceptions import HTTPException, NotFoundException, ServiceUnavailableException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, QueryParameter
from litestar.response import Stream
from litestar.types import ASGIApp

from domain.errors import ModelError, WeirError
from monitoring.drift_windows import Window
from monitoring.explanation import Explanation
from service.web import openapi
from service.web.answers import Problem, StatusAnswer
from service.web.drift_answers import DriftAnswer, DriftFeatureAnswer
from service.web.events import Events, TooManyBrowsers
from service.web.guard import Guard
from service.web.live_answers import LiveAnswer
from service.web.model_answers import ModelAnswer, ModelsAnswer
from service.web.pages import Pages
from service.web.quality_answers import QualityAnswer

API: Final = "/api/v1"
_log = structlog.get_logger()
_NOT_STORED: Final = {"cache-control": "no-store"}
_NOT_FOUND: Final = {
    404: ResponseSpec(Problem, description="There is none of that name; the sentence says what to do.", generate_examples=False)
}
_LATER: Final = {503: ResponseSpec(Problem, description="It cannot be found out now; the sentence says why.", generate_examples=False)}


class Views(Protocol):
    """What the addresses show. Nothing raises for a missing part: answers say what is missing."""

    events: Events

    def status(self) -> StatusAnswer:
        """Return whether it is well."""

    def live(self) -> LiveAnswer:
        """Return how the stream runs."""

    async def drift(self, window: Window) -> DriftAnswer:
        """Return what has changed."""

    async def drift_feature(self, feature: str, window: Window) -> DriftFeatureAnswer | None:
        """Return one feature, None if there is none of that name."""

    def quality(self) -> QualityAnswer:
        """Return how good the answers were."""

    async def models(self) -> ModelsAnswer:
        """Return the registry.

        Raises:
            ModelError: It cannot be read.
        """

    async def model(self, reference: str) -> ModelAnswer:
        """Return one model.

        Raises:
            ModelError: There is none of that name.
        """

    async def transaction(self, transaction_id: str) -> Explanation | None:
        """Return one transaction explained, None if it is nowhere.

        Raises:
            Unavailable: It cannot be found out now.
        """

    def health(self) -> Sequence[str]:
        """Return what is wrong with this process, a sentence each."""

    def exposition(self) -> bytes:
        """Return this process' metrics in Prometheus' text format."""


def build_app(views: Views, pages: Pages) -> ASGIApp:
    """Return the application, guarded."""
    return Guard(build_api(views, pages))


def build_api(views: Views, pages: Pages, openapi_config: OpenAPIConfig | None = None) -> Litestar:
    """Return the application without its guard.

    Args:
        views: What it shows.
        pages: The static files.
        openapi_config: For the one that only describes itself.
    """
    return Litestar(
        [*_api_handlers(views), _schema_handler(), *_own_handlers(views), *_page_handlers(pages)],
        openapi_config=openapi_config,
        exception_handlers={HTTPException: _problem, WeirError: _problem, Exception: _surprise},
        logging_config=None,
    )


def _api_handlers(views: Views) -> list[Any]:
    """Return the handlers of `/api/v1`; their docstrings and types are the OpenAPI document."""
    windows = QueryParameter(description=f"Length of event time: {', '.join(get_args(Window))}.")

    @get(f"{API}/status", summary="Is it well?", tags=["views"], response_headers=_headers())
    async def status() -> StatusAnswer:
        """Return the first screen's words: a headline, and what it rests on, the worst first."""
        return views.status()

    @get(f"{API}/live", summary="How the stream runs", tags=["views"], response_headers=_headers())
    async def live() -> LiveAnswer:
        """Return rate, latency, decisions, workers and the last alerts, with the last 10 minutes."""
        return views.live()

    @get(f"{API}/drift", summary="What has changed", tags=["views"], response_headers=_headers())
    async def drift(window: Annotated[Window, windows] = "24h") -> DriftAnswer:
        """Return every feature and the score against training and against earlier weeks, and the incidents."""
        return await views.drift(window)

    @get(f"{API}/drift/{{feature:str}}", summary="One feature", tags=["views"], responses=_NOT_FOUND, response_headers=_headers())
    async def drift_feature(feature: FromPath[str], window: Annotated[Window, windows] = "24h") -> DriftFeatureAnswer:
        """Return one feature (or `score`): its histograms, and its PSI over the last 7 days of event time."""
        found = await views.drift_feature(feature, window)
        if found is None:
            raise NotFoundException(f"no feature is called {feature!r}, or nothing was counted yet; /api/v1/drift lists them")
        return found

    @get(f"{API}/quality", summary="How good the answers were", tags=["views"], response_headers=_headers())
    async def quality() -> QualityAnswer:
        """Return precision, recall and money by day, corrected for labels that are still to come."""
        return views.quality()

    @get(f"{API}/models", summary="The registry", tags=["views"], response_headers=_headers())
    async def models() -> ModelsAnswer:
        """Return every model, which of them is champion, and what happened."""
        return await views.models()

    @get(f"{API}/models/{{model:str}}", summary="One model", tags=["views"], responses=_NOT_FOUND, response_headers=_headers())
    async def model(model: FromPath[str]) -> ModelAnswer:
        """Return one model in full: `name@version`, an alias, or the beginning of a version."""
        return await views.model(model)

    @get(
        f"{API}/transactions/{{transaction_id:str}}", summary="One transaction explained", tags=["views"],
        responses={**_NOT_FOUND, **_LATER}, response_headers=_headers(),
    )  # fmt: skip
    async def transaction(transaction_id: FromPath[str]) -> Explanation:
        """Return what arrived, the score, what each feature added, the decision, and the labels."""
        found = await views.transaction(transaction_id)
        if found is None:
            raise NotFoundException(
                "no transaction of that id is in the archive, the decision index or on the topic; "
                "the archive (weir archive) keeps transactions longest"
            )
        return found

    @get(
        f"{API}/events", summary="What happens, as it happens", tags=["events"], media_type="text/event-stream", responses=_LATER,
        response_headers=_headers(),
    )  # fmt: skip
    async def events(
        last_event_id: Annotated[str | None, HeaderParameter(name="Last-Event-ID", description="the last fact seen")] = None,
    ) -> Stream:
        """Stream server-sent events: `live` (LiveEvent) once a second, `alert` (AlertAnswer) and `incident` (Incident) as they come.

        Alerts and incidents have ids: a client that reconnects with `Last-Event-ID` gets what it missed. `reset` says that
        this is no longer possible: load the views afresh.
        """
        try:
            stream = views.events.open(last_event_id)
        except TooManyBrowsers as error:
            raise ServiceUnavailableException("too many pages are open; close some") from error
        return Stream(stream, media_type="text/event-stream", headers={"cache-control": "no-store", "x-accel-buffering": "no"})

    return [status, live, drift, drift_feature, quality, models, model, transaction, events]


def _own_handlers(views: Views) -> list[Any]:
    """Return the handlers about this process."""

    @get("/healthz", include_in_schema=False)
    async def healthz() -> Response[dict[str, object]]:
        problems = list(views.health())
        return Response({"alive": not problems, "problems": problems}, status_code=503 if problems else 200, headers=_NOT_STORED)

    @get("/metrics", include_in_schema=False, sync_to_thread=False)
    def metrics() -> Response[bytes]:
        return Response(views.exposition(), media_type="text/plain; version=0.0.4")

    return [healthz, metrics]


def _page_handlers(pages: Pages) -> list[Any]:
    def answer(request: Request[Any, Any, Any], path: str) -> Response[bytes]:
        found = None if path.startswith("/api/") else pages.find(path)
        if found is None:
            raise NotFoundException(f"there is nothing at {request.url.path}; the dashboard begins at /")
        headers = {"etag": found.etag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == found.etag:
            return Response(b"", status_code=304, headers=headers, media_type=found.media_type)
        return Response(found.content, headers=headers, media_type=found.media_type)

    @get("/", include_in_schema=False, sync_to_thread=False)
    def index(request: Request[Any, Any, Any]) -> Response[bytes]:
        return answer(request, "")

    @get("/{path:path}", include_in_schema=False, sync_to_thread=False)
    def page(request: Request[Any, Any, Any], path: FromPath[str]) -> Response[bytes]:
        return answer(request, path)

    return [index, page]


def _schema_handler() -> Any:
    document: list[bytes] = []

    @get(f"{API}/schema", include_in_schema=False, sync_to_thread=False)
    def schema() -> Response[bytes]:
        if not document:
            document.append(openapi.generated())
        return Response(document[0], media_type="application/json")

    return schema


def _headers() -> list[ResponseHeader]:
    return [ResponseHeader(name="cache-control", value="no-store", documentation_only=False)]


def _problem(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    if isinstance(error, HTTPException):
        status_code, sentence = error.status_code, _said(error, request)
    else:
        status_code, sentence = 404 if isinstance(error, ModelError) else 503, str(error)
    return Response(
        Problem(status_code=status_code, sentence=sentence), status_code=status_code, media_type="application/json", headers=_NOT_STORED
    )


def _said(error: HTTPException, request: Request[Any, Any, Any]) -> str:
    """Return the sentence of an error; of a wrong parameter also which and why."""
    if error.status_code == 400 and isinstance(error.extra, list):
        parts = [f"{part.get('key')}: {part.get('message')}" for part in error.extra if isinstance(part, dict)]
        return "; ".join(parts) or str(error.detail)
    if error.status_code == 404 and error.detail == HTTPStatus.NOT_FOUND.phrase:  # the router's own
        return f"there is nothing at {request.url.path}; {API}/schema lists what there is"
    return str(error.detail)


def _surprise(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    _log.error("view_failed", path=request.url.path, exc_info=error)
    sentence = "this view could not be made; the log of `weir web` says why"
    return Response(Problem(status_code=500, sentence=sentence), status_code=500, media_type="application/json", headers=_NOT_STORED)

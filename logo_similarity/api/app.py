"""The application: middleware, routes, startup and shutdown."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import cv2
import structlog
from fastapi import Depends, FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.security import APIKeyHeader
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware

from logo_similarity.api.admission import AdmissionMiddleware, LoadSheddingMiddleware
from logo_similarity.api.auth import ApiKeyMiddleware
from logo_similarity.api.connections import REASONS
from logo_similarity.api.errors import CODES, add_handlers
from logo_similarity.api.middleware import BodyMiddleware, RequestMiddleware
from logo_similarity.api.parameters import declared
from logo_similarity.api.paths import UNMATCHED
from logo_similarity.api.routes import (
    catalog,
    classification,
    docs,
    explain,
    files,
    health,
    keys,
    logos,
    page,
    report,
    search,
    watches,
)
from logo_similarity.api.routing import RouteTable
from logo_similarity.api.runtime import Runtime
from logo_similarity.api.schemas import problems
from logo_similarity.config import Settings, load_settings
from logo_similarity.domain import PARAMETERS
from logo_similarity.errors import LogoSimilarityError, StoreError
from logo_similarity.log import configure_logging
from logo_similarity.metrics import start_at_zero
from logo_similarity.storage import ImageStore
from logo_similarity.tracing import Tracing
from logo_similarity.version import __version__

log = structlog.get_logger(__name__)

DESCRIPTION = "Find the registered logos most similar to an image, with scores, metadata and signed image links."
UPLOAD_REFUSALS = (400, 401, 408, 413, 415, 422, 429, 503)
HEAD_TOO_LARGE = 431
"""A status of every path. Such a request is rejected before routing, so it is not counted as a request."""
LOOP_NICENESS = 4
"""Niceness of the event loop's thread, relative to the search threads: under contention it gets 30% of a core."""
MULTIPART_BYTES = 16_384
"""Allowance in a body for boundaries, part headers and the form fields beside the image."""


def create_app(settings: Settings | None = None, *, draining: Callable[[], bool] = lambda: False) -> FastAPI:
    """Create the application. It opens the catalog and makes connections only at startup.

    Args:
        settings: None: read from the environment.
        draining: whether the service will stop soon; if so, `/readyz` returns 503.

    Raises:
        ConfigError: a setting is invalid.
    """
    settings = settings or load_settings()
    settings.check_exposure()
    configure_logging(settings.log_level, settings.log_format)
    runtime = Runtime.of(settings)
    table = RouteTable()
    app = FastAPI(
        title="logo-similarity",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan(runtime),
        telemetry=_telemetry(runtime.tracing, table),
        responses=problems(HEAD_TOO_LARGE),
        docs_url=None,  # replaced by our own page, which loads nothing from other hosts
        redoc_url=None,
        middleware=[  # outermost first
            Middleware(LoadSheddingMiddleware, gate=runtime.gate, routes=table),
            Middleware(RequestMiddleware, routes=table, traced=runtime.tracing is not None),
            Middleware(
                BodyMiddleware,
                max_upload=settings.max_upload_bytes,
                form_bytes=MULTIPART_BYTES,
                seconds=settings.body_seconds,
                max_held=settings.max_inflight_bytes,
            ),
            Middleware(ApiKeyMiddleware, keys=runtime.keys, routes=table),
            Middleware(AdmissionMiddleware, gate=runtime.gate, routes=table),
        ],
    )
    app.state.runtime = runtime
    app.state.draining = draining
    add_handlers(app)

    # Only for the documentation: the middleware checks the keys.
    keyed = [Depends(APIKeyHeader(name="X-API-Key", auto_error=False))]
    app.include_router(search.router, tags=["search"], dependencies=keyed, responses=problems(*UPLOAD_REFUSALS))
    refusals = problems(*UPLOAD_REFUSALS, 404)
    app.include_router(explain.router, tags=["search"], dependencies=keyed, responses=refusals)
    app.include_router(catalog.router, tags=["logos"], dependencies=keyed, responses=problems(401, 422, 429, 503))
    app.include_router(report.router, tags=["search"], dependencies=keyed, responses=problems(*UPLOAD_REFUSALS, 501))
    app.include_router(logos.router, tags=["logos"], dependencies=keyed, responses=problems(401, 404, 422, 429, 503))
    app.include_router(classification.router, tags=["logos"], dependencies=keyed, responses=problems(401, 422, 429))
    app.include_router(
        watches.router,
        tags=["watches"],
        dependencies=keyed,
        responses=problems(*UPLOAD_REFUSALS, 404, 409),
    )
    app.include_router(keys.router, tags=["operations"], dependencies=keyed, responses=problems(401, 403, 429))
    app.include_router(docs.router)
    app.include_router(files.router)
    app.include_router(health.router)
    app.include_router(page.router)
    _document_definitions(app)
    return app


def _document_definitions(app: FastAPI) -> None:
    """Add to the OpenAPI document the named schemas that only parameters which FastAPI does not read refer to."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        for definitions in (declared(one).definitions() for one in PARAMETERS):
            document["components"]["schemas"].update(definitions)
        return document

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way


def _lifespan(runtime: Runtime) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Startup and shutdown of the application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        cv2.setNumThreads(1)
        with runtime.opened():
            _log_start(runtime)
            start_at_zero(requests=_responses(app), codes=_codes(), connections=REASONS)
            # Searches have priority over the event loop where both share a core: otherwise a flood of rejected requests
            # would take half of it. On Linux each thread has its own priority; the search threads keep theirs.
            os.nice(LOOP_NICENESS)
            tasks: list[asyncio.Task[None]] = [
                asyncio.create_task(follower.follow()) for follower in runtime.followers()
            ]
            tasks.append(asyncio.create_task(_report_store(runtime.store)))  # may be slow and must not delay startup
            # Long-lived objects are excluded from garbage collection: scanning them would pause all searches for 60 ms.
            gc.collect()
            gc.freeze()
            yield
            gc.unfreeze()
            for task in tasks:
                task.cancel()

    return lifespan


def _log_start(runtime: Runtime) -> None:
    engine, keys = runtime.live.current.engine, runtime.keys
    log.info(
        "ready", catalog=engine.version, logos=engine.logos.count, encoder=engine.encoder.model.id,
        device=engine.encoder.provider, threads=runtime.gate.threads, keys=len(keys.ring),
    )  # fmt: skip
    if keys.needed and not len(keys.ring):
        log.warning("no_keys", hint="every request is rejected; create a key: `logo-similarity keys create NAME`")


def _responses(app: FastAPI) -> Iterator[tuple[str, str, int]]:
    """Method, route and status of every documented response, and of internal errors."""
    for context in iter_route_contexts(app.routes):
        for method in context.methods or ():
            documented = getattr(context, "responses", None) or ()
            for status in {getattr(context, "status_code", None) or 200, *map(int, documented), 500} - {HEAD_TOO_LARGE}:
                yield method, str(context.path), status
    for method in ("GET", "POST"):
        yield method, UNMATCHED, 500


def _codes() -> Iterator[str]:
    """Every error code."""
    yield from CODES.values()
    kinds = [LogoSimilarityError]
    while kinds:
        kind = kinds.pop()
        yield kind.code
        kinds += kind.__subclasses__()


def _telemetry(tracing: Tracing | None, table: RouteTable) -> TelemetryConfig:
    """FastAPI's OpenTelemetry settings: spans of requests if tracing is on. Metrics and logs do not use it."""

    def exclude(scope: MutableMapping[str, Any]) -> bool:
        return scope["type"] != "http" or not table.policy(scope).traced

    quiet = TelemetryConfig(tracing=False, metrics=False, logs=False, operation_spans=False, auto_configure=False)
    if tracing is None:
        return quiet
    return {**quiet, "tracing": True, "tracer_provider": tracing.provider, "exclude": exclude}


async def _report_store(store: ImageStore | None) -> None:
    """Log at startup if images are not available. Searches work without the image store."""
    if store is None:
        log.warning("no_image_store", hint="image_url is null in every response; set LOGO_IMAGES_DIR or LOGO_S3_BUCKET")
        return
    try:
        await store.check()
    except StoreError as error:
        log.warning("image_store_unavailable", error=str(error))

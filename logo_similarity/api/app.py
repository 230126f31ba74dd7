"""The application: what it is made of, and what happens when it starts and stops."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import cv2
import faiss
import structlog
from fastapi import Depends, FastAPI
from fastapi.responses import RedirectResponse
from fastapi.routing import iter_route_contexts
from fastapi.security import APIKeyHeader
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware

from logo_similarity.api.admission import AdmissionMiddleware, LoadSheddingMiddleware
from logo_similarity.api.auth import ApiKeyMiddleware
from logo_similarity.api.cache import AnswerCache
from logo_similarity.api.connections import REASONS
from logo_similarity.api.deps import Runtime
from logo_similarity.api.errors import CODES, MEDIA_TYPE, add_handlers
from logo_similarity.api.live import LiveCatalog, pull
from logo_similarity.api.live_keys import LiveKeys
from logo_similarity.api.middleware import BodyMiddleware, RequestMiddleware
from logo_similarity.api.routes import docs, files, health, keys, logos, search
from logo_similarity.api.routing import CheckedRouter, RouteTable
from logo_similarity.api.schemas import Problem
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings, load_settings
from logo_similarity.cpu import thread_plan, usable_cores
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.gate import Gate
from logo_similarity.embed.model import default_model_folder
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import LogoSimilarityError, StoreError
from logo_similarity.follow import Follower
from logo_similarity.image.decode import ImageLimits
from logo_similarity.log import configure_logging
from logo_similarity.metrics import CATALOG_PULLS, CATALOG_SWAPS, KEYS_UNREAD, start_at_zero
from logo_similarity.storage import ImageStore, open_store
from logo_similarity.storage.objects import ObjectFolder
from logo_similarity.tracing import Tracing
from logo_similarity.version import __version__

log = structlog.get_logger(__name__)

DESCRIPTION = "A picture in, the most similar registered logos out, with scores, metadata and signed image links."
UPLOAD_REFUSALS = (400, 401, 408, 413, 415, 422, 429, 503)
LOOP_NICENESS = 4
"""Of the event loop's thread, over that of the search threads: three tenths of a core for it where both want all of it."""
MULTIPART_BYTES = 16_384
"""Room in a body for what multipart adds to the image: boundaries, headers, the other fields."""


def create_app(settings: Settings | None = None, *, draining: Callable[[], bool] = lambda: False) -> FastAPI:
    """The application with these settings, or with those of the environment. Nothing is opened before it starts.

    Args:
        settings: default: those of the environment.
        draining: whether the service will stop soon; `/readyz` answers 503 then.

    Raises:
        ConfigError: a setting is invalid.
    """
    settings = settings or load_settings()
    settings.check_exposure()
    configure_logging(settings.log_level, settings.log_format)
    live_keys = LiveKeys(settings)
    plan = thread_plan(usable_cores(), settings.workers, settings.threads)
    gate = Gate(
        threads=plan.threads,
        max_queue=settings.max_queue,
        queue_seconds=settings.queue_seconds,
        run_seconds=settings.search_seconds,
        # OpenMP counts threads per calling thread: said once in the main thread, it would not hold in these.
        initializer=lambda: faiss.omp_set_num_threads(1),
    )

    tracing = None
    if settings.otlp_endpoint is not None:
        tracing = Tracing(settings.otlp_endpoint, settings.trace_ratio)
    max_body = settings.max_upload_bytes + MULTIPART_BYTES
    table = RouteTable()
    app = FastAPI(
        title="logo-similarity",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan(settings, gate, live_keys, tracing),
        telemetry=_telemetry(tracing, table),
        docs_url=None,  # ours loads nothing from other hosts
        redoc_url=None,
        middleware=[  # in the order in which they see a request
            Middleware(LoadSheddingMiddleware, gate=gate, routes=table),
            Middleware(RequestMiddleware, routes=table, traced=tracing is not None),
            Middleware(
                BodyMiddleware,
                max_bytes=max_body,
                seconds=settings.body_seconds,
                max_held=settings.max_inflight_bytes,
            ),
            Middleware(ApiKeyMiddleware, keys=live_keys, routes=table),
            Middleware(AdmissionMiddleware, gate=gate, routes=table),
        ],
    )
    app.state.draining = draining
    add_handlers(app)

    # Only for the documentation: the middleware has let the request pass, or has not.
    keyed = [Depends(APIKeyHeader(name="X-API-Key", auto_error=False))]
    app.include_router(search.router, tags=["search"], dependencies=keyed, responses=_problems(*UPLOAD_REFUSALS))
    app.include_router(logos.router, tags=["logos"], dependencies=keyed, responses=_problems(401, 404, 422, 429, 503))
    app.include_router(keys.router, tags=["operations"], dependencies=keyed, responses=_problems(401, 403, 429))
    app.include_router(docs.router)
    app.include_router(files.router)
    app.include_router(health.router)

    pages = CheckedRouter()

    @pages.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("docs")  # relative: a proxy may put a prefix before all paths

    app.include_router(pages)
    return app


def try_settings(settings: Settings) -> None:
    """Open all that a worker opens but the catalog, and close it again; the catalog is tried by `catalog.trial`.

    Raises:
        LogoSimilarityError: a worker could not start.
    """
    create_app(settings)
    open_store(settings)
    if settings.catalog_url is not None:
        ObjectFolder(settings.catalog_url, settings)
    keys = LiveKeys(settings)
    keys.open()
    keys.close()
    if settings.device == "cuda":  # trials run on the CPU
        Encoder.open(default_model_folder(), device=settings.device)


def _lifespan(
    settings: Settings, gate: Gate, keys: LiveKeys, tracing: Tracing | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """What an application opens when it starts, and closes when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        cv2.setNumThreads(1)
        limits = ImageLimits.of(settings)

        def open_version(name: str) -> SearchEngine:
            engine = SearchEngine.open(settings.catalogs, version=name, device=settings.device, limits=limits)
            engine.decoder.warm_up(gate.threads)
            return engine

        trial = Trial.of(settings)
        live = LiveCatalog(Catalog(settings.catalogs), open_version, trial)
        store = open_store(settings)
        await asyncio.to_thread(keys.open)  # a bucket may take its time
        if tracing is not None:
            tracing.start()
        app.state.runtime = Runtime(settings, live, gate, AnswerCache(settings.cache_hits), store, keys, tracing)
        engine = live.current.engine
        log.info(
            "ready", catalog=engine.version, logos=engine.manifest.count, encoder=engine.encoder.model.id,
            device=engine.encoder.provider, threads=gate.threads, keys=len(keys.ring),
        )  # fmt: skip
        if keys.needed and not len(keys.ring):
            log.warning("no_keys", hint="every request is rejected; create a key: `logo-similarity keys create NAME`")
        # Where searches and the event loop share a core, searches go first: else a flood of requests that are only refused
        # would take half of it. A thread's priority is its own on Linux, and the search threads keep theirs.
        gate.start()
        start_at_zero(requests=_answers(app), codes=_codes(), connections=REASONS)
        os.nice(LOOP_NICENESS)
        followers = [
            Follower(
                live.look,
                seconds=settings.watch_seconds,
                event="catalog_refused",
                count_failure=CATALOG_SWAPS.labels("refused").inc,
                details=lambda: {"stays": live.current.engine.version},
            ),
            Follower(keys.look, seconds=settings.watch_seconds, event="keys_not_read", count_failure=KEYS_UNREAD.inc),
        ]
        if settings.catalog_url is not None:
            remote, folder = ObjectFolder(settings.catalog_url, settings), Catalog(settings.catalogs)
            followers.append(
                Follower(
                    partial(pull, remote, folder, keep=settings.keep_versions, trial=trial),
                    seconds=settings.pull_seconds,
                    event="catalog_not_pulled",
                    count_failure=CATALOG_PULLS.labels("failed").inc,
                    level=logging.WARNING,
                )
            )
        tasks: list[asyncio.Task[None]] = [
            *(asyncio.create_task(follower.follow()) for follower in followers),
            asyncio.create_task(_report_store(store)),  # a store that is slow to answer must not delay the start
        ]
        # What is there now stays: going through it again and again would stop all searches for 60 ms each time.
        gc.collect()
        gc.freeze()
        yield
        gc.unfreeze()
        for task in tasks:
            task.cancel()
        trial.stop()  # in another thread, which would hold up the end of this process
        gate.close()
        live.current.engine.close()
        keys.close()
        if tracing is not None:
            tracing.close()

    return lifespan


def _answers(app: FastAPI) -> Iterator[tuple[str, str, int]]:
    """Method, route and status of every documented answer, and of an internal error."""
    for context in iter_route_contexts(app.routes):
        for method in context.methods or ():
            documented = getattr(context, "responses", None) or ()
            for status in {getattr(context, "status_code", None) or 200, *map(int, documented), 500}:
                yield method, str(context.path), status
    for method in ("GET", "POST"):
        yield method, "unknown", 500


def _codes() -> Iterator[str]:
    """Every code that a refusal may have."""
    yield from CODES.values()
    kinds = [LogoSimilarityError]
    while kinds:
        kind = kinds.pop()
        yield kind.code
        kinds += kind.__subclasses__()


def _telemetry(tracing: Tracing | None, table: RouteTable) -> TelemetryConfig:
    """FastAPI's settings for OpenTelemetry: spans of requests where traces are on. Metrics and logs are our own."""

    def exclude(scope: MutableMapping[str, Any]) -> bool:
        return scope["type"] != "http" or not table.policy(scope).traced

    quiet = TelemetryConfig(tracing=False, metrics=False, logs=False, operation_spans=False, auto_configure=False)
    if tracing is None:
        return quiet
    return {**quiet, "tracing": True, "tracer_provider": tracing.provider, "exclude": exclude}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {status: {"model": Problem, "content": {MEDIA_TYPE: schema}} for status in statuses}


async def _report_store(store: ImageStore | None) -> None:
    """Say once, at start, where links will lead; a store that is down stops no search."""
    if store is None:
        log.warning("no_image_store", hint="image_url will be null: set LOGO_IMAGES_DIR or LOGO_S3_BUCKET")
        return
    try:
        await store.check()
    except StoreError as error:
        log.warning("image_store_unavailable", error=str(error))

"""`logo-similarity doctor`: checks of an installation, its settings, its catalog and its stores."""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib
import os
import shutil
import socket
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from logo_similarity.api.runtime import open_engine, open_remote, open_tracing
from logo_similarity.catalog.manifest import check_sizes, read_manifest
from logo_similarity.catalog.replica import published_version
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings, load_settings, unknown_settings
from logo_similarity.cpu import thread_plan, usable_cores
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import ConfigError, LogoSimilarityError
from logo_similarity.keys.fixed import read_fixed_keys
from logo_similarity.keys.store import open_key_store
from logo_similarity.keys.usage_file import usage_path
from logo_similarity.keys.usage_server import UsageServer
from logo_similarity.milvus.collections import collections_of, is_loaded
from logo_similarity.milvus.connection import IndexServer
from logo_similarity.plan import MEGABYTE, available_memory, plan_service
from logo_similarity.storage import open_store
from logo_similarity.version import __version__
from logo_similarity.wording import counted

LIBRARIES = ("cv2", "faiss", "fastapi", "gunicorn", "numpy", "obstore", "onnxruntime", "uvicorn")
EXPIRES_SOON = dt.timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    check: str
    state: Literal["ok", "warning", "failed"]
    detail: str

    @property
    def ok(self) -> bool:
        """Whether the check did not fail."""
        return self.state != "failed"


class CheckWarning(Warning):
    """Raised by a check that does not fail, with what the operator should know."""


def examine(**overrides: object) -> list[Finding]:
    """Check everything that serving needs. Changes nothing. `overrides`: settings, as `load_settings` takes them."""
    findings = [Finding("logo-similarity", "ok", f"{__version__} on Python {sys.version.split()[0]}")]
    findings += [attempt(name, lambda name=name: _library(name)) for name in LIBRARIES]  # type: ignore[misc]
    findings.append(attempt("SQLite", _sqlite))
    findings += [Finding("environment", "warning", message) for message in unknown_settings()]
    try:
        settings = load_settings(**overrides)
        settings.check_exposure()
    except LogoSimilarityError as error:
        return [*findings, Finding("settings", "failed", str(error))]
    return findings + list(_examine_settings(settings))


def _examine_settings(settings: Settings) -> Iterator[Finding]:
    address = f"{settings.host}:{settings.port}"
    yield Finding("settings", "ok", f"listens on {address}, catalogs in {settings.catalogs.absolute()}")
    yield attempt("API keys", lambda: _keys(settings))
    yield attempt("request counts", lambda: _usage(settings))
    cores = usable_cores()
    yield attempt("threads", lambda: _threads(settings, cores))
    yield attempt("encoder", lambda: _encoder(settings))
    catalog = attempt("catalog", lambda: _catalog(settings))
    yield catalog
    if catalog.ok:
        yield attempt("memory", lambda: _memory(settings, cores))
        yield attempt("disk", lambda: _disk(settings))
    yield attempt("index server", lambda: _index_server(settings))
    yield attempt("published catalog", lambda: _published(settings))
    yield attempt("image store", lambda: _store(settings))
    yield attempt("traces", lambda: _traces(settings))


def attempt(name: str, check: Callable[[], str]) -> Finding:
    """The outcome of a check, which returns its detail or raises."""
    try:
        return Finding(name, "ok", check())
    except CheckWarning as warning:
        return Finding(name, "warning", str(warning))
    except (LogoSimilarityError, ImportError, OSError) as error:
        return Finding(name, "failed", str(error))


def _library(name: str) -> str:
    return str(importlib.import_module(name).__version__)


def _sqlite() -> str:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE VIRTUAL TABLE probe USING fts5(text)")
    except sqlite3.OperationalError:
        raise ImportError(f"{sqlite3.sqlite_version} was built without FTS5; use another build of Python") from None
    finally:
        connection.close()
    return f"{sqlite3.sqlite_version} with FTS5"


def _keys(settings: Settings) -> str:
    if not settings.has_api_keys:
        raise CheckWarning("authentication is disabled: anyone who can connect can search")
    fixed = read_fixed_keys(settings)
    managed = open_key_store(settings).read().keys if settings.keys is not None else ()
    if not fixed and not managed:
        raise ConfigError(
            "no API keys exist; every request is rejected: create a key with `logo-similarity keys create NAME`"
        )
    now = dt.datetime.now(dt.UTC)
    states = Counter(key.state(now) for key in managed)
    expiring = sum(key.state(now + EXPIRES_SOON) == "expired" for key in managed) - states["expired"]
    parts = [f"{count} {state}" for state, count in sorted(states.items())]
    if expiring:
        parts.append(f"{expiring} expiring within {EXPIRES_SOON.days} days")
    if fixed:
        parts.append(f"{len(fixed)} from the settings")
    return "; ".join(parts)


def _usage(settings: Settings) -> str:
    if settings.usage_url is None:
        return f"in {usage_path(settings)}, of this machine alone"
    server = UsageServer(settings.usage_url)
    server.open().close()
    return f"on {server.name}, of all replicas"


def _threads(settings: Settings, cores: int) -> str:
    plan = thread_plan(cores, settings.workers, settings.threads)
    detail = (
        f"{counted(cores, 'usable core')}: {counted(plan.workers, 'worker')} with "
        f"{counted(plan.threads, 'search thread')} each"
    )
    if plan.workers * plan.threads > cores:
        raise ConfigError(f"{detail}: lower LOGO_WORKERS or LOGO_THREADS")
    return detail


def _encoder(settings: Settings) -> str:
    from logo_similarity.embed.model import default_model_folder

    encoder = Encoder.open(default_model_folder(), device=settings.device, threads=1)
    encoder.warm_up()
    return f"{encoder.model.id}, {encoder.dimension} dimensions, on {encoder.provider}"


def _catalog(settings: Settings) -> str:
    folder = Catalog(settings.catalogs).current()
    check_sizes(folder, read_manifest(folder))
    with open_engine(settings) as engine:
        manifest = engine.manifest
    return f"{folder.name}: {counted(manifest.count, 'logo')}, recall {manifest.recall.value:.4f}"


def _index_server(settings: Settings) -> str:
    server = IndexServer.of(settings)
    if server is None:
        return "none: LOGO_INDEX_URL is not set"
    live = Catalog(settings.catalogs).current_name()
    manifest = None if live is None else read_manifest(Catalog(settings.catalogs).folder(live))
    needed = () if manifest is None else collections_of(manifest)
    states = [f"{one.name} {'loaded' if is_loaded(server, one.name) else 'not loaded'}" for one in needed]
    return f"Milvus {server.version()} at {server.url}: {', '.join(states) or 'not used by the live version'}"


def _memory(settings: Settings, cores: int) -> str:
    manifest = read_manifest(Catalog(settings.catalogs).current())
    plan = plan_service(manifest.size, manifest.model_size, cores, settings)
    available = available_memory()
    detail = (
        f"{plan.limit // MEGABYTE:,} MB needed for {counted(plan.threads.workers, 'worker')}, "
        f"{available // MEGABYTE:,} MB available"
    )
    if available < plan.limit:
        raise ConfigError(f"{detail}: raise the limit, or lower LOGO_WORKERS")
    return detail


def _disk(settings: Settings) -> str:
    version = Catalog(settings.catalogs).current()
    size, free = read_manifest(version).size, shutil.disk_usage(version).free
    detail = f"{free // MEGABYTE:,} MB free, {size // MEGABYTE:,} MB needed for another version of this size"
    if settings.catalog_url is not None and not os.access(settings.catalogs, os.W_OK):
        raise ConfigError(f"{settings.catalogs} is not writable, so new versions cannot be fetched")
    if free < size and settings.catalog_url is not None:
        raise ConfigError(f"{detail}: delete old versions with `logo-similarity catalog prune`")
    return detail


def _published(settings: Settings) -> str:
    remote = open_remote(settings)
    if remote is None:
        return "none: LOGO_CATALOG_URL is not set"
    name = published_version(remote)
    live = Catalog(settings.catalogs).current_name()
    return f"{remote.url}: {name}" + ("" if name == live else f"; the live version here is {live or 'missing'}")


def _traces(settings: Settings) -> str:
    tracing = open_tracing(settings)
    if tracing is None:
        return "none: LOGO_OTLP_ENDPOINT is not set"
    tracing.close()
    address = urlsplit(str(settings.otlp_endpoint))
    try:
        socket.create_connection((str(address.hostname), address.port or 4318), timeout=3).close()
    except OSError as error:
        raise ConfigError(f"LOGO_OTLP_ENDPOINT: {settings.otlp_endpoint} is not reachable: {error}") from None
    return f"to {settings.otlp_endpoint}, {settings.trace_ratio:.0%} of the requests"


def _store(settings: Settings) -> str:
    store = open_store(settings)
    if store is None:
        raise CheckWarning(
            "not configured; image_url is null: set LOGO_IMAGES_DIR or LOGO_S3_BUCKET, or name the folder with --images"
        )
    asyncio.run(store.check())
    return str(settings.images_dir or f"bucket {settings.s3_bucket} at {settings.s3_endpoint or 'AWS'}")

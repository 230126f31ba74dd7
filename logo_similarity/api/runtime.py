"""The components of a worker: composed once, opened at startup, closed at shutdown."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import faiss

from logo_similarity.api.cache import AnswerCache
from logo_similarity.api.changes import LiveChanges
from logo_similarity.api.live import LiveCatalog, pull
from logo_similarity.api.live_keys import LiveKeys
from logo_similarity.api.live_watches import LiveWatches
from logo_similarity.catalog.live_replica import LivePublisher, LiveReplica
from logo_similarity.catalog.signature import required_signing_key
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import Catalog
from logo_similarity.classification import Classifications, load_classifications
from logo_similarity.config import Settings
from logo_similarity.cpu import thread_plan, usable_cores
from logo_similarity.embed.gate import Gate
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import ConfigError
from logo_similarity.follow import Follower
from logo_similarity.metrics import (
    CATALOG_PULLS,
    CATALOG_SWAPS,
    CHANGES_FAILED,
    CHANGES_PUBLISHED,
    CHANGES_PULLED,
    KEYS_UNREAD,
    USAGE_SERVER_FAILURES,
    WATCH_RUNS,
)
from logo_similarity.storage import ImageStore, open_store
from logo_similarity.storage.objects import ObjectFolder
from logo_similarity.tracing import Tracing

CHANGES_SECONDS = 0.5
"""Interval at which each worker looks for changes that others have made."""

MERGE_SECONDS = 2.0
"""Interval at which each worker looks whether segments of changes should be merged."""


PUBLISH_SECONDS = 0.5
"""Interval at which each worker looks whether changes should be published."""

PULL_CHANGES_SECONDS = 30.0
"""Time limit of a request for published changes, which is repeated anyway."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The components of a worker. They are usable within `opened`."""

    settings: Settings
    gate: Gate
    keys: LiveKeys
    live: LiveCatalog
    changes: LiveChanges
    cache: AnswerCache
    store: ImageStore | None
    """The image store; None: responses have no links."""
    remote: ObjectFolder | None
    """The published catalog that this service follows, if any."""
    tracing: Tracing | None
    trial: Trial
    changes_trial: Trial
    """The trial of published changes, which may run at the same time as that of a version."""
    classifications: Classifications
    """The names of Vienna codes and Nice classes."""
    watches: LiveWatches

    @classmethod
    def of(cls, settings: Settings) -> Runtime:
        """Create the components. Opens no catalog and makes no connection.

        Raises:
            ConfigError: a setting is invalid.
        """
        plan = thread_plan(usable_cores(), settings.workers, settings.threads)
        trial = Trial.of(settings)
        store, remote = open_store(settings), open_remote(settings)
        changes_trial = Trial.of(settings)
        changes = LiveChanges(
            Catalog(settings.catalogs),
            store,
            None if remote is None else _refusal(settings),
            turns=max(1, plan.threads // 2),
            waiting=settings.max_queue // 2,
            replica=None if remote is None else open_live_replica(settings, changes_trial),
            publisher=open_publisher(settings),
        )

        def open_version(name: str) -> SearchEngine:
            engine = open_engine(settings, name)
            engine.decoder.warm_up(plan.threads)
            return engine

        keys = LiveKeys(settings)
        live = LiveCatalog(Catalog(settings.catalogs), open_version, trial, changes)
        return cls(
            settings=settings,
            gate=Gate(
                threads=plan.threads,
                max_queue=settings.max_queue,
                queue_seconds=settings.queue_seconds,
                run_seconds=settings.search_seconds,
                # OpenMP keeps this setting per thread; the value of the main thread does not apply to search threads.
                initializer=lambda: faiss.omp_set_num_threads(1),
            ),
            keys=keys,
            live=live,
            changes=changes,
            cache=AnswerCache(settings.cache_hits),
            store=store,
            remote=remote,
            tracing=open_tracing(settings),
            trial=trial,
            changes_trial=changes_trial,
            classifications=load_classifications(settings.vienna_names),
            watches=LiveWatches(settings, live, keys),
        )

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Open all components, and close them at the end of the `with` block.

        Raises:
            CatalogError, EncoderError: no catalog version can be served.
            ConfigError, StoreError: the keys cannot be read.
        """
        with ExitStack() as stack:
            if self.tracing is not None:
                self.tracing.start()
                stack.callback(self.tracing.close)
            stack.callback(self.keys.close)
            self.keys.open()
            stack.callback(self.changes.close)
            self.live.open()
            stack.callback(self.live.close)
            stack.callback(self.gate.close)
            self.gate.start()
            stack.callback(self.watches.stop)
            stack.callback(self.trial.stop)  # stopped first: a trial in another thread would delay the exit
            stack.callback(self.changes_trial.stop)
            yield

    def followers(self) -> list[Follower]:
        """One follower for each resource that may change while the worker runs."""
        settings = self.settings
        followers = [
            Follower(
                self.live.look,
                seconds=settings.poll_seconds,
                event="catalog_refused",
                count_failure=CATALOG_SWAPS.labels("refused").inc,
                details=lambda: {"stays": self.live.current.engine.version},
            ),
            Follower(
                self.live.look_at_changes,
                seconds=CHANGES_SECONDS,
                event="changes_not_shown",
                count_failure=CHANGES_FAILED.inc,
                wake=self.changes.wake,
            ),
            Follower(
                self.live.merge_changes,
                seconds=MERGE_SECONDS,
                event="changes_not_merged",
                count_failure=CHANGES_FAILED.inc,
            ),
            Follower(
                self.keys.look, seconds=settings.poll_seconds, event="keys_not_read", count_failure=KEYS_UNREAD.inc
            ),
        ]
        if settings.keys is not None:
            followers.append(
                Follower(
                    self.keys.usage.look,
                    seconds=settings.poll_seconds,
                    event="usage_not_shared",
                    count_failure=USAGE_SERVER_FAILURES.inc,
                )
            )
        followers.append(
            Follower(
                self.watches.look,
                seconds=settings.poll_seconds,
                event="watches_not_run",
                count_failure=WATCH_RUNS.labels("failed").inc,
            )
        )
        if self.remote is not None:
            folder = Catalog(settings.catalogs)
            followers.append(
                Follower(
                    partial(pull, self.remote, folder, self.changes, keep=settings.keep_versions, trial=self.trial),
                    seconds=settings.pull_seconds,
                    event="catalog_not_pulled",
                    count_failure=CATALOG_PULLS.labels("failed").inc,
                    level=logging.WARNING,
                )
            )
            followers.append(
                Follower(
                    self.live.pull_changes,
                    seconds=settings.pull_changes_seconds,
                    event="changes_not_pulled",
                    count_failure=CHANGES_PULLED.labels("failed").inc,
                    level=logging.WARNING,
                )
            )
        if settings.publish_url is not None:
            followers.append(
                Follower(
                    self.live.publish_changes,
                    seconds=PUBLISH_SECONDS,
                    event="changes_not_published",
                    count_failure=CHANGES_PUBLISHED.labels("failed").inc,
                    level=logging.WARNING,
                )
            )
        return followers


def _refusal(settings: Settings) -> str:
    """Why a service that follows a published catalog accepts no changes."""
    where = (
        "to the service that publishes it (LOGO_PRIMARY_URL is not set)"
        if settings.primary_url is None
        else f"to {settings.primary_url}"
    )
    return f"this service follows a published catalog, and accepts no changes; send them {where}"


def open_engine(settings: Settings, version: str | None = None) -> SearchEngine:
    """Open a catalog version, the live one by default. Raises as `SearchEngine.open`."""
    return SearchEngine.of(settings, version=version)


def open_remote(settings: Settings) -> ObjectFolder | None:
    """The published catalog in the settings, or None. Makes no connection. Raises ConfigError if its URL is invalid."""
    return None if settings.catalog_url is None else ObjectFolder(settings.catalog_url, settings)


def open_live_replica(settings: Settings, trial: Trial) -> LiveReplica:
    """What applies the changes in the published catalog in the settings. Makes no connection."""
    remote = ObjectFolder(str(settings.catalog_url), settings, seconds=PULL_CHANGES_SECONDS)
    return LiveReplica(remote, Catalog(settings.catalogs), trial)


def open_publisher(settings: Settings) -> LivePublisher | None:
    """What publishes the version and its changes where the settings say; None: nothing does. Makes no connection.

    Raises:
        ConfigError: the location is not valid, the service also follows one, or the signing key is missing.
    """
    if settings.publish_url is None:
        return None
    if settings.catalog_url is not None:
        raise ConfigError(
            "LOGO_PUBLISH_URL and LOGO_CATALOG_URL are both set: a service that follows a published catalog cannot "
            "publish one; unset one of them"
        )
    return LivePublisher(
        ObjectFolder(settings.publish_url, settings),
        Catalog(settings.catalogs),
        required_signing_key(settings),
        seconds=settings.pull_seconds,
    )


def open_tracing(settings: Settings) -> Tracing | None:
    """Tracing to the configured collector, or None. Sends nothing yet. Raises ConfigError if a library is missing."""
    return None if settings.otlp_endpoint is None else Tracing(settings.otlp_endpoint, settings.trace_ratio)

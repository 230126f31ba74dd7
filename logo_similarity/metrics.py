"""All metrics of the service, and the page that Prometheus scrapes."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from logo_similarity.domain import STAGES
from logo_similarity.version import __version__

CONTENT_TYPE = CONTENT_TYPE_LATEST
WORKER = "worker-"
"""Prefix of the names of the files that list the live workers."""

# In seconds. A stage of a search takes between a fraction of a millisecond and a few milliseconds; a queue, seconds.
BUCKETS = (0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)

REQUESTS = Counter("logo_requests_total", "Completed requests.", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "logo_request_seconds",
    "Time from the head of a request to the end of its response.",
    ["method", "route"],
    buckets=BUCKETS,
)
STAGE_SECONDS = Histogram("logo_stage_seconds", "Time in each stage of a search.", ["stage"], buckets=BUCKETS)
IN_FLIGHT = Gauge("logo_searches_in_flight", "Searches running or waiting.", multiprocess_mode="livesum")
STUCK_THREADS = Gauge(
    "logo_stuck_threads",
    "Search threads busy with one search for longer than LOGO_SEARCH_SECONDS.",
    multiprocess_mode="livesum",
)
CONNECTIONS_REFUSED = Counter(
    "logo_connections_refused_total", "Connections refused or closed because of a limit, by reason.", ["reason"]
)
REFUSED = Counter("logo_refused_total", "Requests refused, by error code.", ["code"])
ABANDONED = Counter("logo_abandoned_total", "Searches whose client disconnected before the response.")
CATALOG_PULLS = Counter(
    "logo_catalog_pulls_total", "Attempts to fetch a published catalog version, by outcome.", ["outcome"]
)
CHANGES = Counter("logo_changes_total", "Changes of logos, by outcome.", ["outcome"])
CHANGES_FAILED = Counter(
    "logo_changes_failed_total", "Failed attempts to show changes of logos to searches; they are repeated."
)
CHANGES_PUBLISHED = Counter(
    "logo_changes_published_total",
    "Attempts to publish changes of logos or a version in a bucket, by outcome.",
    ["outcome"],
)
CHANGES_PULLED = Counter(
    "logo_changes_pulled_total", "Attempts to fetch published changes of logos, by outcome.", ["outcome"]
)
KEY_REQUESTS = Counter("logo_key_requests_total", "Requests with a valid API key, by key id.", ["key", "outcome"])
KEYS_UNREAD = Counter(
    "logo_keys_unread_total", "Failed attempts to read the API keys; the keys read before stay in use."
)
WATCH_RUNS = Counter("logo_watch_runs_total", "Searches of new logos for all watches, by outcome.", ["outcome"])
WATCH_ALERTS = Counter("logo_watch_alerts_total", "Alerts of watches.")
WATCH_DELIVERIES = Counter("logo_watch_deliveries_total", "Alerts sent to webhooks, by outcome.", ["outcome"])
USAGE_LOST = Counter(
    "logo_usage_lost_total", "Requests that could not be counted, and were admitted without checking limits."
)
USAGE_SERVER_FAILURES = Counter(
    "logo_usage_server_failures_total",
    "Requests that the server of LOGO_USAGE_URL did not count, and failed attempts to reach it again.",
)
DAMAGED = Counter(
    "logo_damaged_images_total", "Images of searches that were damaged and searched for as far as they were readable."
)
CACHED = Counter("logo_cached_total", "Searches answered from the cache.")
CATALOG_LOGOS = Gauge(
    "logo_catalog_logos",
    "Logos in the open catalog version; 0 for a version that is no longer open.",
    ["version"],
    multiprocess_mode="livemax",
)
CATALOG_CREATED = Gauge(
    "logo_catalog_created_seconds",
    "Time at which the open catalog version was built, in seconds since 1970.",
    multiprocess_mode="livemax",
)
CATALOG_SWAPS = Counter("logo_catalog_swaps_total", "Catalog versions opened or refused, by outcome.", ["outcome"])


def start_at_zero(
    *, requests: Iterable[tuple[str, str, int]], codes: Iterable[str], connections: Iterable[str]
) -> None:
    """Create every series of the counters with a bounded set of labels, and those of the stages, at 0.

    `increase()` and `rate()` do not see the step from a missing series to 1: without this, an alert on the first event
    would never fire. The first series of each kind also creates a file, which a full disk would refuse later.

    Args:
        requests: method, route and status of every possible response.
        codes: error codes of refused requests.
        connections: reasons for refusing a connection.
    """
    for method, route, status in requests:
        REQUESTS.labels(method, route, str(status))
    for code in codes:
        REFUSED.labels(code)
    for reason in connections:
        CONNECTIONS_REFUSED.labels(reason)
    for counter, outcomes in (
        (CATALOG_SWAPS, ("swapped", "refused")),
        (CHANGES, ("created", "changed", "unchanged", "deleted")),
        (CATALOG_PULLS, ("pulled", "failed")),
        (CHANGES_PUBLISHED, ("published", "failed")),
        (CHANGES_PULLED, ("pulled", "failed")),
        (WATCH_RUNS, ("run", "failed")),
        (WATCH_DELIVERIES, ("delivered", "failed")),
    ):
        for outcome in outcomes:
            counter.labels(outcome)
    for stage in ("queue", *STAGES, "links"):
        STAGE_SECONDS.labels(stage)


def render(folder: Path | None) -> bytes:
    """The metrics page in the text format of Prometheus.

    Args:
        folder: the folder of metric files that all workers write to; None: only the metrics of this process.
    """
    registry = CollectorRegistry()
    registry.register(_Build())
    if folder is None:
        return generate_latest(REGISTRY) + generate_latest(registry)
    registry.register(_Workers(folder))
    registry.register(_Processes(folder))
    return generate_latest(registry)


def remember_worker(folder: Path, process: int) -> None:
    """Add a worker, by its process id, to the processes whose memory and CPU time are reported."""
    (folder / f"{WORKER}{process}").touch()


def forget_worker(folder: Path, process: int, writer: str) -> None:
    """Delete the gauges of a dead worker. Its counters stay; the next worker with the same writer name continues them.

    Args:
        folder: the folder of metric files.
        process: process id of the worker.
        writer: the writer name in the names of its metric files.
    """
    (folder / f"{WORKER}{process}").unlink(missing_ok=True)
    mark_process_dead(writer, str(folder))
    for path in folder.glob(f"*_{writer}.db"):
        if path.stat().st_size == 0:
            path.unlink()


class _Build(Collector):
    """Versions of the service and of its main libraries."""

    def collect(self) -> list[Metric]:
        return [_build_info()]


@functools.cache
def _build_info() -> Metric:
    labels = {
        "version": __version__,
        "python": platform.python_version(),
        "onnxruntime": _package_version("onnxruntime", "onnxruntime-gpu"),
        "faiss": _package_version("faiss-cpu"),
    }
    family = GaugeMetricFamily("logo_build_info", "Always 1; the labels contain the versions.", labels=list(labels))
    family.add_metric(list(labels.values()), 1)
    return family


def _package_version(*packages: str) -> str:
    """The version of the first of these packages that is installed, else "unknown"."""
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "unknown"


class _Processes(Collector):
    """Memory, CPU time, open files and start time of the master process and of each live worker.

    The metrics have the names of the Prometheus client library, whose collector covers only the current process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> list[Metric]:
        workers = {int(path.name.removeprefix(WORKER)) for path in self._folder.glob(f"{WORKER}*")}
        master = os.getppid()
        families: dict[str, Metric] = {}
        for process in sorted(workers | {master}):
            labels = {"pid": str(process), "process": "master" if process == master else "worker"}
            collector = ProcessCollector(pid=lambda process=process: process, registry=None)  # type: ignore[misc]
            for metric in collector.collect():
                family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    family.add_sample(sample.name, labels, sample.value)
        return list(families.values())


class _Workers(Collector):
    """The merged values of all workers.

    The library's collector fails on the empty file that a worker leaves if it is killed right after it starts
    (https://github.com/prometheus/client_python/issues/1199), so that every later scrape would fail.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> list[Metric]:
        files = [str(path) for path in sorted(self._folder.glob("*.db")) if path.stat().st_size > 0]
        return list(MultiProcessCollector.merge(files, accumulate=True))

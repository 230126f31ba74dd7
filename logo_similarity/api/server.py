"""The processes of the service: startup checks, gunicorn's master and workers. Imports no ML library."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import itertools
import logging
import mmap
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from asyncio import Protocol
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from uvicorn import Server as UvicornServer
from uvicorn_worker import UvicornWorker

from logo_similarity.catalog.manifest import read_manifest
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import Catalog
from logo_similarity.catalog.warming import read_version_ahead
from logo_similarity.config import Settings, unknown_settings
from logo_similarity.cpu import ThreadPlan, usable_cores
from logo_similarity.errors import CatalogError, ConfigError, LogoSimilarityError, ServiceError
from logo_similarity.limits import (
    DESCRIPTORS_BESIDE_CONNECTIONS,
    DESCRIPTORS_PER_CONNECTION,
    die_with_parent,
    raise_descriptors,
)
from logo_similarity.log import configure_logging
from logo_similarity.plan import MEGABYTE, ServicePlan, memory_limit, plan_service
from logo_similarity.version import __version__

log = structlog.get_logger(__name__)

# A search runs on one of our threads, so the libraries must not start threads of their own. Set before any of them is
# loaded, since OpenMP reads these variables once.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
RESTART_SECONDS = 1.0
"""Delay before a worker starts after one that failed to start."""
UNREADY_SECONDS = 2.0
"""Time without a ready worker after which the port is closed. A killed worker is replaced within it."""
LAST_SECONDS = 5
"""Extra time after which the kernel kills a worker that the master should have killed."""
METRICS_PREFIX = "logo-similarity-metrics-"
LOCK = "lock"


class SharedFlag:
    """A flag that a process shares with its later child processes. Once set, it stays set."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def set(self) -> None:
        """Set the flag in all these processes."""
        self._memory[0] = 1

    def is_set(self) -> bool:
        """Whether any of these processes has set the flag."""
        return self._memory[0] == 1


class SearchServer(UvicornServer):
    """uvicorn's server in a worker. It drains with the master, and stops if the master dies."""

    def __init__(self, worker: SearchWorker) -> None:
        super().__init__(worker.config)
        self._worker = worker

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen. From now on, if the master dies, the worker finishes its requests and stops."""
        await super().startup(sockets)
        self._worker.ready.set()
        for listener in sockets or []:
            listener.listen(self.config.backlog)  # again: the master may have closed it while no worker was ready
        die_with_parent(self._worker.ppid, signal.SIGTERM)

    async def on_tick(self, counter: int) -> bool:
        """Ask clients to close their connections while the service drains."""
        should_exit = await super().on_tick(counter)
        if self._worker.app.drain.is_set():
            closing = (b"connection", b"close")
            if closing not in self.server_state.default_headers:  # uvicorn renews them every second
                self.server_state.default_headers.append(closing)
        return should_exit

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port and finish the accepted requests, within a time limit even if the master has died."""
        signal.alarm(self._worker.cfg.graceful_timeout + LAST_SECONDS)
        if os.getppid() != self._worker.ppid:
            log.error("master_died", hint="the port is closed; requests in progress are finished")
            for listener in sockets or []:
                with suppress(OSError):  # another worker has closed it
                    listener.shutdown(socket.SHUT_RDWR)  # in all processes, since one of them may hang
        await super().shutdown(sockets)

    def stop(self) -> None:
        """Stop as on SIGTERM."""
        self.should_exit = True


class SearchWorker(UvicornWorker):
    """A uvicorn worker that finishes requests in progress, within a time limit, before it stops."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - passed through
        super().__init__(*args, **kwargs)
        self.config.timeout_graceful_shutdown = self.cfg.graceful_timeout
        self.ready = SharedFlag()
        """Whether it accepts requests; read by the master."""
        self.number = 0
        """Unique among the live workers, from 0."""

    def init_process(self) -> None:
        """Start and serve. The service stops if one of the first workers cannot start, but not if a later one cannot.

        gunicorn would stop all workers in both cases. Here the others continue, and the failed one is started again.
        """
        die_with_parent(self.ppid)
        self.app.writer = str(self.number)
        try:
            super().init_process()
        except (Exception, SystemExit) as error:
            if self.age <= self.cfg.workers or (
                isinstance(error, SystemExit) and error.code != Arbiter.WORKER_BOOT_ERROR
            ):
                raise
            if not isinstance(error, SystemExit):
                log.error("worker_not_started", error=str(error))  # noqa: TRY400 - repeated every second
            sys.exit(1)

    def load_wsgi(self) -> None:
        """Load the application and its connection limits, after a delay if the last worker failed to start."""
        if self.app.worker_failed:
            time.sleep(RESTART_SECONDS)
        super().load_wsgi()
        self.config.http = self.app.protocol()
        self.config.ws = "none"

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = SearchServer(self)
        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, server.stop)
        await server.serve(sockets=self.sockets)

    async def callback_notify(self) -> None:
        """Send the master a heartbeat. If this worker hangs after the master died, the kernel kills it."""
        await super().callback_notify()
        signal.alarm(self.cfg.timeout + LAST_SECONDS)


class Master(Arbiter):
    """gunicorn's master, with a drain before it stops."""

    _drained: float | None = None
    """End of the drain on the monotonic clock; None: not draining."""
    opened = False
    """Whether a worker has been ready since the port was last closed."""
    _unready: float | None = None
    """Since when no worker has been ready, on the monotonic clock."""

    def handle_term(self) -> None:
        """Start draining on the first SIGTERM; stop on the second."""
        seconds = self.app.drain_seconds
        if self._drained is not None or seconds == 0:
            super().handle_term()
        log.info("draining", seconds=seconds)
        self.app.drain.set()
        self._drained = time.monotonic() + seconds

    def manage_workers(self) -> None:
        """Replace workers that ended, also while draining; stop at the end of the drain."""
        if self._drained is not None and time.monotonic() >= self._drained:
            raise StopIteration
        super().manage_workers()
        self._close_without_workers()

    def _close_without_workers(self) -> None:
        """Close the port if no worker has been ready for UNREADY_SECONDS. The next ready worker opens it again.

        Otherwise the kernel would keep accepting connections, and clients would wait for a response.
        """
        if self._any_ready():
            self.opened, self._unready = True, None
        elif self.opened and self._unready is None:
            self._unready = time.monotonic()
        elif self._unready is not None and time.monotonic() - self._unready >= UNREADY_SECONDS:
            self.opened, self._unready = False, None
            for listener in self.LISTENERS:
                listener.shutdown(socket.SHUT_RDWR)
            log.error(
                "no_worker_ready",
                hint="the port is closed until a worker is ready; check the log for why the workers ended",
            )
            if self._any_ready():  # a worker has become ready in the meantime
                for listener in self.LISTENERS:
                    listener.listen(self.cfg.backlog)

    def _any_ready(self) -> bool:
        return any(worker.ready.is_set() for worker in self.WORKERS.values())


class ServerLogger(Logger):
    """Writes gunicorn's messages in the format of all others."""

    def setup(self, cfg: Config) -> None:
        """Pass messages to the handler set up by `configure_logging`."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class Server(BaseApplication):
    """gunicorn with our settings, without its own configuration file or command line."""

    def __init__(self, settings: Settings, plan: ThreadPlan, metrics: Path) -> None:
        self._settings = settings
        self._plan = plan
        self._metrics = metrics
        self.drain = SharedFlag()
        self.drain_seconds = settings.drain_seconds
        self.worker_failed = False
        """Whether the last worker to end never became ready."""
        self.writer = "master"
        """The name under which this process writes metrics. A worker uses its number, so it continues the
        counts of the worker that it replaces, and files do not accumulate when workers die repeatedly."""
        super().__init__()

    def run(self) -> None:
        """Serve until stopped. Does not return: the process exits."""
        Master(self).run()

    def load_config(self) -> None:
        """Set gunicorn's options."""
        host = self._settings.host
        if ":" in host:
            host = f"[{host}]"  # an IPv6 address before a port
        options = {
            "bind": f"{host}:{self._settings.port}",
            "workers": self._plan.workers,
            "worker_class": f"{__name__}.SearchWorker",
            "preload_app": False,  # FAISS and ONNX Runtime hang in a process forked after they were loaded
            "timeout": self._settings.hang_seconds,
            "graceful_timeout": self._settings.graceful_seconds,
            "forwarded_allow_ips": self._settings.trusted_proxies,
            "control_socket_disable": True,
            "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,  # noqa: S108 - as gunicorn advises
            "proc_name": "logo-similarity",
            "loglevel": self._settings.log_level,
            "logger_class": ServerLogger,
            "pre_fork": self._number_worker,
            "child_exit": self._worker_ended,
            "on_exit": self._clean_up,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> FastAPI:
        """Create the application; called in each worker, after the fork."""
        from logo_similarity.api.app import create_app  # not loaded in the master
        from logo_similarity.metrics import remember_worker

        remember_worker(self._metrics, os.getpid())
        # Workers must share the metrics folder, the plan, and the generated link secret.
        shared = {"metrics_dir": self._metrics, "workers": self._plan.workers, "threads": self._plan.threads}
        return create_app(self._settings.model_copy(update=shared), draining=self.drain.is_set)

    def protocol(self) -> Callable[..., Protocol]:
        """The connection factory; called in each worker, after the fork."""
        from logo_similarity.api.connections import ConnectionBounds, bounded_protocol  # as in `load`

        return bounded_protocol(ConnectionBounds.of(self._settings))

    def _number_worker(self, arbiter: Master, worker: SearchWorker) -> None:
        live_numbers = {other.number for other in arbiter.WORKERS.values()}
        worker.number = next(number for number in itertools.count() if number not in live_numbers)

    def _worker_ended(self, arbiter: Master, worker: SearchWorker) -> None:
        from logo_similarity.metrics import (
            forget_worker,
        )  # creates the metrics, so it is imported after their folder is set

        forget_worker(self._metrics, worker.pid, writer=str(worker.number))
        self.worker_failed = not worker.ready.is_set()
        if worker.ready.is_set():
            arbiter.opened = True

    def _clean_up(self, _arbiter: Arbiter) -> None:
        shutil.rmtree(self._metrics, ignore_errors=True)


def serve(settings: Settings) -> None:
    """Check that the service can start, and serve until stopped. Does not return: gunicorn ends the process.

    Raises:
        LogoSimilarityError, OSError: no worker could start.
    """
    settings.check_exposure()
    check_images(settings)
    check_address(settings)
    configure_logging(settings.log_level, settings.log_format)
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"
    folder = Catalog(settings.catalogs)
    if settings.catalog_url is not None and folder.marker() is None:
        pull_first(settings)  # an existing catalog is served at once, and the workers fetch updates
    version = choose_version(folder, Trial.of(settings))
    manifest = read_manifest(version)
    in_child(_open_and_close, settings)
    _serve(settings, plan_service(manifest.size, manifest.model_size, usable_cores(), settings))


def check_images(settings: Settings) -> None:
    """Raise ConfigError if the image folder does not exist: every link would fail."""
    folder = settings.images_dir
    if folder is None:
        return
    from logo_similarity.storage import open_store

    open_store(settings)
    if not folder.is_dir():
        raise ConfigError(f"LOGO_IMAGES_DIR: {folder} is not a folder; correct the path (--images)")


def check_address(settings: Settings) -> None:
    """Raise ConfigError if the service cannot listen on its address. gunicorn would retry, with a vague message."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(f"LOGO_HOST={settings.host}: {error.strerror or error}") from None
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(f"LOGO_PORT={settings.port}: already in use; choose another port (--port)") from None
            raise ConfigError(f"LOGO_HOST={settings.host}, LOGO_PORT={settings.port}: {error.strerror}") from None


def pull_first(settings: Settings) -> None:
    """Fetch the published catalog. Raises CatalogError if that fails."""
    log.info("catalog_pull_started", url=settings.catalog_url)
    try:
        in_child(_pull, settings)
    except LogoSimilarityError as error:
        raise CatalogError(
            f"{settings.catalogs} contains no catalog, and fetching it from {settings.catalog_url} failed: {error}"
        ) from None


def choose_version(folder: Catalog, trial: Trial) -> Path:
    """Folder of the version to serve: the live one, or a fallback if it fails its trial (logged as an error).

    Its files are read into the page cache once, for all workers. Checksums were verified when the version was published.

    Raises:
        CatalogError: no version exists, or none passes; the message names all that failed.
    """

    def read_and_try(version: Path) -> None:
        trial.check(version)
        # The trial reads pages all over the files. From a disk, that takes longer than to read the whole files first.
        with suppress(OSError):  # a file that cannot be read fails the trial, which names it
            read_version_ahead(version, read_manifest(version))
        trial(version)

    refused: list[tuple[str, CatalogError]] = []
    version = folder.choose(
        lambda name: folder.admit(folder.root / name, read_and_try), lambda name, error: refused.append((name, error))
    )
    for name, error in refused:
        log.error("catalog_fell_back", refused=name, error=str(error), serves=version.name)
    return version


def in_child(job: Callable[[Settings], None], settings: Settings) -> None:
    """Run a job in a forked process. For jobs that load libraries or start threads, since the master must not.

    Raises:
        LogoSimilarityError, OSError: the job raised it.
        ServiceError: the process ended without a result.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_run, args=(job, settings, sender, os.getpid()))
    child.start()
    sender.close()
    try:
        error: Exception | None = receiver.recv()
    except EOFError:
        child.join()
        error = ServiceError(f"a child process failed with exit status {child.exitcode} during startup")
    child.join()
    if error is not None:
        raise error


def _run(job: Callable[[Settings], None], settings: Settings, sender: Connection, parent: int) -> None:
    """In the child process: run a job, and send its error, or None."""
    die_with_parent(parent)
    try:
        job(settings)
    except (LogoSimilarityError, OSError) as error:
        sender.send(error)
    except KeyboardInterrupt:  # the parent also receives and reports it
        sys.exit(130)
    else:
        sender.send(None)


def _pull(settings: Settings) -> None:
    from logo_similarity.catalog.replica import pull_version
    from logo_similarity.storage.objects import ObjectFolder

    remote = ObjectFolder(str(settings.catalog_url), settings)
    name = pull_version(remote, Catalog(settings.catalogs), trial=Trial.of(settings))
    log.info("catalog_pulled", catalog=name)


def _open_and_close(settings: Settings) -> None:
    """Open all components of a worker, so that an error is reported once instead of by every worker."""
    from logo_similarity.api.runtime import Runtime

    logging.disable()  # the workers will log it
    with Runtime.of(settings).opened():
        pass


def _serve(settings: Settings, plan: ServicePlan) -> None:
    log.info("starting", version=__version__)
    for message in unknown_settings():
        log.warning("unknown_setting", hint=message)
    folder = make_metrics_folder(settings.metrics_dir or Path(tempfile.gettempdir()))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    log.info("plan", **plan.figures())
    needed = DESCRIPTORS_PER_CONNECTION * settings.max_connections + DESCRIPTORS_BESIDE_CONNECTIONS
    if (limit := raise_descriptors(needed)) < needed:
        log.warning(
            "descriptor_limit_low",
            limit=limit,
            needed=needed,
            hint="each worker accepts fewer connections than LOGO_MAX_CONNECTIONS; raise the hard limit (ulimit -Hn)",
        )
    memory = memory_limit()
    if memory is not None and memory < plan.limit:
        log.warning(
            "memory_limit_low",
            limit_mb=memory // MEGABYTE,
            needed_mb=plan.limit // MEGABYTE,
            hint="raise the memory limit, or reduce LOGO_WORKERS; see `logo-similarity plan`",
        )
    server = Server(settings, plan.threads, folder)
    from prometheus_client import values  # reads PROMETHEUS_MULTIPROC_DIR at import

    values.ValueClass = values.MultiProcessValue(process_identifier=lambda: server.writer)
    server.run()


def make_metrics_folder(parent: Path) -> Path:
    """Create a folder for the metrics of this run's workers. Deletes folders that earlier runs left behind.

    A lock marks a folder as in use. The workers inherit it, so it is held until the last worker has ended.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for folder in parent.glob(METRICS_PREFIX + "*"):
        _delete_abandoned(folder)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=METRICS_PREFIX, dir=parent))
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)  # never closed
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / LOCK).exists():
            return folder
        os.close(lock)  # a process starting at the same time deleted the folder before it was locked


def _delete_abandoned(folder: Path) -> None:
    with suppress(OSError):  # not ours, or deleted by a process starting at the same time
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            return
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        finally:
            os.close(lock)

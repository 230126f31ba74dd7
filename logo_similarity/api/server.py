"""`logo-similarity serve`: gunicorn, our worker class, and what the master does. Imports no ML library."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from asyncio import Protocol
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker
from uvicorn_worker import UvicornWorker

from logo_similarity.config import Settings
from logo_similarity.cpu import ThreadPlan
from logo_similarity.errors import ConfigError
from logo_similarity.limits import DESCRIPTORS_BESIDE_CONNECTIONS, DESCRIPTORS_PER_CONNECTION, raise_descriptors
from logo_similarity.log import configure_logging
from logo_similarity.plan import MEGABYTE, ServicePlan, memory_limit

log = structlog.get_logger(__name__)

# One search runs on one thread of ours; every library that would start its own is told not to. In force before any of
# them is loaded, since OpenMP reads it once.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
AGAIN_SECONDS = 1.0


class SearchWorker(UvicornWorker):
    """A uvicorn worker that lets requests in flight finish, but not for ever, when it is told to stop."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - passed through
        super().__init__(*args, **kwargs)
        self.config.timeout_graceful_shutdown = self.cfg.graceful_timeout

    def load_wsgi(self) -> None:
        """Load the application, and bound the connections that it is reached by."""
        super().load_wsgi()
        self.config.http = self.app.protocol()
        self.config.ws = "none"

    def init_process(self) -> None:
        """Start and serve. What stops the first workers from starting stops the service; what stops a later one does not.

        gunicorn would end all of them when one can't start: those that answer go on, and the missing one is tried again.
        """
        try:
            super().init_process()
        except (Exception, SystemExit) as error:
            if self.age <= self.cfg.workers or (
                isinstance(error, SystemExit) and error.code != Arbiter.WORKER_BOOT_ERROR
            ):
                raise
            if not isinstance(error, SystemExit):
                log.error("worker_not_started", error=str(error))  # noqa: TRY400 - and again each second
            time.sleep(AGAIN_SECONDS)
            sys.exit(1)

    async def callback_notify(self) -> None:
        """Tell the master that this worker lives; end, as at a SIGTERM, where it does not live itself."""
        await super().callback_notify()
        if os.getppid() != self.ppid:
            os.kill(os.getpid(), signal.SIGTERM)


class ServerLogger(Logger):
    """gunicorn's own messages in the form of all others."""

    def setup(self, cfg: Config) -> None:
        """Let them rise to the handler that `configure_logging` set up."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class Server(BaseApplication):
    """gunicorn with our settings, and without a configuration file or command line of its own."""

    def __init__(self, settings: Settings, plan: ThreadPlan, metrics: Path) -> None:
        self._settings = settings
        self._plan = plan
        self._metrics = metrics
        super().__init__()

    def load_config(self) -> None:
        """Give gunicorn its settings."""
        host = self._settings.host
        if ":" in host:
            host = f"[{host}]"  # an IPv6 address, as gunicorn and URLs write it before a port
        options = {
            "bind": f"{host}:{self._settings.port}",
            "workers": self._plan.workers,
            "worker_class": f"{__name__}.SearchWorker",
            "preload_app": False,  # FAISS and ONNX Runtime hang in a child that was forked after they started
            "timeout": self._settings.hang_seconds,
            "graceful_timeout": self._settings.graceful_seconds,
            "forwarded_allow_ips": self._settings.trusted_proxies,
            "control_socket_disable": True,
            "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,  # noqa: S108 - gunicorn's own advice
            "proc_name": "logo-similarity",
            "loglevel": self._settings.log_level,
            "logger_class": ServerLogger,
            "child_exit": self._forget_worker,
            "on_exit": self._clean_up,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> FastAPI:
        """The application; called in each worker, after the fork."""
        from logo_similarity.api.app import create_app  # the master must not load what this loads

        # Workers must agree on the folder, on the plan, and on the secret that was made for this run.
        shared = {"metrics_dir": self._metrics, "workers": self._plan.workers, "threads": self._plan.threads}
        return create_app(self._settings.model_copy(update=shared))

    def protocol(self) -> Callable[..., Protocol]:
        """What makes the connections of a worker; called in each worker, after the fork."""
        from logo_similarity.api.connections import ConnectionBounds, bounded_protocol  # as in `load`

        return bounded_protocol(ConnectionBounds.of(self._settings))

    def _forget_worker(self, _arbiter: Arbiter, worker: Worker) -> None:
        from logo_similarity.metrics import forget_worker  # prometheus_client looks for its folder at import

        forget_worker(self._metrics, worker.pid)

    def _clean_up(self, _arbiter: Arbiter) -> None:
        if self._settings.metrics_dir is None:
            shutil.rmtree(self._metrics, ignore_errors=True)


def check_address(settings: Settings) -> None:
    """Raise ConfigError where the service could not listen as the settings say: gunicorn would try for seconds and say less."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(f"LOGO_HOST={settings.host}: {error.strerror or error}") from None
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(
                    f"LOGO_PORT={settings.port}: something listens there already; choose another port (--port)"
                ) from None
            raise ConfigError(f"LOGO_HOST={settings.host}, LOGO_PORT={settings.port}: {error.strerror}") from None


def serve(settings: Settings, plan: ServicePlan) -> None:
    """Serve until told to stop. Does not return: gunicorn ends the process."""
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"
    folder = settings.metrics_dir or Path(tempfile.mkdtemp(prefix="logo-similarity-metrics-"))
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("*.db"):
        leftover.unlink()  # an earlier run's workers may have had the same process ids
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    configure_logging(settings.log_level, settings.log_format)
    log.info("plan", **plan.figures())
    wanted = DESCRIPTORS_PER_CONNECTION * settings.max_connections + DESCRIPTORS_BESIDE_CONNECTIONS
    if (allowed := raise_descriptors(wanted)) < wanted:
        log.warning(
            "descriptor_limit_low",
            limit=allowed,
            needed=wanted,
            hint="each worker accepts fewer connections than LOGO_MAX_CONNECTIONS; raise the hard limit (ulimit -Hn)",
        )
    limit = memory_limit()
    if limit is not None and limit < plan.limit:
        log.warning(
            "memory_limit_low",
            limit_mb=limit // MEGABYTE,
            needed_mb=plan.limit // MEGABYTE,
            hint="raise it, or serve with fewer workers: `logo-similarity plan` tells",
        )
    Server(settings, plan.threads, folder).run()

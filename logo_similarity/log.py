"""Structured logs: one line per event, with the id of the request, and with keys and signatures redacted."""

from __future__ import annotations

import logging
import re
import sys

import structlog
from structlog.typing import EventDict, WrappedLogger

# Secrets in signed links (AWS Signature Version 4, and links to `/v1/files/`) and in headers.
SECRET = re.compile(r"(?i)(X-Amz-(?:Signature|Credential|Security-Token)=|X-API-Key:?\s*|/v1/files/)[^&\s\"',]+")


def configure_logging(level: str, log_format: str) -> None:
    """Write the logs of this project and of its libraries to stderr in one format.

    Args:
        level: "debug", "info", "warning" or "error".
        log_format: "json" (one object per line) or "console" (human-readable).
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "gunicorn", "gunicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # Both uvicorn and gunicorn close the sockets of a worker; the second attempt is harmless.
    logging.getLogger("gunicorn.error").addFilter(lambda record: "Error while closing socket" not in str(record.msg))
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # at level info it lists the instruction sets it tries
    # Silenced, because it logs complete query strings; a middleware logs requests instead.
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Redact secrets in every string of an event (a structlog processor)."""
    event.pop("color_message", None)  # uvicorn's copy of its message for terminals
    return {
        key: SECRET.sub(r"\1[redacted]", value) if isinstance(value, str) else value for key, value in event.items()
    }

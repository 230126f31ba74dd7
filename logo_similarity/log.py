"""Structured logs: one line per event, with the request's id, without keys and signatures."""

from __future__ import annotations

import logging
import re
import sys

import structlog
from structlog.typing import EventDict, WrappedLogger

# Query strings of signed links (AWS signature 4 and our own), and headers that carry a secret.
SECRET = re.compile(r"(?i)(X-Amz-(?:Signature|Credential|Security-Token)=|X-API-Key:?\s*|/v1/files/)[^&\s\"',]+")


def configure_logging(level: str, log_format: str) -> None:
    """Send the logs of this project and of its libraries to stderr in one form.

    Args:
        level: "debug", "info", "warning" or "error".
        log_format: "json" (one object a line) or "console" (for reading).
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
    # A worker's sockets are closed by uvicorn, and by gunicorn again.
    logging.getLogger("gunicorn.error").addFilter(lambda record: "Error while closing socket" not in str(record.msg))
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # which instruction set it tried is no news
    # It prints whole query strings; our own middleware logs the request instead.
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace what must not be in a log, in every text of an event."""
    event.pop("color_message", None)  # uvicorn's copy of its message for terminals
    return {
        key: SECRET.sub(r"\1[redacted]", value) if isinstance(value, str) else value for key, value in event.items()
    }

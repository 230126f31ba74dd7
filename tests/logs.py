"""Log lines of one module."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import structlog
from structlog.testing import capture_logs


@contextmanager
def logs_of(module: ModuleType) -> Iterator[list[MutableMapping[str, Any]]]:
    """What the module logs meanwhile, whatever logging was configured before: loggers keep their first configuration."""
    with patch.object(module, "log", structlog.get_logger()), capture_logs() as lines:
        yield lines

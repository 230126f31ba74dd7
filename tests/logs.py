"""The log lines of modules."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import structlog
from structlog.testing import capture_logs


@contextmanager
def logs_of(*modules: ModuleType) -> Iterator[list[MutableMapping[str, Any]]]:
    """The log lines of the modules during the block. Their loggers are replaced: a logger keeps its first configuration."""
    with ExitStack() as patches, capture_logs() as lines:
        for module in modules:
            patches.enter_context(patch.object(module, "log", structlog.get_logger()))
        yield lines

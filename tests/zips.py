"""ZIP files with given entries."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path


def make_zip(path: Path, entries: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write a ZIP file. Names are written as they are, safe or not."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path

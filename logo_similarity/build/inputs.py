"""The digest of everything that a build reads: with the same digest, a build has nothing to do."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from logo_similarity.catalog.files import sha256_file
from logo_similarity.catalog.sources import Source


def digest_inputs(source: Source, *parameters: object) -> str:
    """Hex sha256 over the source's metadata files (content), its images (name, size, time of change) and `parameters`.

    Reading 770,000 images to see that none has changed would take as long as decoding them; an image that was replaced has
    another time of change.
    """
    digest = hashlib.sha256(repr((source.kind, *parameters)).encode())
    for path in source.files():
        digest.update(f"\n{path.name} {sha256_file(path)}".encode())
    for name, size, changed in _listing(source.images):
        digest.update(f"\n{name} {size} {changed}".encode("utf8", "surrogateescape"))
    return digest.hexdigest()


def _listing(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of change (ns) of every file below a folder, in a fixed order."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)  # noqa: PTH118 - 770,000 Path objects would double the time
            facts = os.lstat(path)
            yield path.removeprefix(str(folder)), facts.st_size, facts.st_mtime_ns

"""The names of the images in a folder, found by names that may differ from them in case."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from logo_similarity.catalog.sources.fields import RowError, shown
from logo_similarity.errors import SourceError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")


class ImageNames:
    """All files below a folder, read in one pass. About 150 bytes a file."""

    def __init__(self, folder: Path) -> None:
        """Read the names. Raises SourceError where the folder can't be read."""
        self._folder = folder
        self._exact: set[str] = set()
        # Only for names that are not there as they are written: L3D writes .JPG and has .jpg, or the other way round.
        # Of several that differ only in case the first one in order, so that every run finds the same.
        self._folded: dict[str, str] = {}
        for name in walk_files(folder):
            self._exact.add(name)
            self._folded.setdefault(name.casefold(), name)

    def __len__(self) -> int:
        return len(self._exact)

    def resolve(self, name: str) -> str:
        """The name on disk. Raises RowError where there is no such image."""
        if name in self._exact:
            return name
        found = self._folded.get(name.casefold())
        if found is None:
            raise RowError(f"no image {shown(name)} in the image folder")
        return found


def walk_files(folder: Path) -> Iterator[str]:
    """Names of the files below a folder, relative to it, "/" between parts; hidden ones and links out of it left out."""
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder of images")
    pending = [""]
    while pending:
        parent = pending.pop()
        try:
            with os.scandir(folder / parent) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise SourceError(f"{folder / parent}: cannot be read ({error.strerror})") from None
        for entry in listed:
            name = f"{parent}{entry.name}"
            if entry.name.startswith(".") or (entry.is_symlink() and not _stays_inside(folder, name)):
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append(name + "/")
            elif entry.is_file():
                yield name


def _stays_inside(folder: Path, name: str) -> bool:
    try:
        return (folder / name).resolve(strict=True).is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return False

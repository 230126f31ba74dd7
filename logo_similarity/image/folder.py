"""Which files of an image folder are read: one rule for builds and uploads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from logo_similarity.errors import ImageTooLargeError, SourceError


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """A file below a folder, or something that is not read."""

    name: str
    """Relative to the folder, "/" between its parts; "." for the folder itself."""
    problem: str | None = None
    """Why it is not read; None for a file that is."""
    unreadable: bool = False
    """The problem is an error of the file system, not a rule."""


class FileState(NamedTuple):
    """What a change of a file changes, without reading it."""

    name: str
    size: int
    """In bytes."""
    modified: int
    """In nanoseconds."""


def folder_states(folder: Path) -> Iterator[FileState]:
    """Every file below a folder, in a fixed order, with names that begin with "/"."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)  # noqa: PTH118 - 770,000 Path objects would double the time
            status = os.lstat(path)
            yield FileState(path.removeprefix(str(folder)), status.st_size, status.st_mtime_ns)


def walk_folder(folder: Path) -> Iterator[FolderEntry]:
    """Everything below a folder that is not a folder itself, and every folder that is not read.

    Hidden files and folders, links that lead out of the folder, and links to folders are not read. The files of each
    folder come in the order of their names; the names of one folder are in memory at a time.
    """
    pending = [""]
    while pending:
        parent = pending.pop()
        files: list[str] = []
        folders: list[str] = []
        try:
            with os.scandir(folder / parent) as entries:
                for entry in entries:
                    name = f"{parent}{entry.name}"
                    item = _inspect(folder, name, entry)
                    if item.problem is not None:
                        yield item
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(name + "/")
                    else:
                        files.append(name)
        except OSError as error:
            yield FolderEntry(parent.rstrip("/") or ".", error.strerror or str(error), unreadable=True)
        yield from map(FolderEntry, sorted(files))
        pending += sorted(folders)


def image_names(folder: Path) -> Iterator[str]:
    """Names of the files that `walk_folder` reads, relative to the folder, "/" between their parts.

    Raises:
        SourceError: there is no such folder, or a part of it cannot be read.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder}: the image folder does not exist")
    for entry in walk_folder(folder):
        if entry.unreadable:
            raise SourceError(f"{folder / entry.name}: cannot be read ({entry.problem})")
        if entry.problem is None:
            yield entry.name


def check_size(size: int, max_bytes: int) -> None:
    """Raise ImageTooLargeError if a file has more than `max_bytes` bytes."""
    if size > max_bytes:
        raise ImageTooLargeError(f"the file has more than {max_bytes:,} bytes (LOGO_MAX_UPLOAD_BYTES)")


def _inspect(folder: Path, name: str, entry: os.DirEntry[str]) -> FolderEntry:
    try:
        return FolderEntry(name, _problem(folder, name, entry))
    except OSError as error:
        return FolderEntry(name, error.strerror or str(error), unreadable=True)


def _problem(folder: Path, name: str, entry: os.DirEntry[str]) -> str | None:
    if entry.name.startswith("."):
        return "hidden files and folders are not read"
    if entry.is_symlink():
        try:
            target = (folder / name).resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: links in a circle
            return "the link is broken"
        if not target.is_relative_to(folder.resolve()):
            return "links that lead out of the folder are not followed"
        if target.is_dir():
            return "links to folders are not followed"
    if not entry.is_dir(follow_symlinks=False) and not entry.is_file():
        return "not a regular file"
    return None

"""The images of a source: in a folder, in a ZIP file, or in a folder with ZIP files. One rule for builds and uploads.

Those in a bucket are in `storage.images`, with the same interface.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from logo_similarity.errors import BadImageError, SourceError
from logo_similarity.image.folder import FileState, FolderEntry, check_size, folder_states, walk_folder
from logo_similarity.image.formats import EXTENSIONS
from logo_similarity.image.zips import SUFFIX, BrokenZipError, ZipImages
from logo_similarity.wording import counted

EXAMPLES = 3
"""Entries that a note names."""


class ImageFiles(Protocol):
    """Files that are named relative to a folder, a ZIP file or a bucket prefix, "/" between the parts of their names.

    `str` of it is where they are, for messages.
    """

    def folder_name(self) -> str:
        """The last part of where they are, without `.zip`: names in a data set may begin with it."""
        ...

    def exists(self) -> bool:
        """Whether the folder, ZIP file or bucket exists."""
        ...

    def states(self) -> Iterator[FileState]:
        """Every file, or the ZIP file in place of those in it, in a fixed order: if one changes, its state does."""
        ...

    def archives(self) -> tuple[ZipImages, ...]:
        """The ZIP files, in the order of their names."""
        ...

    def roots(self) -> tuple[str, ...]:
        """Folders in which the names of a data set may begin: those of ZIP files, and their only folders. In order."""
        ...

    def entries(self) -> Iterator[FolderEntry]:
        """All files, and what is not read."""
        ...

    def size(self, name: str) -> int | None:
        """Bytes of a file; None: it does not exist."""
        ...

    def start(self, name: str, size: int) -> bytes:
        """The first bytes of a file, at most `size`. Raises BadImageError if it cannot be read."""
        ...

    def read(self, name: str, max_bytes: int) -> bytes:
        """The content of a file.

        Raises:
            ImageTooLargeError: it has more than `max_bytes`; no more than these are ever in memory.
            BadImageError: it does not exist or cannot be read.
        """
        ...


def open_images(path: Path) -> ImageFiles:
    """The files below a folder or in a ZIP file. The folder is not read yet, and need not exist.

    Raises:
        SourceError: `path` is another file, or a ZIP file that cannot be read.
    """
    if not path.is_file():
        return FolderImages(path)
    if path.suffix.lower() != SUFFIX:
        raise SourceError(f"{path}: neither a folder nor a ZIP file; name one with the images")
    return ZipImages(path)


def find_images(source: Path) -> ImageFiles:
    """The images of a source that names no folder for them.

    They are `images` or `images.zip` in its folder, or `NAME-images.zip` beside it, or in the source itself if it is a
    ZIP file with images, or else anywhere in its folder.

    Raises:
        SourceError: a ZIP file cannot be read.
    """
    folder = source if source.is_dir() else source.parent
    stem = source.name if source.is_dir() else source.stem
    for usual in (folder / "images", folder / "images.zip", source.with_name(f"{stem}-images.zip")):
        if usual.is_dir() or usual.is_file():
            return open_images(usual)
    if source.is_file() and source.suffix.lower() == SUFFIX:
        images = ZipImages(source)
        if any(name.lower().endswith(EXTENSIONS) for name in file_names(images)):
            return images
    return FolderImages(folder)


def file_names(images: ImageFiles) -> Iterator[str]:
    """Names of the files that can be read.

    Raises:
        SourceError: there is no such folder, or a part of it cannot be read.
    """
    for entry in readable_entries(images):
        if entry.problem is None:
            yield entry.name


def readable_entries(images: ImageFiles) -> Iterator[FolderEntry]:
    """The entries. Raises SourceError if the folder does not exist, or a part of it cannot be read."""
    if not images.exists():
        raise SourceError(f"{images}: the image folder does not exist")
    for entry in images.entries():
        if entry.unreadable:
            raise SourceError(f"{images}/{entry.name}: cannot be read ({entry.problem})")
        yield entry


def image_notes(images: ImageFiles) -> list[str]:
    """How to show images that are in ZIP files; empty: there are none."""
    if not _with_images(images):
        return []
    path = shlex.quote(str(images))
    unpack = "unpack the file" if isinstance(images, ZipImages) else "unpack each ZIP file into a folder of its name"
    return [f"a service cannot show images from ZIP files: run logo-similarity images upload {path}, or {unpack}"]


def unread_notes(images: ImageFiles) -> list[str]:
    """The number of entries that are not read in ZIP files with images, and some of them; empty: there are none."""
    unread = [(archive, entry) for archive in _with_images(images) for entry in archive.unread]
    if not unread:
        return []
    examples = [f"{entry.name!r} of {archive.path.name!r}: {entry.problem}" for archive, entry in unread[:EXAMPLES]]
    more = "; ..." if len(unread) > EXAMPLES else ""
    return [f"{counted(len(unread), 'entry', 'entries')} of ZIP files not read ({'; '.join(examples)}{more})"]


def _with_images(images: ImageFiles) -> list[ZipImages]:
    return [
        archive
        for archive in images.archives()
        if any(name.lower().endswith(EXTENSIONS) for name in file_names(archive))
    ]


class FolderImages:
    """The files below a folder. Those of a ZIP file "part1.zip" are in the folder "part1", as if it was unpacked there.

    A file in the folder goes before one of the same name in a ZIP file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def folder_name(self) -> str:
        """See `ImageFiles.folder_name`."""
        return self.path.resolve().name

    def exists(self) -> bool:
        """See `ImageFiles.exists`."""
        return self.path.exists()

    def states(self) -> Iterator[FileState]:
        """See `ImageFiles.states`."""
        return folder_states(self.path)

    def archives(self) -> tuple[ZipImages, ...]:
        """See `ImageFiles.archives`."""
        return tuple(images for images in self._zips.values() if isinstance(images, ZipImages))

    def roots(self) -> tuple[str, ...]:
        """See `ImageFiles.roots`."""
        zips = {root: images for root, images in self._zips.items() if isinstance(images, ZipImages)}
        return tuple(
            root
            for outer, images in zips.items()
            for root in (outer, *(f"{outer}/{inner}" for inner in images.roots()))
        )

    def entries(self) -> Iterator[FolderEntry]:
        """The entries as `walk_folder` has them; those of a ZIP file come in its place."""
        for entry in walk_folder(self.path):
            images = self._zips.get(_root(entry.name)) if entry.problem is None and _is_zip(entry.name) else None
            if isinstance(images, FolderEntry):
                yield images
            elif images is not None and images.path.name == PurePosixPath(entry.name).name:
                yield from self._inner_entries(_root(entry.name), images)
            elif images is not None:
                yield FolderEntry(entry.name, f"its name differs from {images.path.name!r} in case only; rename it")
            else:
                yield entry

    def size(self, name: str) -> int | None:
        """See `ImageFiles.size`."""
        try:
            return (self.path / name).stat().st_size
        except OSError:
            return next((images.size(inner) for images, inner in self._inside(name)), None)

    def start(self, name: str, size: int) -> bytes:
        """See `ImageFiles.start`."""
        try:
            with (self.path / name).open("rb") as file:
                return file.read(size)
        except OSError as error:
            for images, inner in self._inside(name):
                return images.start(inner, size)
            raise _unreadable(error) from None

    def read(self, name: str, max_bytes: int) -> bytes:
        """See `ImageFiles.read`."""
        path = self.path / name
        try:
            check_size(path.stat().st_size, max_bytes)
            return path.read_bytes()
        except OSError as error:
            for images, inner in self._inside(name):
                return images.read(inner, max_bytes)
            raise _unreadable(error) from None

    @cached_property
    def _zips(self) -> dict[str, ZipImages | FolderEntry]:
        """The ZIP files by the folders that stand for them; an entry for one that cannot be read."""
        zips: dict[str, ZipImages | FolderEntry] = {}
        for entry in walk_folder(self.path):
            if entry.problem is None and _is_zip(entry.name) and _root(entry.name) not in zips:
                try:
                    zips[_root(entry.name)] = ZipImages(self.path / entry.name)
                except BrokenZipError as error:
                    reason = f"{error.reason}; if it has no images, move it elsewhere"
                    zips[_root(entry.name)] = FolderEntry(entry.name, reason, unreadable=True)
        return dict(sorted(zips.items()))

    def _inner_entries(self, root: str, images: ZipImages) -> Iterator[FolderEntry]:
        is_unpacked = (self.path / root).is_dir()
        for entry in images.entries():
            name = f"{root}/{entry.name}"
            if entry.problem is not None or not (is_unpacked and (self.path / name).exists()):
                yield FolderEntry(name, entry.problem)

    def _inside(self, name: str) -> Iterator[tuple[ZipImages, str]]:
        """The ZIP file that has a file which is not in the folder, and its name there."""
        for parent in PurePosixPath(name).parents:
            images = self._zips.get(str(parent))
            inner = name.removeprefix(f"{parent}/")
            if isinstance(images, ZipImages) and images.size(inner) is not None:
                yield images, inner


def _is_zip(name: str) -> bool:
    return name.lower().endswith(SUFFIX)


def _root(name: str) -> str:
    return name[: -len(SUFFIX)]


def _unreadable(error: OSError) -> BadImageError:
    return BadImageError(f"the file cannot be read: {error.strerror}")

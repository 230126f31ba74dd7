"""Registers as offices publish them: XML and JSON in several formats, with later records that update earlier ones."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath

from logo_similarity.catalog.sources.description import SourceDescription
from logo_similarity.catalog.sources.images import ImageNames, Names, OpenNames
from logo_similarity.catalog.sources.registers.documents import Document, read_documents, register_files
from logo_similarity.catalog.sources.registers.elements import Root, read_root
from logo_similarity.catalog.sources.registers.euipo import is_euipo, read_euipo
from logo_similarity.catalog.sources.registers.kipris import is_kipris, read_kipris
from logo_similarity.catalog.sources.registers.marks import Mark
from logo_similarity.catalog.sources.registers.st66 import NameOf, is_st66, read_applicants, read_st66
from logo_similarity.catalog.sources.registers.st96 import is_st96, read_st96
from logo_similarity.catalog.sources.registers.uspto import is_uspto, read_uspto
from logo_similarity.catalog.sources.rows import RowError, make_record, make_reject
from logo_similarity.domain import Reject, Removal
from logo_similarity.errors import SourceError
from logo_similarity.field_kinds import Notation
from logo_similarity.fields import Record
from logo_similarity.image.files import ImageFiles, find_images

NOTATION = Notation(date_format="%Y-%m-%d")
ZIP_NAME = re.compile(r"\.zip/", re.IGNORECASE)
Rows = Iterator[Mark | Removal | Reject]
Reader = Callable[[Document, NameOf], Rows]
XML_FORMATS: tuple[tuple[Callable[[Root], bool], Reader], ...] = (
    (is_uspto, lambda document, _: read_uspto(document)),
    (is_st96, lambda document, _: read_st96(document)),
    (is_kipris, lambda document, _: read_kipris(document)),
    (is_st66, read_st66),
)
"""How each format is recognised by its root element, and read. The first that fits counts."""


class RegisterSource:
    """Files of one or several offices, each recognised by what it contains.

    A logo may have several rows, and a removal deletes those before it: `build.records` merges them. A record with an empty
    filename has no image in the image folder; another record of its logo may have one.
    """

    kind = "register"

    def __init__(self, path: Path, images: ImageFiles | None = None, names: OpenNames = ImageNames) -> None:
        if not path.exists():
            raise SourceError(f"{path}: no such file or folder")
        self._path = path
        self._names = names
        self.images: ImageFiles = images or find_images(path)

    def files(self) -> Iterator[Path]:
        """All files that may contain records."""
        return register_files(self._path)

    def description(self) -> SourceDescription:
        """The number of its files; what each contains is recognised when it is read."""
        return SourceDescription(kind=self.kind, facts={"files": f"{len(list(self.files())):,}"})

    def rows(self) -> Iterator[Record | Removal | Reject]:
        """The records of every file, in the order of the files' names."""
        names = self._names(self.images)
        # A database without a name is kept in memory while it is small, and in a temporary file otherwise.
        with closing(sqlite3.connect("")) as applicants:
            _index_applicants(applicants, self._path)

            def name_of(key: str) -> str | None:
                row = applicants.execute("SELECT name FROM applicants WHERE key = ?", (key,)).fetchone()
                return None if row is None else row[0]

            for document in read_documents(self._path):
                read = _reader_of(document)
                if read is None:
                    yield Reject(document.name, "the file has none of the known formats of registers")
                    continue
                # The images of a ZIP file are beside its documents, in a folder of its name.
                folder = PurePosixPath(ZIP_NAME.sub("/", document.name)).parent.as_posix()
                for row in read(document, name_of):
                    yield _record(row, names, folder) if isinstance(row, Mark) else row


def is_register(path: Path) -> bool:
    """Whether a file is one of a register, or a folder contains one.

    Raises:
        SourceError: a file cannot be read.
    """
    with closing(read_documents(path)) as documents:
        return any(_reader_of(document) is not None for document in documents)


def _reader_of(document: Document) -> Reader | None:
    root = read_root(document)
    if root is not None:
        return next((read for is_format, read in XML_FORMATS if is_format(root)), None)
    return (lambda document, _: read_euipo(document)) if is_euipo(document) else None


def _index_applicants(database: sqlite3.Connection, path: Path) -> None:
    """Write the names of applicants that have documents of their own. The last document that names one counts."""
    database.execute("CREATE TABLE applicants (key TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID")
    for document in read_documents(path):
        root = read_root(document)
        if root is not None and is_st66(root):
            database.executemany("INSERT OR REPLACE INTO applicants VALUES (?, ?)", read_applicants(document))


def _record(mark: Mark, names: Names, folder: str) -> Record | Reject:
    try:
        filename = names.find(folder, mark.images)
        if filename is None and mark.fields.get("mark_feature") == "word":
            raise RowError("a word mark without an image")  # noqa: TRY301 - as the other faults of the row
        return make_record(
            where=mark.where,
            logo_id=mark.logo_id,
            filename=filename or "",
            fields=mark.fields,
            extra={},
            notation=NOTATION,
        )
    except RowError as error:
        return make_reject(mark.where, error, logo_id=mark.logo_id)

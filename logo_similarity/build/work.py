"""The folder in which a build works: the names in it that several stages use, and how a build is resumed there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RECORDS = "records.jsonl"
SOURCE_REJECTS = "source-rejects.jsonl"
SHARDS = "shards"
TEXTS = "texts"
VERSION = "version"


@contextmanager
def resumable(work: Path, unless: str = "") -> Iterator[None]:
    """Create the folder of a build. An error that ends the build, or Ctrl+C, says that the folder is left and why.

    `unless`: when the build cannot be resumed, as " unless ...".
    """
    work.mkdir(exist_ok=True)
    try:
        yield
    except BaseException as error:
        error.add_note(
            f"what is done so far is kept in {work}: the same command resumes there{unless}; delete it to start over"
        )
        raise

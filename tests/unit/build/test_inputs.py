from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from logo_similarity.build.inputs import digest_inputs
from logo_similarity.catalog.sources.description import SourceDescription
from logo_similarity.domain import Reject
from logo_similarity.fields import Record
from logo_similarity.image.files import ImageFiles, open_images
from tests.zips import make_zip


@dataclass
class Inputs:
    """A source of one table, with images in a folder and below it."""

    images: ImageFiles
    table: Path
    kind: str = "test"

    @property
    def folder(self) -> Path:
        return Path(str(self.images))

    def files(self) -> Iterator[Path]:
        yield self.table

    def description(self) -> SourceDescription:
        return SourceDescription(kind=self.kind)

    def rows(self) -> Iterator[Record | Reject]:
        yield from ()


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    (tmp_path / "images" / "below").mkdir(parents=True)
    for name in ("a.png", "below/b.png"):
        (tmp_path / "images" / name).write_bytes(b"pixels")
    (tmp_path / "marks.csv").write_bytes(b"rows")
    return Inputs(open_images(tmp_path / "images"), tmp_path / "marks.csv")


def test_a_zip_file_counts_as_it_is(inputs: Inputs) -> None:
    archive = make_zip(inputs.folder.parent / "images.zip", {"a.png": b"pixels", "below/b.png": b"pixels"})
    zipped = replace(inputs, images=open_images(archive))
    before = digest_inputs(zipped)
    assert before == digest_inputs(zipped) != digest_inputs(inputs)
    touch(archive)
    assert digest_inputs(zipped) != before


def test_the_same_inputs_have_the_same_digest(inputs: Inputs) -> None:
    assert digest_inputs(inputs, "model", 1) == digest_inputs(inputs, "model", 1)


def touch(path: Path) -> None:
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))


def grow(path: Path) -> None:
    facts = path.stat()
    path.write_bytes(path.read_bytes() + b"x")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda inputs: inputs.table.write_bytes(b"ROWS"),
        lambda inputs: touch(inputs.folder / "a.png"),
        lambda inputs: grow(inputs.folder / "below" / "b.png"),
        lambda inputs: (inputs.folder / "a.png").rename(inputs.folder / "c.png"),
        lambda inputs: (inputs.folder / "a.png").rename(inputs.folder / "below" / "a.png"),
        lambda inputs: (inputs.folder / "below" / "b.png").unlink(),
    ],
    ids=["table", "time of change", "size", "name", "folder", "missing image"],
)
def test_a_changed_input_changes_the_digest(inputs: Inputs, change: Callable[[Inputs], object]) -> None:
    before = digest_inputs(inputs)
    change(inputs)
    assert digest_inputs(inputs) != before


def test_kind_and_parameters_change_the_digest(inputs: Inputs) -> None:
    digests = {digest_inputs(inputs), digest_inputs(replace(inputs, kind="other")), digest_inputs(inputs, 1)}
    assert len(digests) == 3

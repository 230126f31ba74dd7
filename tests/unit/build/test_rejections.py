from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from logo_similarity.build import rejections as module
from logo_similarity.build.rejections import Rejections, read_rejects
from logo_similarity.domain import Reject
from logo_similarity.image.files import open_images


def missing(number: int) -> Reject:
    return Reject(f"t.csv:{number}", f"no image '{number}.jpg' in the image folder", str(number), f"{number}.jpg")


def test_reasons_that_differ_in_names_and_numbers_are_one() -> None:
    rejects = [
        missing(2),
        Reject("t.csv:3", "the row has 4 cells, the header 3"),
        missing(4),
        Reject("t.csv:5", "the row has 7 cells, the header 3"),
        Reject("t.csv:6", "the image has too few pixels", "6", "6.jpg"),
        missing(7),
    ]
    rejections = Rejections(rejects)
    assert rejections.count == 6
    assert rejections.lines() == [
        "3: no image '2.jpg' in the image folder (t.csv:2)",
        "2: the row has 4 cells, the header 3 (t.csv:3)",
        "1: the image has too few pixels (t.csv:6, 6.jpg)",
    ]


def test_only_the_commonest_reasons_are_listed() -> None:
    rejections = Rejections(Reject("x", f"reason {letter * 3}") for letter in "abcdefg")
    assert len(rejections.lines()) == 6
    assert rejections.lines()[-1] == "2 other reasons"
    assert Rejections().lines() == []


def test_the_number_of_reasons_in_memory_is_bounded() -> None:
    rejections = Rejections(Reject("x", "a" * length) for length in range(1, module.MOST_REASONS + 10))
    assert rejections.count == module.MOST_REASONS + 9
    assert len(rejections.commonest(10_000)) == module.MOST_REASONS


def test_the_folder_of_the_images_is_named_if_most_are_missing(tmp_path: Path) -> None:
    other = Reject("x", "a quote is not closed")
    assert Rejections([missing(1), missing(2), other]).remedy(open_images(tmp_path)) == (
        f"the images were looked for in {tmp_path}; if they are elsewhere, name their folder or ZIP file with --images"
    )
    assert Rejections([missing(1), other, other]).remedy(open_images(tmp_path)) is None
    assert Rejections().remedy(open_images(tmp_path)) is None


def test_rejects_are_read_from_their_file(tmp_path: Path) -> None:
    (tmp_path / "rejected.jsonl").write_text(json.dumps(asdict(missing(1))) + "\n")
    assert list(read_rejects(tmp_path / "rejected.jsonl")) == [missing(1)]

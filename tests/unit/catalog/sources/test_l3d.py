from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from logo_similarity.catalog.sources.images import ImageNames
from logo_similarity.catalog.sources.l3d import LONGEST_BLANK, L3dSource
from logo_similarity.domain import Reject
from logo_similarity.errors import SourceError
from logo_similarity.fields import Record
from logo_similarity.image.files import open_images


def l3d(folder: Path, content: str | bytes | list[object], *images: str, name: str = "results.json") -> Path:
    (folder / "images").mkdir(exist_ok=True)
    for image in images:
        (folder / "images" / image).parent.mkdir(exist_ok=True)
        (folder / "images" / image).write_bytes(b"")
    if isinstance(content, list):
        content = json.dumps(content)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def read(folder: Path) -> list[Record | Reject]:
    return list(L3dSource(folder).rows())


def outcomes(folder: Path) -> list[str]:
    return [row.filename if isinstance(row, Record) else row.reason for row in read(folder)]


def test_a_mark_that_is_no_picture_is_missing_or_left_to_the_decoder(tmp_path: Path) -> None:
    rows: list[object] = [{"file": "scan.TIF"}, {"file": "sound.mp3"}, {"file": "gone.jpg"}]
    assert outcomes(l3d(tmp_path, rows, "scan.tif", "sound.mp3")) == [
        "scan.tif",
        "sound.mp3",
        "no image 'gone.jpg' in the image folder",
    ]


def test_everything_that_a_row_says_is_kept(tmp_path: Path) -> None:
    row = {
        "file": "A.JPG",
        "text": "x",
        "vienna_codes": "27.5.1",
        "year": 2016,
        "applicant": {"name": "A\x00"},
        "n": 1.5,
    }
    assert read(l3d(tmp_path, [row], "a.jpg")) == [
        Record(
            logo_id="a",
            filename="a.jpg",
            text="x",
            vienna_codes=("27.05.01",),
            year=2016,
            extra={"applicant": {"name": "A"}, "n": 1.5},
        )
    ]


def test_images_beside_the_json_or_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "results.json").write_text('[{"file": "a.jpg"}]')
    assert outcomes(tmp_path) == ["a.jpg"]
    (tmp_path / "images").mkdir()
    assert outcomes(tmp_path) == ["no image 'a.jpg' in the image folder"]
    (only,) = L3dSource(tmp_path, images=open_images(tmp_path)).rows()
    assert isinstance(only, Record)


def test_the_year_in_a_file_name_must_be_one(tmp_path: Path) -> None:
    for name in ("output_20.json", "output_2019.json.bak", "my_output_2019.json", "output_all.json"):
        l3d(tmp_path, [], name=name)
    with pytest.raises(SourceError, match=r"neither results\.json nor output_"):
        L3dSource(tmp_path)


def test_a_yearly_file_adds_only_images_that_were_not_met_before(tmp_path: Path) -> None:
    l3d(tmp_path, [{"file": "a.jpg"}], "a.jpg", "b.jpg")
    l3d(tmp_path, [{"file": "A.JPG"}, {"file": "b.jpg", "n": 1}, {"file": "b.jpg", "n": 2}], name="output_2019.json")
    l3d(tmp_path, [{"file": "B.jpg"}, {"file": "c.jpg"}], name="output_2020.json")
    # What stands twice in one file is not passed over: it is for the reader of the rows to say so.
    assert outcomes(tmp_path) == ["a.jpg", "b.jpg", "b.jpg", "no image 'c.jpg' in the image folder"]


@pytest.mark.parametrize(
    "content",
    [
        '{"data": [{"file": "a.jpg"}]}',
        '{"item": {"file": "a.jpg"}}',
        '"a.jpg"',
        '[{"file": "a.jpg", "year": NaN}]',
        '[{"file": "a.jpg"}] [{"file": "b.jpg"}]',
        '[{"file": "a.jpg"}}',
        '[{"file": "a.jpg", "n": ' + "9" * 6000 + "}]",
        '[{"file": "a.jpg", "n": -Infinity}]',
        b'[{"file": "a.jpg", "text": "\xff"}]',
        b'[{"file": "a.jpg", "text": "\xed\xa0\x80"}]',
        b'\xef\xbb\xbf[{"file": "a.jpg"}]',
        '[{"file": "a.jpg"}]'.encode("utf-16"),
        b"\x00" * 10,
        " " * LONGEST_BLANK + "[]",
    ],
)
def test_json_that_is_no_whole_list_stops_the_reading(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(
        SourceError, match=r"results\.json: is not a complete JSON array \(.+\); fix the file and run the build again"
    ):
        read(l3d(tmp_path, content, "a.jpg"))


def test_what_comes_before_the_break_is_read(tmp_path: Path) -> None:
    rows = L3dSource(l3d(tmp_path, '\n [{"file": "a.jpg"}, {"file": "a.jpg"', "a.jpg")).rows()
    assert isinstance(next(rows), Record)
    with pytest.raises(SourceError):
        next(rows)


@pytest.mark.parametrize("item", ["[" * 5_000 + "]" * 5_000, '{"x":' * 5_000 + "1" + "}" * 5_000])
def test_nesting_that_python_cannot_follow(tmp_path: Path, item: str) -> None:
    content = f'[{item}, {{"file": "a.jpg", "x": {item}, "text": {item}}}, {{"file": {item}}}]'
    first, second, third = read(l3d(tmp_path, content, "a.jpg"))
    assert isinstance(first, Reject)
    assert isinstance(second, Record)
    assert isinstance(third, Reject)
    json.dumps(dict(second.extra))


def test_a_folder_in_place_of_the_json(tmp_path: Path) -> None:
    l3d(tmp_path, [])
    (tmp_path / "output_2020.json").mkdir()
    with pytest.raises(SourceError, match=r"output_2020\.json: cannot be read"):
        read(tmp_path)


def test_of_images_that_differ_in_case_every_run_finds_the_same(tmp_path: Path) -> None:
    folder = l3d(tmp_path, [{"file": "A.JPG"}], "a.jpg", "A.jpg", "a.JPG", "b/A.JPG") / "images"
    code = "import sys; from pathlib import Path; from logo_similarity.catalog.sources.images import ImageNames\n"
    code += "from logo_similarity.image.files import open_images\n"
    code += "print(ImageNames(open_images(Path(sys.argv[1]))).resolve('A.JPG'))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(Path(__file__).parents[4])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    assert found == {"A.jpg\n"}
    names = ImageNames(open_images(folder))
    assert len(names) == 4
    assert [names.resolve(name) for name in ("a.jpg", "A.jpg", "a.JPG", "B/a.jpg")] == [
        "a.jpg",
        "A.jpg",
        "a.JPG",
        "b/A.JPG",
    ]

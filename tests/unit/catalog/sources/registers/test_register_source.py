from __future__ import annotations

import os
from pathlib import Path

import pytest

from logo_similarity.catalog.sources import open_source
from logo_similarity.domain import Reject
from logo_similarity.errors import SourceError
from logo_similarity.fields import Record
from tests.registers import REAL, Row, case_file, read, st66, uspto, zip_of
from tests.zips import make_zip

MARK = case_file("90000001")


def rows(path: Path, images: Path | None = None) -> list[Row]:
    return list(open_source(path, images=images).rows())


def filename(path: Path, images: Path | None = None) -> str:
    (row,) = rows(path, images)
    assert isinstance(row, Record)
    return row.filename


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("name", ["apc240101.xml", "apc240101", "marks.csv.bak"])
def test_a_file_is_recognised_by_its_content(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(uspto(MARK))
    assert open_source(tmp_path / name).kind == "register"
    assert open_source(tmp_path).kind == "register"


def test_the_real_files_are_recognised_and_read_together() -> None:
    ids = {row.logo_id for row in read(REAL) if isinstance(row, Record)}
    assert open_source(REAL).kind == "register"
    assert ids == {"US-70011210", "US-77478018", "KR-4020190000011"}


def test_other_xml_is_a_reject_beside_a_register_and_no_register_alone(tmp_path: Path) -> None:
    (tmp_path / "other.xml").write_text("<html/>")
    with pytest.raises(SourceError, match=r"not recognised as a source.*XML or JSON files of a register"):
        open_source(tmp_path / "other.xml")
    (tmp_path / "z.xml").write_text(uspto(MARK))
    assert rows(tmp_path)[0] == Reject("other.xml", "the file has none of the known formats of registers")


def test_drawings_are_not_a_register(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    touch(tmp_path, "b.png")
    assert open_source(tmp_path).kind == "folder"


def test_all_files_that_may_have_records_count_as_inputs(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(uspto(MARK))
    (tmp_path / "b.zip").write_bytes(zip_of(b__xml=uspto(MARK)))
    touch(tmp_path, "a.png")
    assert [path.name for path in open_source(tmp_path).files()] == ["a.xml", "b.zip"]
    assert [path.name for path in open_source(tmp_path / "b.zip").files()] == ["b.zip"]


@pytest.mark.parametrize("image", ["90000001.jpg", "hrs240101/90000001.PNG", "90000001/anything.tif", "90000001.TIFF"])
def test_an_image_is_found_by_the_number(tmp_path: Path, image: str) -> None:
    (tmp_path / "a.xml").write_text(uspto(MARK))
    images = touch(tmp_path / "elsewhere", "x/other.jpg", image)
    assert filename(tmp_path / "a.xml", images) == image
    assert filename(tmp_path) == f"elsewhere/{image}"


def test_an_image_in_a_folder_of_several_is_not_found_by_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(uspto(MARK))
    assert filename(touch(tmp_path, "90000001/a.jpg", "90000001/b.jpg")) == ""


def test_the_image_beside_the_document_comes_first(tmp_path: Path) -> None:
    mark = (
        "<TradeMark><RegistrationOfficeCode>AL</RegistrationOfficeCode><ApplicationNumber>{}</ApplicationNumber>"
        "<MarkImageDetails><MarkImage><MarkImageFilename>ATTACHMENT/logo.png</MarkImageFilename></MarkImage>"
        "</MarkImageDetails></TradeMark>"
    )
    for number in ("1", "2"):
        touch(tmp_path, f"{number}/logo.jpg")
        (tmp_path / number / "mark.xml").write_text(st66(mark.format(number)))
    assert [row.filename for row in rows(tmp_path) if isinstance(row, Record)] == ["1/logo.jpg", "2/logo.jpg"]


def test_a_name_that_all_images_have_tells_nothing_elsewhere(tmp_path: Path) -> None:
    mark = (
        "<TradeMark><RegistrationOfficeCode>AL</RegistrationOfficeCode><ApplicationNumber>1</ApplicationNumber>"
        "<MarkImageDetails><MarkImage><MarkImageFilename>ATTACHMENT/logo.png</MarkImageFilename></MarkImage>"
        "</MarkImageDetails></TradeMark>"
    )
    (tmp_path / "mark.xml").write_text(st66(mark))
    assert filename(touch(tmp_path, "logo.png", "2/logo.png", "markImage.jpg")) == ""


def test_the_image_of_a_zip_file_is_found_where_it_was_unpacked(tmp_path: Path) -> None:
    text = (REAL / "tsdr-st66.xml").read_text()
    (tmp_path / "sn1.ZIP").write_bytes(zip_of(status__xml=text, markImage__jpg=b""))
    images = touch(tmp_path / "images", "sn1/markImage.jpg", "sn1/markThumbnailImage.jpg", "sn2/markImage.jpg")
    assert filename(tmp_path / "sn1.ZIP") == "sn1/markImage.jpg"
    assert filename(tmp_path / "sn1.ZIP", images) == "sn1/markImage.jpg"


@pytest.mark.parametrize("entry", ["90000001.JPG", "hrs240101/90000001.jpg", "90/90000001.tif", "90000001/any.png"])
def test_images_are_read_from_zip_files(tmp_path: Path, entry: str) -> None:
    (tmp_path / "apc240101.zip").write_bytes(zip_of(apc240101__xml=uspto(MARK)))
    make_zip(tmp_path / "hrs240101.zip", {entry: b"", "90000002.jpg": b""})
    for source in (tmp_path, tmp_path / "apc240101.zip"):
        assert filename(source) == f"hrs240101/{entry}"
        assert filename(source, tmp_path / "hrs240101.zip") == entry


@pytest.mark.parametrize("entry", ["90000001.jpg", "sub/90000001.jpg", "90000001/any.jpg"])
def test_the_last_zip_file_has_the_newest_image(tmp_path: Path, entry: str) -> None:
    (tmp_path / "apc.xml").write_text(uspto(MARK))
    for day in ("240101", "240103", "240102"):
        make_zip(tmp_path / f"hrs{day}.zip", {entry: b"", "other/b.jpg": b""})
    assert filename(tmp_path) == f"hrs240103/{entry}"


def test_two_images_of_one_zip_file_are_not_guessed_between(tmp_path: Path) -> None:
    (tmp_path / "apc.xml").write_text(uspto(MARK))
    make_zip(tmp_path / "hrs240102.zip", {"a/90000001.jpg": b"", "b/90000001.jpg": b""})
    assert filename(tmp_path) == ""


def test_the_images_of_documents_in_zip_files_are_beside_them(tmp_path: Path) -> None:
    text = (REAL / "tsdr-st66.xml").read_text()
    (tmp_path / "sn1.ZIP").write_bytes(zip_of(status__xml=text, markImage__jpg=b""))
    (tmp_path / "sn2.zip").write_bytes(zip_of(markImage__jpg=b""))
    assert filename(tmp_path) == "sn1/markImage.jpg"
    assert filename(tmp_path / "sn1.ZIP") == "markImage.jpg"  # its own images are enough


def test_images_in_a_zip_file_named_after_the_records(tmp_path: Path) -> None:
    (tmp_path / "daily.xml").write_text(uspto(MARK))
    make_zip(tmp_path / "daily-images.zip", {"90000001.jpg": b""})
    make_zip(tmp_path / "other.zip", {"90000001.jpg": b""})
    assert filename(tmp_path / "daily.xml") == "90000001.jpg"


def test_a_broken_zip_file_stops_the_reading(tmp_path: Path) -> None:
    (tmp_path / "apc.xml").write_text(uspto(MARK))
    (tmp_path / "hrs.zip").write_bytes(b"half a download")
    with pytest.raises(SourceError, match=r"hrs\.zip: cannot be read \(it is not a ZIP file, or its end is missing"):
        rows(tmp_path)


def test_a_record_without_an_image_has_no_filename(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(uspto(MARK))
    assert filename(tmp_path) == ""


def test_a_word_mark_without_an_image_is_a_reject(tmp_path: Path) -> None:
    mark = (
        "<TradeMark><RegistrationOfficeCode>EM</RegistrationOfficeCode><ApplicationNumber>018000001</ApplicationNumber>"
        "<MarkFeature>Word</MarkFeature></TradeMark>"
    )
    (tmp_path / "a.xml").write_text(st66(mark))
    assert rows(tmp_path) == [Reject("a.xml[0]", "a word mark without an image", "EM-018000001")]
    assert filename(touch(tmp_path, "018000001.jpg")) == "018000001.jpg"


def test_an_id_that_cannot_be_used_is_a_reject(tmp_path: Path) -> None:
    mark = (
        "<TradeMark><RegistrationOfficeCode>EM</RegistrationOfficeCode>"
        f"<ApplicationNumber>{'9' * 300}</ApplicationNumber></TradeMark>"
    )
    (tmp_path / "a.xml").write_text(st66(mark))
    (row,) = rows(tmp_path)
    assert isinstance(row, Reject)
    assert "longer than 200 characters" in row.reason


def test_a_missing_image_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(uspto(MARK))
    with pytest.raises(SourceError, match="image folder does not exist"):
        rows(tmp_path, tmp_path / "none")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\x.jpg"])
def test_names_that_lead_outside_find_nothing(tmp_path: Path, name: str) -> None:
    mark = (
        "<TradeMark><RegistrationOfficeCode>EM</RegistrationOfficeCode><ApplicationNumber>../../x</ApplicationNumber>"
        f"<MarkImageDetails><MarkImage><MarkImageURI>{name}</MarkImageURI></MarkImage></MarkImageDetails></TradeMark>"
    )
    (tmp_path / "in" / "sub").mkdir(parents=True)
    touch(tmp_path, "x.jpg", "in/other.jpg")
    (tmp_path / "in" / "a.xml").write_text(st66(mark))
    assert filename(tmp_path / "in") == ""


def test_a_name_that_leads_outside_is_a_reject_if_names_are_used_as_written(tmp_path: Path) -> None:
    mark = (
        "<TradeMark><RegistrationOfficeCode>FR</RegistrationOfficeCode><ApplicationNumber>../../x</ApplicationNumber>"
        "</TradeMark>"
    )
    (tmp_path / "a.xml").write_text(st66(mark))
    (row,) = read(tmp_path)
    assert isinstance(row, Reject)
    assert "leads outside the image folder" in row.reason


def test_names_that_are_not_unicode_are_not_used(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff")
    (tmp_path / f"{odd}.xml").write_text(uspto(MARK))
    touch(tmp_path, f"90000001/{odd}.jpg")
    (row,) = rows(tmp_path)
    assert isinstance(row, Record)
    assert (row.where, row.filename) == ("?.xml[0]", "")

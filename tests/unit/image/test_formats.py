from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from logo_similarity.errors import BadImageError
from logo_similarity.image.formats import EXTENSIONS, Format, recognise
from tests.pictures import encode, quarters

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("image_format", Format)
def test_a_file_of_another_program_is_recognised(image_format: Format) -> None:
    assert recognise(encode(quarters(), image_format.name)) is image_format


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_file_written_under_an_extension_has_its_format(extension: str) -> None:
    written, data = cv2.imencode(extension, np.zeros((16, 16, 3), np.uint8))
    assert written
    assert extension in recognise(data.tobytes()).extensions


@pytest.mark.parametrize("image_format", Format)
def test_the_media_type_is_the_registered_one(image_format: Format) -> None:
    assert image_format.media_type == f"image/{image_format.name.lower()}"


@pytest.mark.parametrize("start", [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"])
def test_a_tiff_of_either_byte_order_and_size(start: bytes) -> None:
    assert recognise(start) is Format.TIFF


@pytest.mark.parametrize("brands", [b"avif\0\0\0\0mif1", b"avis\0\0\0\0msf1", b"mif1\0\0\0\0mif1miafavif"])
def test_an_avif_has_its_brand_first_or_among_the_compatible_ones(brands: bytes) -> None:
    box = (8 + len(brands)).to_bytes(4) + b"ftyp" + brands
    assert recognise(box) is Format.AVIF


def test_brands_behind_the_first_box_do_not_count() -> None:
    with pytest.raises(BadImageError, match="HEIC is not among the accepted formats"):
        recognise(b"\0\0\0\x10ftypheic\0\0\0\0avif")


def test_a_brand_needs_its_container() -> None:
    for data in (b"....\0\0\0\0WEBP", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x10free" + b"avif"):
        with pytest.raises(BadImageError, match="the file is not an image"):
            recognise(data)


def test_the_documentation_names_every_format() -> None:
    for document in ("README.md", "docs/search.md"):
        text = (ROOT / document).read_text()
        assert [one.title for one in Format if one.title not in text] == [], document
    text = (ROOT / "docs" / "ingest.md").read_text()
    assert [extension for extension in EXTENSIONS if f"`{extension}`" not in text] == []

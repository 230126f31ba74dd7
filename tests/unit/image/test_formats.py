from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from logo_similarity.errors import BadImageError
from logo_similarity.image.formats import EXTENSIONS, Format, recognise, trimmed
from tests.pictures import encode, quarters

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("image_format", Format)
def test_a_file_of_another_program_is_recognised(image_format: Format) -> None:
    assert recognise(encode(quarters(), image_format.name)) is image_format


@pytest.mark.parametrize("extension", sorted(set(EXTENSIONS) & set(Image.registered_extensions())))
def test_a_file_written_under_an_extension_has_its_format(extension: str) -> None:
    file_format = Image.registered_extensions()[extension]
    file = BytesIO()
    Image.new("RGB", (16, 16)).save(file, file_format)
    assert extension in recognise(file.getvalue()).extensions


def test_the_media_types_are_the_registered_ones() -> None:
    special = {
        Format.JPEG2000: "image/jp2",
        Format.PNM: "image/x-portable-anymap",
        Format.TGA: "image/x-tga",
        Format.PCX: "image/vnd.zbrush.pcx",
        Format.ICO: "image/vnd.microsoft.icon",
    }
    for image_format in Format:
        assert image_format.media_type == special.get(image_format, f"image/{image_format.name.lower()}")


@pytest.mark.parametrize("start", [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"])
def test_a_tiff_of_either_byte_order_and_size(start: bytes) -> None:
    assert recognise(start) is Format.TIFF


@pytest.mark.parametrize("brands", [b"heic\0\0\0\0mif1", b"heix\0\0\0\0mif1", b"mif1\0\0\0\0mif1heic"])
def test_an_heic_has_its_brand_first_or_among_the_compatible_ones(brands: bytes) -> None:
    box = (8 + len(brands)).to_bytes(4) + b"ftyp" + brands
    assert recognise(box) is Format.HEIC


@pytest.mark.parametrize("brands", [b"avif\0\0\0\0mif1", b"avis\0\0\0\0msf1", b"mif1\0\0\0\0mif1miafavif"])
def test_an_avif_has_its_brand_first_or_among_the_compatible_ones(brands: bytes) -> None:
    box = (8 + len(brands)).to_bytes(4) + b"ftyp" + brands
    assert recognise(box) is Format.AVIF


def test_brands_behind_the_first_box_do_not_count() -> None:
    with pytest.raises(BadImageError, match="HEIF is not among the accepted formats"):
        recognise(b"\0\0\0\x10ftypmif1\0\0\0\0avif")


@pytest.mark.parametrize("junk", [b"\xef\xbb\xbf", b"\n", b"\r\n \t", b"\xef\xbb\xbf\r\n"])
def test_a_byte_order_mark_or_blanks_may_precede_a_jpeg(junk: bytes) -> None:
    data = encode(quarters(), "JPEG")
    assert recognise(junk + data) is Format.JPEG
    assert trimmed(junk + data) == data
    assert trimmed(data) is data


@pytest.mark.parametrize("junk", [b"<", b"\xef\xbb\xbf<", b"x", b" " * 64])
def test_nothing_else_may_precede_a_jpeg(junk: bytes) -> None:
    data = junk + encode(quarters(), "JPEG")
    assert trimmed(data) is data
    with pytest.raises(BadImageError, match="the file is not an image"):
        recognise(data)


TGA = b"\0\0\2\0\0\0\0\0\0\0\0\0\x40\0\x30\0\x18\x20"


@pytest.mark.parametrize(
    ("at", "value"), [(1, 2), (1, 1), (2, 0), (2, 4), (5, 1), (7, 24), (12, 0), (14, 0), (16, 8), (17, 0x80)]
)
def test_a_tga_has_possible_values_in_every_field(at: int, value: int) -> None:
    assert recognise(TGA) is Format.TGA
    data = bytearray(TGA)
    data[at] = value
    with pytest.raises(BadImageError, match="the file is not an image"):
        recognise(bytes(data))
    with pytest.raises(BadImageError, match="the file is not an image"):
        recognise(TGA[:17])


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

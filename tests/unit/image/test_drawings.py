"""SVG and PDF files as queries."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from logo_similarity.errors import BadImageError, ImageTooComplexError, ImageTooSmallError
from logo_similarity.image.contained import Decoder
from logo_similarity.image.decode import ImageLimits, decode
from logo_similarity.image.formats import Drawing, drawing_of
from tests.pictures import encode

SVG = '<svg xmlns="http://www.w3.org/2000/svg" {}>{}</svg>'
SQUARE = '<rect x="50" y="0" width="50" height="50" fill="#f00"/>'
RED, WHITE, BLACK = [255, 0, 0], [255, 255, 255], [0, 0, 0]


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder(ImageLimits(max_seconds=1)) as opened:
        yield opened


def svg(content: str = SQUARE, root: str = 'viewBox="0 0 100 50"') -> bytes:
    return SVG.format(root, content).encode()


def pdf(pages: int = 1) -> bytes:
    """Pages of 200 x 100 points, the first one red on its right half."""
    from io import BytesIO

    pictures = [Image.new("RGB", (200, 100), "white") for _ in range(pages)]
    pictures[0].paste((255, 0, 0), (100, 0, 200, 100))
    file = BytesIO()
    pictures[0].save(file, "PDF", save_all=True, append_images=pictures[1:], resolution=72, quality=95)
    return file.getvalue()


@pytest.mark.parametrize(
    "data", [svg(), b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a logo -->\n" + svg(), pdf(), pdf(3)]
)
def test_a_drawing_has_512_pixels_on_its_longer_side(decoder: Decoder, data: bytes) -> None:
    pixels = decoder.decode(data)
    assert pixels.shape == (256, 512, 3)
    assert np.abs(pixels[50, 450].astype(int) - RED).max() < 8
    assert pixels[50, 50].tolist() == WHITE


@pytest.mark.parametrize(
    ("root", "shape"),
    [
        ('viewBox="0 0 50 100"', (512, 256)),
        ('width="200" height="100"', (256, 512)),
        ('width="2in" height="1in"', (256, 512)),
        ('width="100%" height="100%" viewBox="0 0 100 25"', (128, 512)),
        ('width="1e6" height="1e6"', (512, 512)),
        ('width="0.001" height="0.001"', (512, 512)),
        ('viewBox="0,0,100,50"', (256, 512)),
    ],
)
def test_the_shape_is_that_of_the_drawing(root: str, shape: tuple[int, int]) -> None:
    assert decode(svg(root=root)).shape[:2] == shape


def test_a_white_drawing_is_on_black() -> None:
    pixels = decode(svg('<rect width="50" height="50" fill="#fff"/>'))
    assert pixels[50, 50].tolist() == WHITE
    assert pixels[50, 450].tolist() == BLACK


def test_an_embedded_picture_is_drawn() -> None:
    import base64

    picture = base64.b64encode(encode(np.full((16, 16, 3), (255, 0, 0), np.uint8), "PNG")).decode()
    pixels = decode(svg(f'<image width="100" height="50" href="data:image/png;base64,{picture}"/>'))
    assert pixels[128, 256].tolist() == RED


@pytest.mark.parametrize(
    "reference",
    [
        '<image href="{}" width="100" height="50"/>',
        '<image xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="{}" width="100" height="50"/>',
        '<use href="{}"/>',
        '<filter id="f"><feImage href=" {}"/></filter>',
    ],
)
@pytest.mark.parametrize("target", ["{path}", "file://{path}", "../picture.png", "http://127.0.0.1:9/a.png"])
def test_other_files_are_not_read(tmp_path: Path, reference: str, target: str) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encode(np.zeros((16, 16, 3), np.uint8), "PNG"))
    with pytest.raises(BadImageError, match="the SVG file refers to another file; embed it"):
        decode(svg(reference.format(target.format(path=path))))


def test_a_link_is_not_followed_and_not_refused() -> None:
    assert decode(svg(f'<a href="http://127.0.0.1:9/">{SQUARE}</a>'))[50, 450].tolist() == RED


NO_PAGE = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj
trailer<</Root 1 0 R>>"""
LAUGHS = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (f'<!DOCTYPE svg [<!ENTITY a0 "ha">{LAUGHS}]>'.encode() + svg("<text>&a9;</text>"), "declares entities"),
        (b'<!DOCTYPE svg [<!ENTITY x SYSTEM "/etc/passwd">]>' + svg("<text>&x;</text>"), "declares entities"),
        (b"<svg", "the SVG file is damaged"),
        (svg()[:-8], "the SVG file is damaged"),
        (svg() + svg(), "the SVG file is damaged"),
        (b"<html><svg/></html>", "the file is XML, but not SVG: its first element is 'html'"),
        (svg().decode().encode("utf-16"), "not an image"),
        (svg("<text>\xe9</text>").decode().encode("latin-1"), "not UTF-8"),
        (svg(root='viewBox="0 0 0 10"'), "has no valid size"),
        (b"%PDF-1.7", "the PDF file is damaged, has no page, or needs a password"),
        (pdf()[: len(pdf()) // 3], "the PDF file is damaged"),
        (NO_PAGE, "the PDF file is damaged, has no page"),
    ],
    ids=range(12),
)  # fmt: skip
def test_drawings_that_are_refused(decoder: Decoder, data: bytes, message: str) -> None:
    started = time.process_time()
    with pytest.raises(BadImageError, match=message):
        decoder.decode(data)
    assert time.process_time() - started < 1


def test_narrow_drawings() -> None:
    with pytest.raises(ImageTooSmallError, match="is 200 times as wide as high; scaled to 512 pixels"):
        decode(svg(root='viewBox="0 0 200 1"'))
    with pytest.raises(ImageTooSmallError, match=r"is 0\.001 times as wide"):
        decode(svg(root='width="1" height="1000"'))


def nested(levels: int) -> bytes:
    """Each level draws the one below it ten times."""
    groups = "".join(f'<g id="g{n}">' + f'<use href="#g{n - 1}" x="{n}"/>' * 10 + "</g>" for n in range(1, levels))
    return svg(f'<defs><g id="g0">{SQUARE}</g>{groups}</defs><use href="#g{levels - 1}"/>')


@pytest.mark.parametrize(
    "data",
    [
        nested(9),
        svg("<g>" * 100_000 + "</g>" * 100_000),
        svg(
            '<filter id="f"><feGaussianBlur stdDeviation="1000"/></filter><g filter="url(#f)">' * 200
            + SQUARE
            + "</g>" * 200
        ),
    ],
    ids=["billion uses", "deep", "blurred"],
)
def test_costly_drawings_are_ended_and_the_next_is_drawn(decoder: Decoder, data: bytes) -> None:
    with pytest.raises((ImageTooComplexError, BadImageError)):
        decoder.decode(data)
    assert decoder.decode(svg()).shape == (256, 512, 3)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (svg(), Drawing.SVG),
        (b"  \n<svg/>", Drawing.SVG),
        (b"<!DOCTYPE svg>" + svg(), Drawing.SVG),
        (pdf(), Drawing.PDF),
        (b"<html></html>", None),
        (b"%!PS", None),
        (b"text <svg", None),
        (b"", None),
        (encode(np.zeros((16, 16, 3), np.uint8), "PNG"), None),
    ],
)
def test_drawings_are_recognised(data: bytes, kind: Drawing | None) -> None:
    assert drawing_of(data) is kind

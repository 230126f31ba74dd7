"""Reading the pictures of a gallery."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from logo_similarity.errors import SourceError
from logo_similarity.evaluation.features import BASELINES
from logo_similarity.evaluation.gallery import describe_as, describe_gallery, image_files, read_image
from tests.pictures import encode, noise, quarters


def test_a_picture_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode(quarters(), "PNG"))
    np.testing.assert_array_equal(read_image(path), quarters())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encode(quarters(), "PNG")[:60], "the PNG file is cut off"),
        (b"%!PS", "PostScript is not among the accepted formats"),
        (encode(quarters(4, 4), "PNG"), "the image is 4 x 4 pixels"),
        (None, r"cannot be read \(No such file or directory\)"),
    ],
)
def test_the_error_names_the_file(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=f"^{re.escape(str(path))}: {reason}"):
        read_image(path)


def test_a_gallery_with_a_damaged_picture_names_it(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(encode(noise(), "PNG"))
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(SourceError, match=r"text\.png: the file is not an image"):
        describe_gallery(
            "grey", describe_as("grey", BASELINES["grey"]), 0.0, tmp_path, image_files(tmp_path),
            threads=1, report=lambda *_: None,
        )  # fmt: skip

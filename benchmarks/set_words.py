"""Words set in many typefaces, to learn from and to measure with: the same word is a mark whatever its typeface.

The words are invented, of consonants and vowels in turns. The fonts are those of `benchmarks/data/fonts.csv`: packages of
Fontsource on npm, all under the SIL Open Font License.
"""

from __future__ import annotations

import csv
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.progress import track

from benchmarks.render_icons import MARK_SIDE, SIDE, encode_jpeg, fetch_package

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FONTS = Path(__file__).parent / "data" / "fonts.csv"
LICENCE = "OFL-1.1"
TYPEFACES_PER_WORD = 3
LETTER_HEIGHT = 96
"""In pixels; a word is scaled from this to the width of a mark."""
CONSONANTS = """
    b c d f g h j k l m n p r s t v w x z br ch cl cr dr fl gr kl kr pl pr qu sh sk sl sp st th tr
"""
VOWELS = "a e i o u ai ea ee ie io oo ou y"
JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class SetWord:
    """A word in one typeface."""

    word: str
    font: str
    """Name of the npm package."""

    @property
    def file(self) -> str:
        """The stable name of its picture."""
        return f"{uuid.uuid5(uuid.NAMESPACE_URL, f'{self.font}/{self.word}')}.jpg"


def read_fonts(npm: Path, use: Literal["train", "measure"]) -> dict[str, Path]:
    """The font file of each package of one use, downloaded on first use.

    Raises:
        SystemExit: a package cannot be downloaded, or has another licence than OFL-1.1.
    """
    with FONTS.open(encoding="utf8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["use"] == use]

    def fetch(row: dict[str, str]) -> Path:
        folder = fetch_package(row["package"], row["version"], npm)
        licence = json.loads((folder / "package.json").read_bytes())["license"]
        if licence != LICENCE:
            raise SystemExit(f"{row['package']}@{row['version']} has the licence {licence}; expected: {LICENCE}")
        return folder / "files" / f"{row['package'].partition('/')[2]}-latin-400-normal.woff2"

    with ThreadPoolExecutor(4) as pool:
        files = list(track(pool.map(fetch, rows), "fonts", len(rows)))
    return {row["package"]: file for row, file in zip(rows, files, strict=True)}


def choose(count: int, fonts: Sequence[str], seed: int = 0) -> list[SetWord]:
    """`count` different invented words, each in `TYPEFACES_PER_WORD` of the fonts."""
    random = np.random.default_rng(seed)
    words: dict[str, None] = {}
    while len(words) < count:
        words[_invent(random)] = None
    return [
        SetWord(word, str(font)) for word in words for font in random.choice(fonts, TYPEFACES_PER_WORD, replace=False)
    ]


def draw(word: str, face: ImageFont.FreeTypeFont) -> NDArray[np.uint8]:
    """(256, 256, 3) uint8 BGR: the word in black, as wide as a mark, centred on white."""
    left, top, right, bottom = face.getbbox(word)
    picture = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4), 255)
    ImageDraw.Draw(picture).text((2 - left, 2 - top), word, font=face, fill=0)
    scale = MARK_SIDE / max(picture.size)
    ink = cv2.resize(np.asarray(picture), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    paper = np.full((SIDE, SIDE, 3), 255, np.uint8)
    y, x = (SIDE - ink.shape[0]) // 2, (SIDE - ink.shape[1]) // 2
    paper[y : y + ink.shape[0], x : x + ink.shape[1]] = ink[..., None]
    return paper


def make_words(out: Path, count: int, npm: Path) -> dict[str, dict[str, str]]:
    """Draw `count` words into `out/images`, and return the labels of the files."""
    faces = {package: ImageFont.truetype(file, LETTER_HEIGHT) for package, file in read_fonts(npm, "train").items()}
    labels = {}
    for one in track(choose(count, list(faces)), "words"):
        path = out / "images" / one.file
        if not path.exists():
            path.write_bytes(encode_jpeg(draw(one.word, faces[one.font]), JPEG_QUALITY))
        name = f"word:{one.word}"
        labels[one.file] = {
            "set": one.font, "split": "concept", "licence": LICENCE, "group": name, "family": name, "subject": name,
        }  # fmt: skip
    return labels


def _invent(random: np.random.Generator) -> str:
    syllables = int(random.integers(2, 4))
    word = "".join(
        str(random.choice(CONSONANTS.split())) + str(random.choice(VOWELS.split())) for _ in range(syllables)
    )
    if random.random() < 0.5:
        word += str(random.choice(list("lmnrstx")))
    return str(random.choice([word, word.upper(), word.capitalize()]))

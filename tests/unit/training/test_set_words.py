from __future__ import annotations

import numpy as np
from PIL import ImageFont

from benchmarks.render_icons import MARK_SIDE
from benchmarks.set_words import FONTS, LETTER_HEIGHT, LICENCE, SetWord, choose, draw

TYPEFACES = ["a", "b", "c", "d"]


def test_each_word_is_set_in_several_typefaces() -> None:
    chosen = choose(50, TYPEFACES)
    words: dict[str, list[str]] = {}
    for one in chosen:
        words.setdefault(one.word, []).append(one.font)
    assert len(words) == 50
    assert all(len(set(fonts)) == len(fonts) == 3 for fonts in words.values())
    assert chosen == choose(50, TYPEFACES)
    assert len({one.file for one in chosen}) == len(chosen)
    assert SetWord("Kiwo", "a").file == SetWord("Kiwo", "a").file != SetWord("kiwo", "a").file


def test_a_word_is_drawn_as_wide_as_a_mark() -> None:
    face = ImageFont.load_default(LETTER_HEIGHT)
    assert isinstance(face, ImageFont.FreeTypeFont)
    word, other = draw("Kiwo", face), draw("Klaxoro", face)
    for picture in (word, other):
        assert picture.shape == (256, 256, 3)
        rows, columns = np.nonzero(picture[..., 0] < 128)
        assert 210 < columns.max() - columns.min() <= MARK_SIDE
        assert abs((rows.max() + rows.min()) / 2 - 127.5) < 3
    assert np.abs(word.astype(int) - other).mean() > 5


def test_all_fonts_may_be_learned_from() -> None:
    header, *rows = (line.split(",") for line in FONTS.read_text(encoding="utf8").splitlines())
    assert header == ["package", "version", "licence", "use"]
    assert len(rows) == len({package for package, *_ in rows})
    assert {licence for _, _, licence, _ in rows} == {LICENCE}
    uses = [use for *_, use in rows]
    assert (uses.count("train"), uses.count("measure")) == (160, len(rows) - 160) == (160, 60)

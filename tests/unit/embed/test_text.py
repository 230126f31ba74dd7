"""Words in images."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from logo_similarity.embed import text as text_module
from logo_similarity.embed.text import LARGEST_RATIO, LONGEST_SIDE, TextReader, thread_reader
from logo_similarity.errors import InvalidRequestError


def drawn(words: str, width: int = 400) -> NDArray[np.uint8]:
    canvas = np.full((200, width, 3), 255, np.uint8)
    cv2.putText(canvas, words, (20, 120), cv2.FONT_HERSHEY_SIMPLEX, 2, (20, 20, 120), 5, cv2.LINE_AA)
    return canvas


def test_words_are_read_and_a_figure_has_none() -> None:
    assert (thread_reader().read(drawn("Kodiak")) or "").casefold() == "kodiak"
    figure = np.full((200, 200, 3), 255, np.uint8)
    cv2.circle(figure, (100, 100), 60, (200, 30, 30), -1)
    assert thread_reader().read(figure) is None
    assert thread_reader() is thread_reader()


def test_a_single_letter_is_not_a_word() -> None:
    assert thread_reader().read(drawn("N")) is None


@pytest.mark.parametrize("shape", [(8, 4000, 3), (4000, 8, 3), (3000, 3000, 3), (8, 8, 3)])
def test_what_is_read_has_a_bounded_size_and_ratio(shape: tuple[int, int, int]) -> None:
    height, width = text_module._bounded(np.zeros(shape, np.uint8)).shape[:2]
    assert max(height, width) <= LONGEST_SIDE
    assert max(height, width) <= LARGEST_RATIO * min(height, width)


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(text_module, "version", missing)
    with pytest.raises(InvalidRequestError, match=r"run pip install '.\[words\]' in the source folder"):
        TextReader()

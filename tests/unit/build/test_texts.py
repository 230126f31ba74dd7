"""A build that reads the words in images."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from logo_similarity.build import texts as texts_module
from logo_similarity.build.catalog import BuildResult, build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.sources import open_source
from logo_similarity.domain import Query
from logo_similarity.engine import SearchEngine

MARKS: dict[str, str | None] = {"Kodiak": None, "Pelican": None, "Walrus": "Ostrich"}
"""Drawn words, and the text of the register."""


def write_source(folder: Path) -> None:
    (folder / "images").mkdir()
    with (folder / "marks.jsonl").open("w") as table:
        for number, (drawn, text) in enumerate(MARKS.items()):
            canvas = np.full((160, 420, 3), 255, np.uint8)
            cv2.putText(canvas, drawn, (20, 100), cv2.FONT_HERSHEY_SIMPLEX, 2, (10, 10, 10), 5, cv2.LINE_AA)
            cv2.imwrite(str(folder / "images" / f"{number}.png"), canvas)
            table.write(json.dumps({"logo_id": drawn, "filename": f"{number}.png", "text": text}) + "\n")
        (folder / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        table.write(json.dumps({"logo_id": "broken", "filename": "broken.png"}) + "\n")


def build(folder: Path, *, read_words: bool) -> BuildResult:
    source = open_source(folder / "marks.jsonl")
    return build_catalog(source, folder / "catalogs", BuildOptions(read_words=read_words))


def test_words_in_images_are_found_where_the_register_has_no_text(tmp_path: Path) -> None:
    write_source(tmp_path)
    result = build(tmp_path, read_words=True)
    with SearchEngine.open(tmp_path / "catalogs") as engine:
        hit = engine.search(Query(words="kodiak")).hits[0]
        assert (hit.logo.logo_id, hit.word_similarity, hit.word_field) == ("Kodiak", 1, "image")
        assert hit.logo.record.text is None
        assert not [hit for hit in engine.search(Query(words="walrus")).hits if hit.score > 0.9]
        assert engine.search(Query(words="ostrich")).hits[0].word_field == "text"
        image = (tmp_path / "images" / "1.png").read_bytes()
        read = engine.search(Query(image=image, read_words=True))
        assert (read.words or "").casefold() == "pelican"
        assert (read.hits[0].logo.logo_id, read.hits[0].word_similarity) == ("Pelican", 1)
        given = engine.search(Query(image=image, words="kodiak", read_words=True))
        assert given.words == "kodiak"
    assert build(tmp_path, read_words=True).reused
    other = build(tmp_path, read_words=False)
    assert other.folder != result.folder
    with SearchEngine.open(tmp_path / "catalogs") as engine:
        assert not engine.search(Query(words="kodiak")).hits


def test_an_image_without_words_is_searched_for_alone(tmp_path: Path) -> None:
    write_source(tmp_path)
    build(tmp_path, read_words=False)
    figure = np.full((120, 120, 3), 255, np.uint8)
    cv2.circle(figure, (60, 60), 40, (200, 30, 30), -1)
    with SearchEngine.open(tmp_path / "catalogs") as engine:
        result = engine.search(Query(image=figure, read_words=True))
        assert result.words is None
        assert result.hits == engine.search(Query(image=figure)).hits


def test_an_interrupted_build_does_not_read_an_image_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_source(tmp_path)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("logo_similarity.build.catalog.number_vectors", fail)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, read_words=True)
    monkeypatch.setattr(texts_module, "thread_reader", fail)
    build(tmp_path, read_words=True)
    with SearchEngine.open(tmp_path / "catalogs") as engine:
        assert engine.search(Query(words="kodiak")).hits[0].word_field == "image"

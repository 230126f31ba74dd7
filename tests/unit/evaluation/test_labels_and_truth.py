"""Which answers are right, and which of them are easy."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from logo_similarity.errors import SourceError
from logo_similarity.evaluation.labels import Label, brand_queries, hard_queries, thumbnail
from logo_similarity.evaluation.ranking import LabelledQuery
from logo_similarity.evaluation.truth import read_truth


def label(brand: str | None, kind: str = "mark", split: str = "public") -> Label:
    return Label(brand, kind, None, split)


def test_other_drawings_of_the_brand_are_right_and_other_kinds_are_ignored() -> None:
    labels = [label("a"), label("a"), label("a", "wordmark"), label("b"), label(None), label("a", split="train")]
    found = {query.row: query for query in brand_queries(labels, "public")}
    assert set(found) == {0, 1}  # the wordmark and b have nothing to find
    assert found[0].relevant.tolist() == [1, 5]  # the gallery is one: other splits' drawings count as answers
    assert found[0].ignored.tolist() == [2]


def test_queries_of_a_split_may_come_after_those_of_another() -> None:
    labels = [label("a", split="train"), label(None), label("a"), label("a")]
    assert [query.row for query in brand_queries(labels, "public")] == [2, 3]


def test_drawings_that_correlate_by_exactly_the_bound_are_easy() -> None:
    thumbnails = np.array([[1, 0], [0.6, 0.8], [0.59, 0.8]], np.float32)
    [hard] = hard_queries([LabelledQuery(0, np.array([1, 2]), np.array([], np.int64))], thumbnails)
    assert (hard.relevant.tolist(), hard.ignored.tolist()) == ([2], [1])


def picture(ink: tuple[int, int, int], *, hollow: bool) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image = np.full((120, 120, 3), 255, np.uint8)
    cv2.circle(image, (60, 60), 40, ink, 4 if hollow else -1)
    return image


def test_a_recoloured_and_a_negative_copy_are_easy_and_an_outline_is_hard() -> None:
    full, recoloured, outline = (
        picture((0, 0, 0), hollow=False),
        picture((200, 0, 0), hollow=False),
        picture((0, 0, 0), hollow=True),
    )
    thumbnails = np.stack([thumbnail(one) for one in (full, recoloured, 255 - full, outline)])
    query = LabelledQuery(0, np.array([1, 2, 3]), np.array([], np.int64))
    assert np.allclose(np.linalg.norm(thumbnails, axis=1), 1)
    [hard] = hard_queries([query], thumbnails)
    assert hard.relevant.tolist() == [3]
    assert sorted(hard.ignored.tolist()) == [1, 2]
    assert hard_queries([LabelledQuery(0, np.array([1, 2]), np.array([], np.int64))], thumbnails) == []


def test_a_thumbnail_has_unit_length_however_faint_the_picture_is() -> None:
    faint = np.full((32, 32, 3), 100, np.uint8)
    faint[10, 10] = 101
    assert thumbnail(faint).shape == (1024,)
    assert np.linalg.norm(thumbnail(faint)) == pytest.approx(1, abs=1e-5)


def test_a_picture_of_one_grey_has_an_empty_thumbnail() -> None:
    assert not thumbnail(np.full((50, 50, 3), 77, np.uint8)).any()


def test_pairs_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("query,relevant\na.png,b.png\na.png,c.png\nc.png,a.png\n")
    truth = read_truth(path, ["c.png", "b.png", "a.png", "d.png"])
    assert truth.files == ("a.png", "b.png", "c.png", "d.png")
    assert [(query.row, query.relevant.tolist()) for query in truth.splits["pairs"]] == [(0, [1, 2]), (2, [0])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "must name the columns query and relevant"),
        ("query,relevant\n", "contains no pairs"),
        ("query,relevant\na.png,x.png\n", "line 2: 'x.png' is not one of the images"),
        ("query,relevant\na.png,a.png\n", "line 2: 'a.png' is listed as its own answer"),
    ],
)
def test_pairs_that_can_not_be_meant(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(content)
    with pytest.raises(SourceError, match=message):
        read_truth(path, ["a.png", "b.png"])


@pytest.mark.parametrize("content", ["{", "[]", '{"a.png": 3}'])
def test_labels_that_are_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(content)
    with pytest.raises(SourceError, match="not a labels file"):
        read_truth(path, ["a.png"])


def test_labels_of_other_images(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"x.png": {"brand": "a", "kind": "mark", "split": "public"}}))
    with pytest.raises(SourceError, match="check that the labels belong to these images"):
        read_truth(path, ["a.png"])


def test_labels_without_a_split_are_answers_and_no_queries(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    rows = {"a.png": {"split": "public"}, "b.png": {}, "c.png": {}}
    path.write_text(json.dumps({name: {"brand": "a", "kind": "mark", **row} for name, row in rows.items()}))
    truth = read_truth(path, [*rows, "unknown.png"])
    assert [(query.row, query.relevant.tolist()) for query in truth.splits["public"]] == [(0, [1, 2])]
    assert list(truth.splits) == ["public"]

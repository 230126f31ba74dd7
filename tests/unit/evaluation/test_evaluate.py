"""Searches for copies and composites in small galleries whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from logo_similarity.description import Description
from logo_similarity.errors import SourceError
from logo_similarity.evaluation import evaluate
from logo_similarity.evaluation.composites import COMPOSITES, Composite
from logo_similarity.evaluation.copies import CHANGES
from logo_similarity.evaluation.evaluate import Recalls, evaluate_composites, evaluate_copies, other_brands
from logo_similarity.evaluation.features import Features
from logo_similarity.evaluation.gallery import Gallery, save_and_decode
from logo_similarity.evaluation.ranking import LabelledQuery
from logo_similarity.evaluation.scans import SCANS
from logo_similarity.image.decode import Pixels
from logo_similarity.image.preprocess import Box
from logo_similarity.search.score import RERANKED
from tests.pictures import noise

NONE = np.empty(0, np.int64)


def picture(degrees: float) -> Pixels:
    """A picture whose description is the direction of an angle."""
    return np.full((16, 16, 3), degrees, np.uint8)


def describe(image: Pixels) -> Description:
    angle = math.radians(float(image[0, 0, 0]))
    return Description(np.array([math.cos(angle), math.sin(angle)], np.float32), None)


def gallery(*degrees: float) -> Gallery:
    embeddings = np.stack([describe(picture(angle)).embedding for angle in degrees])
    files = tuple(f"{number}.png" for number in range(len(degrees)))
    return Gallery("angles", files, Features(embeddings), np.zeros((len(degrees), 1024), np.float32), describe)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.mark.parametrize(
    ("composite", "mark_finds", "composite_finds"),
    [
        (10, 1.0, 1.0),
        (20, 1.0, 0.0),  # nearer to the mark than any other row is, but itself nearer to row 1
        (40, 0.0, 0.0),
    ],
)
def test_both_directions(
    monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor, composite: int, mark_finds: float, composite_finds: float
) -> None:
    degrees = (0, 30, 90)
    monkeypatch.setattr(evaluate, "COMPOSITES", {"near": lambda *_: Composite(picture(composite), Box(0, 0, 16, 16))})
    mark, other = LabelledQuery(0, NONE, NONE), LabelledQuery(2, NONE, NONE)
    [figures] = evaluate_composites({0: [other]}, [mark], gallery(*degrees), lambda row: picture(degrees[row]), pool)
    assert figures.composite == "near"
    assert figures.mark_finds_composite == Recalls(mark_finds, 1.0)
    assert figures.composite_finds_mark == Recalls(composite_finds, 1.0)


def test_a_composite_may_be_beyond_the_tenth_rank(monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor) -> None:
    monkeypatch.setattr(evaluate, "COMPOSITES", {"far": lambda *_: Composite(picture(60), Box(0, 0, 16, 16))})
    degrees = (0, 90, *range(20, 30))
    mark, other = LabelledQuery(0, NONE, NONE), LabelledQuery(1, NONE, NONE)
    [figures] = evaluate_composites({0: [other]}, [mark], gallery(*degrees), lambda row: picture(degrees[row]), pool)
    assert figures.mark_finds_composite == Recalls(0.0, 0.0)
    assert figures.composite_finds_mark == Recalls(0.0, 0.0)


def test_the_brands_of_all_marks_in_a_composite_are_ignored(
    monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    monkeypatch.setattr(evaluate, "COMPOSITES", {"beside": lambda *_: Composite(picture(40), Box(0, 0, 16, 16))})
    degrees = (0, 38, 39, 41, 42, 43)
    mark = LabelledQuery(0, np.array([1]), np.array([2]))
    other = LabelledQuery(3, np.array([4]), np.array([5]))
    [figures] = evaluate_composites({0: [other]}, [mark], gallery(*degrees), lambda row: picture(degrees[row]), pool)
    assert figures.mark_finds_composite == Recalls(1.0, 1.0)
    assert figures.composite_finds_mark == Recalls(1.0, 1.0)


def test_the_original_of_a_copy(pool: ThreadPoolExecutor) -> None:
    degrees = (0, 30, 31)
    changes = {"slight": lambda _: picture(10), "strong": lambda _: picture(20)}
    queries = [LabelledQuery(0, NONE, NONE)]
    figures = evaluate_copies(changes, queries, gallery(*degrees), lambda row: picture(degrees[row]), pool)
    assert [(row.change, row.recall_at_1, row.recall_at_10) for row in figures] == [("slight", 1, 1), ("strong", 0, 1)]


def test_marks_of_other_brands() -> None:
    queries = [LabelledQuery(0, np.array([1]), np.array([2])), *(LabelledQuery(row, NONE, NONE) for row in (1, 2, 3))]
    assert [other.row for other in other_brands(queries[0], queries)] == [3]
    with pytest.raises(SourceError, match="composites need marks of two brands"):
        other_brands(queries[0], queries[:3])


@pytest.mark.parametrize("row", [5, 250])
def test_a_replaced_row_scores_as_in_a_gallery_that_contains_it(row: int) -> None:
    random = np.random.default_rng(1)
    embeddings = random.normal(size=(300, 8)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    patches = random.integers(-40, 40, (300, 16, 4)).astype(np.int8)
    features = Features(embeddings, patches, 0.4)
    query = features.description(0)
    order = np.argsort(-(embeddings @ query.embedding))
    new, old = features.description(int(order[row])), int(order[50])
    expected = Features(embeddings.copy(), patches.copy(), 0.4)
    expected.embeddings[old] = new.embedding
    assert expected.patches is not None
    assert new.patches is not None
    expected.patches[old] = new.patches
    scores = features.scores(query, replaced={old: new})
    np.testing.assert_array_equal(scores, expected.scores(query))
    assert (scores[old] > -2) == (row < RERANKED)
    assert not np.array_equal(scores, features.scores(query))
    given = embeddings @ query.embedding
    np.testing.assert_allclose(features.scores(query, given, replaced={old: new}), scores, atol=1e-6)
    np.testing.assert_array_equal(given, embeddings @ query.embedding)


def test_a_picture_is_decoded_as_its_file() -> None:
    np.testing.assert_array_equal(save_and_decode(noise()), noise())
    assert save_and_decode(noise(4000, 4000)).shape == (3000, 3000, 3)
    assert save_and_decode(noise(2, 5)).shape == (2, 5, 3)


def test_the_documentation_describes_every_change() -> None:
    page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()
    assert [name for name in (*CHANGES, *SCANS, *COMPOSITES) if f"| {name} |" not in page] == []

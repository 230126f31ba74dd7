"""What a training may learn from, and which pictures meet in a step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from logo_similarity.errors import SourceError
from logo_similarity.training.dataset import TrainingSet, read_training_set
from logo_similarity.training.sampler import PairSampler


def folder_with(tmp_path: Path, labels: dict[str, dict[str, str | None]]) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    return tmp_path


def test_only_the_splits_and_licences_that_are_named(tmp_path: Path) -> None:
    labels: dict[str, dict[str, str | None]] = {
        "a.jpg": {"brand": "x", "kind": "mark", "split": "train", "licence": "MIT"},
        "b.jpg": {"brand": "x", "kind": "mark", "split": "train", "licence": "CC-BY-NC-4.0"},
        "c.jpg": {"brand": "x", "kind": "mark", "split": "public", "licence": "MIT"},
        "d.jpg": {"brand": None, "kind": None, "split": "distractor", "licence": "MIT"},
    }
    folder = folder_with(tmp_path, labels)
    assert [path.name for path in read_training_set(folder, ["train"]).files] == ["a.jpg", "b.jpg"]
    assert [path.name for path in read_training_set(folder, ["train", "distractor"], ["MIT"]).files] == [
        "a.jpg",
        "d.jpg",
    ]
    with pytest.raises(SourceError, match="no images to learn from"):
        read_training_set(folder, ["private"])


def test_groups_and_families(tmp_path: Path) -> None:
    labels: dict[str, dict[str, str | None]] = {
        "a.jpg": {"brand": "x", "kind": "mark", "split": "train"},
        "b.jpg": {"brand": "x", "kind": "mark", "split": "train"},
        "c.jpg": {"brand": "x", "kind": "wordmark", "split": "train"},
        "d.jpg": {"brand": None, "kind": None, "split": "train"},
        "e.jpg": {"group": "arrow-left", "family": "arrow", "split": "train"},
        "f.jpg": {"group": "arrow-right", "family": "arrow", "split": "train"},
    }
    data = read_training_set(folder_with(tmp_path, labels), ["train"])
    a, b, c, d, e, f = data.groups.tolist()
    assert a == b
    assert len({a, c, d, e, f}) == 5
    families = data.families.tolist()
    assert families[0] == families[1] == families[2]  # a brand's mark and wordmark are neither positives nor negatives
    assert families[4] == families[5]
    assert len(set(families)) == 3
    assert data.trusted.tolist() == [True, True, True, True, False, False]


def test_pictures_without_labels_are_groups_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "images" / name).touch()
    assert sorted(read_training_set(tmp_path, ["train"]).groups.tolist()) == [0, 1]


@pytest.fixture
def data() -> TrainingSet:
    """Groups 0 to 29 of two pictures each, the later half named alike only; families of two groups each."""
    groups = np.repeat(np.arange(30), 2)
    return TrainingSet(tuple(Path(f"{row}.jpg") for row in range(60)), groups, groups // 2, groups < 15)


def bank(data: TrainingSet) -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
    vectors = np.random.default_rng(1).normal(size=(30, 16))[data.groups]
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float16)


def sampler(data: TrainingSet, least: float = 0.2) -> PairSampler:
    return PairSampler(data, pairs=8, seeds=2, multiple=(0.5, 0.5), least=least)


def test_a_batch_holds_pairs_of_different_families_and_is_reproducible(data: TrainingSet) -> None:
    for seed in range(20):
        pairs = sampler(data).batch(bank(data), np.random.default_rng(seed)).pairs
        assert np.array_equal(pairs, sampler(data).batch(bank(data), np.random.default_rng(seed)).pairs)
        assert np.array_equal(data.groups[pairs[:, 0]], data.groups[pairs[:, 1]])
        neighbours = data.families[pairs[2:, 0]]
        assert len(set(neighbours.tolist())) == len(neighbours)
        assert not set(neighbours.tolist()) & set(data.families[pairs[:2, 0]].tolist())


def test_neighbours_are_near(data: TrainingSet) -> None:
    known = bank(data).astype(np.float32)
    near, all_of_them = [], []
    for seed in range(50):
        pairs = (
            PairSampler(data, pairs=3, seeds=1, multiple=(0.5, 0.5), least=0.2)
            .batch(known.astype(np.float16), np.random.default_rng(seed))
            .pairs
        )
        near += (known[pairs[1:, 0]] @ known[pairs[0, 0]]).tolist()
        all_of_them += (known @ known[pairs[0, 0]]).tolist()
    assert np.mean(near) > np.mean(all_of_them) + 0.3


def test_pictures_that_are_only_named_alike_must_be_near(data: TrainingSet) -> None:
    known = bank(data)
    known[1::2] = -known[1::2]  # the second picture of each group looks like anything else
    pairs = np.concatenate([sampler(data).batch(known, np.random.default_rng(seed)).pairs for seed in range(20)])
    trusted = data.trusted[pairs[:, 0]]
    assert (pairs[trusted, 0] != pairs[trusted, 1]).all()
    assert (pairs[~trusted, 0] == pairs[~trusted, 1]).all()

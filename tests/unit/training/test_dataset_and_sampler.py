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
        "g.jpg": {"group": "horse", "subject": "emoji:horse", "split": "train"},
        "h.jpg": {"group": "horse", "subject": "emoji:horse", "split": "train"},
        "i.jpg": {"group": "horse", "split": "train"},
    }
    data = read_training_set(folder_with(tmp_path, labels), ["train"])
    a, b, c, d, e, f, g, h, i = data.groups.tolist()
    assert a == b
    assert g == h == i
    assert len({a, c, d, e, f, g}) == 6
    families = data.families.tolist()
    assert families[0] == families[1] == families[2]  # a brand's mark and wordmark are neither positives nor negatives
    assert families[4] == families[5]
    assert len(set(families)) == 4
    subjects = data.subjects.tolist()
    assert subjects[0] == subjects[1]
    assert subjects[6] == subjects[7]
    assert len(set(subjects)) == len(subjects) - 2


def test_pictures_without_labels_are_groups_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "images" / name).touch()
    assert sorted(read_training_set(tmp_path, ["train"]).groups.tolist()) == [0, 1]


@pytest.fixture
def data() -> TrainingSet:
    """Groups 0 to 29 of two pictures each, the later half named alike only; families of two groups each."""
    groups = np.repeat(np.arange(30), 2)
    subjects = np.where(groups < 15, groups, 100 + np.arange(60))
    return TrainingSet(tuple(Path(f"{row}.jpg") for row in range(60)), groups, groups // 2, subjects)


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
    certain = data.groups[pairs[:, 0]] < 15
    assert (pairs[certain, 0] != pairs[certain, 1]).all()
    assert (pairs[~certain, 0] == pairs[~certain, 1]).all()


def test_the_share_of_groups_with_a_certain_subject(data: TrainingSet) -> None:
    drawn = PairSampler(data, pairs=8, seeds=8, multiple=(1.0, 0.0), least=0.2)
    pairs = np.concatenate([drawn.batch(bank(data), np.random.default_rng(seed)).pairs for seed in range(20)])
    assert (data.groups[pairs] < 15).all()

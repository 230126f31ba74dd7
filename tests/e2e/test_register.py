"""The synthetic register of the benchmarks: what is measured on it must be what a real catalog would do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import make_register
from logo_similarity.domain import Query
from logo_similarity.engine import SearchEngine

LOGOS = 4_000
pytestmark = pytest.mark.xdist_group("register")  # the catalog is made once, in one process


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_register, "DATA", tmp_path_factory.mktemp("register"))
        made = make_register.register_catalog(LOGOS)
        assert make_register.register_is_made(LOGOS)
        assert not make_register.register_is_made(LOGOS + 1)
        assert not list(made.parent.glob("*.raw"))
    return made


def test_samples_are_found_among_synthetic_logos(register: Path) -> None:
    with SearchEngine.open(register) as engine:
        assert engine.manifest.count == LOGOS
        assert engine.base.patches is not None
        for path in sorted((make_register.SAMPLES / "images").glob("*.jpg"))[::200]:
            best = engine.search(Query(image=path.read_bytes())).hits[0]
            assert best.logo.logo_id == path.stem
            assert best.score > 0.999


def test_metadata_look_like_a_register(register: Path) -> None:
    with SearchEngine.open(register) as engine:
        records = [logo.record for logo in engine.metadata.fetch(list(range(2_005, LOGOS)))]
    assert all(record.logo_id.startswith("SYNTHETIC-") for record in records)
    codes = [len(record.vienna_codes) for record in records]
    assert 2.8 < np.mean(codes) < 3.5  # 3.19 in L3D
    assert 0.07 < np.mean([record.text is None for record in records]) < 0.13
    assert {record.year for record in records} == set(range(1996, 2021))
    assert any("а" <= letter <= "я" for record in records for letter in (record.text or ""))  # noqa: RUF001 - Cyrillic


def test_synthetic_neighbours_are_as_near_as_real_ones(register: Path) -> None:
    """A tenth of the samples, grown to their number by the recipe. `--check` compares at a size that the recipe is meant for."""
    with SearchEngine.open(register) as engine:
        real = engine.base.index.vectors[engine.base.row_map.vector_of(np.arange(2_005))]
    random = np.random.default_rng(0)
    few = real[random.permutation(len(real))[:200]]
    made, bases = make_register.grow(few, len(real) - len(few), random)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    assert bases.max() < len(few)

    def neighbours(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        cosines = np.sort(vectors @ vectors.T, axis=1)[:, ::-1]
        return np.asarray(np.median(cosines[:, [1, 10, 100]], axis=0), np.float32)

    np.testing.assert_allclose(neighbours(np.concatenate((few, made))), neighbours(real), atol=0.2)

"""Catalogs of every format since 4, as they were written then, opened by this version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from logo_similarity.catalog.manifest import FORMAT, read_manifest, verify
from logo_similarity.catalog.versions import CURRENT, Catalog
from logo_similarity.domain import Query
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CatalogError

FIXTURES = Path(__file__).parent.parent / "fixtures"
SAMPLES = Path(__file__).parent.parent.parent / "samples" / "images"
FORMATS = range(4, FORMAT + 1)
REFUSED = 3


@pytest.mark.parametrize("number", FORMATS)
def test_a_catalog_of_that_time_gives_the_answers_of_that_time(number: int, tmp_path: Path) -> None:
    """No fixture for a new format: `python -m scripts.make_fixture`."""
    kept = FIXTURES / f"catalog-{number}"
    root = tmp_path / "catalogs"
    shutil.copytree(kept, root)  # opened like any other: in a folder that may be written to
    live = Catalog(root).current()
    manifest = verify(live)
    assert manifest.format == number
    assert (manifest.count, manifest.distinct_images, manifest.source.rejected) == (42, 40, 1)
    answers = json.loads((kept / "answers.json").read_text())
    assert len(answers) == 5
    with SearchEngine.open(root) as engine:
        for file, expected in answers.items():
            result = engine.search(Query(image=(SAMPLES / file).read_bytes(), top_k=5))
            assert result.reranked
            assert [hit.logo.logo_id for hit in result.hits] == [hit["id"] for hit in expected]
            assert [hit.score for hit in result.hits] == pytest.approx([hit["score"] for hit in expected], abs=2e-3)
            assert [json.loads(hit.logo.metadata_json) for hit in result.hits] == [hit["metadata"] for hit in expected]
            assert [hit.copies for hit in result.hits] == [hit["copies"] for hit in expected]


def test_a_catalog_of_an_older_format_is_refused_by_name() -> None:
    version = Catalog(FIXTURES / f"catalog-{REFUSED}").current()
    with pytest.raises(
        CatalogError, match=f"the catalog has format {REFUSED}; .* reads format {FORMAT}: build it again"
    ):
        read_manifest(version)


def test_there_is_a_fixture_for_each_format_and_nothing_else() -> None:
    assert {path.name for path in FIXTURES.glob("catalog-*")} == {f"catalog-{number}" for number in (REFUSED, *FORMATS)}
    for folder in FIXTURES.glob("catalog-*"):
        names = {path.name for path in folder.iterdir()}
        assert names == {CURRENT, "answers.json", Catalog(folder).current().name}

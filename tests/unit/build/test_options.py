"""What the digest of a build's inputs has of its options, and options that a build refuses before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.sources import open_source
from logo_similarity.errors import BuildError, IndexUnavailableError, LogoSimilarityError
from logo_similarity.milvus.connection import IndexServer
from logo_similarity.precision import Precision
from tests.samples import SampleCatalog


def test_collections_of_another_kind_are_other_inputs() -> None:
    hnsw, diskann = IndexServer("http://127.0.0.1:1"), IndexServer("http://127.0.0.1:1", kind="diskann")
    assert BuildOptions(server=hnsw).index_inputs() == ()
    inputs = [BuildOptions(server=server, in_collections=True).index_inputs() for server in (hnsw, diskann)]
    assert inputs[0] != inputs[1]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (BuildOptions(in_collections=True), BuildError, "LOGO_INDEX_URL is not set"),
        (
            BuildOptions(in_collections=True, server=IndexServer("http://127.0.0.1:1"), precision=Precision.INT8),
            BuildError,
            "choose that of a collection with LOGO_INDEX_KIND",
        ),
        (
            BuildOptions(in_collections=True, server=IndexServer("http://127.0.0.1:1", seconds=1)),
            IndexUnavailableError,
            "127.0.0.1:1",
        ),
    ],
)
def test_a_server_that_is_missing_is_said_before_the_source_is_read(
    sample_catalog: SampleCatalog,
    tmp_path: Path,
    options: BuildOptions,
    error: type[LogoSimilarityError],
    message: str,
) -> None:
    source = open_source(sample_catalog.root.parent / "marks.jsonl", images=sample_catalog.images)
    with pytest.raises(error, match=message):
        build_catalog(source, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()

"""What the digest of a build's inputs has of its options."""

from __future__ import annotations

from logo_similarity.build.options import BuildOptions
from logo_similarity.milvus.connection import IndexServer


def test_collections_of_another_kind_are_other_inputs() -> None:
    hnsw, diskann = IndexServer("http://127.0.0.1:1"), IndexServer("http://127.0.0.1:1", kind="diskann")
    assert BuildOptions(server=hnsw).index_inputs() == ()
    inputs = [BuildOptions(server=server, in_collections=True).index_inputs() for server in (hnsw, diskann)]
    assert inputs[0] != inputs[1]

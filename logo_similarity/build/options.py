"""The options of a build."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from logo_similarity.build.ray_cluster import RayCluster
from logo_similarity.catalog.manifest import MODEL_FOLDER, Manifest
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import TryVersion
from logo_similarity.embed.model import default_model_folder
from logo_similarity.errors import BuildError
from logo_similarity.image.decode import ImageLimits
from logo_similarity.milvus.collections import COLLECTIONS_LAYOUT
from logo_similarity.milvus.connection import IndexServer
from logo_similarity.precision import Precision

Progress = Callable[[str, int, int | None], None]
"""Called with the stage, the work done, and the total (None while it is unknown)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """Options of a build."""

    model: Path = field(default_factory=default_model_folder)
    embeddings: Path | None = None
    """Folder of precomputed embeddings by this model; None: they are computed from the images."""
    read_words: bool = False
    """Whether the words in the images of logos without text are read."""
    in_collections: bool = False
    """Whether the index is in collections of the server, and not in files."""
    server: IndexServer | None = None
    """The Milvus server; None: there is none."""
    precision: Precision = Precision.FLOAT32
    """How embeddings are stored."""
    m: int = 32
    ef_construction: int = 200
    ef_search: int | None = None
    """Breadth of the graph search for a query; None: the smallest of `EF_SEARCHES` that reaches `recall_target` and
    `self_floor`."""
    recall_target: float = 0.99
    recall_floor: float = 0.95
    self_floor: float = 0.99
    """Smallest share of the indexed images that a search for them must find."""
    recall_queries: int = 500
    recall_k: int = 100
    threads: int = 1
    device: str = "auto"
    cluster: RayCluster | None = None
    """Where images are embedded; None: in this process."""
    limits: ImageLimits = field(default_factory=ImageLimits)
    trial: TryVersion = field(default_factory=Trial)
    """The trial that the version must pass before it becomes live."""
    signing_key: Ed25519PrivateKey | None = None
    """Signs the version; None: the version is not signed."""

    def collections_server(self) -> IndexServer | None:
        """The server of the collections; None: the index is in files.

        Raises:
            BuildError: no server is set, or a precision is set, which applies to files only.
        """
        if not self.in_collections:
            return None
        if self.server is None:
            raise BuildError(
                "the index is to be on a Milvus server, but LOGO_INDEX_URL is not set; set it to its address"
            )
        if self.precision is not Precision.FLOAT32:
            raise BuildError(
                "a precision applies to an index in files; choose that of a collection with LOGO_INDEX_KIND"
            )
        return self.server

    def index_inputs(self) -> tuple[object, ...]:
        """What collections depend on besides their entities, for the digest of the inputs; empty: the index is in files."""
        if not self.in_collections or self.server is None:
            return ()
        return "milvus", COLLECTIONS_LAYOUT, self.server.kind


def like_live(options: BuildOptions, live: Path, manifest: Manifest) -> BuildOptions:
    """The options of a build with the encoder and the kind of index of the live version."""
    index = manifest.index
    return replace(
        options,
        model=live / MODEL_FOLDER,
        precision=index.precision,
        m=index.m,
        ef_construction=index.ef_construction,
        embeddings=None,
        in_collections=not index.is_file,
    )

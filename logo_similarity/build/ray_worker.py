"""What a node of a Ray cluster does for a build: it embeds batches of images. `ray_cluster` is the other side."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from logo_similarity.build.embeddings import describe_file
from logo_similarity.build.shards import StoredImage
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import BadImageError, BuildError, LogoSimilarityError, OverloadedError
from logo_similarity.image.contained import Decoder
from logo_similarity.image.decode import ImageLimits
from logo_similarity.image.files import FolderImages
from logo_similarity.storage.images import BucketImages
from logo_similarity.version import __version__

if TYPE_CHECKING:
    from ray import ObjectRef


def embed_batch(setup: list[ObjectRef[Setup]], names: list[str], images: ImageReader | None) -> list[StoredImage | str]:
    """The task: embed some images on a node. The setup is in a list because Ray would fetch it for each task otherwise."""
    import ray

    try:
        return _worker(setup[0]).embed(names, images)
    except LogoSimilarityError as error:
        kind = BusyNodeError if isinstance(error, OverloadedError) else BuildError
        raise kind(f"node {ray.util.get_node_ip_address()} of the Ray cluster: {error}") from None


class BusyNodeError(BuildError):
    """A node was too busy to decode an image in time: another attempt may succeed."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker needs for all tasks of a build."""

    versions: Mapping[str, str]
    """See `versions`."""
    model: Mapping[str, bytes]
    """The files of the encoder folder."""
    device: str
    threads: int
    limits: ImageLimits
    images: BucketImages | None


class ImageReader(Protocol):
    """Where a worker reads images."""

    def read(self, name: str, max_bytes: int) -> bytes:
        """See `ImageFiles.read`."""
        ...


@dataclass(frozen=True, slots=True)
class SentImages:
    """The contents of some images, or the reasons for rejecting them."""

    contents: Mapping[str, bytes | str]

    def read(self, name: str, _max_bytes: int) -> bytes:
        content = self.contents[name]
        if isinstance(content, str):
            raise BadImageError(content)
        return content


class OtherFolderError(Exception):
    """A node does not have the image folder, or has other files in it."""


@dataclass(frozen=True, slots=True)
class SameFolder:
    """A folder that a node may have too, with the size and the time of change of some of its files."""

    images: FolderImages
    states: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, images: FolderImages, names: Sequence[str]) -> Self:
        """Raises OtherFolderError if an image is not a file in the folder, but in a ZIP file, or missing."""
        return cls(FolderImages(images.path.absolute()), {name: _file_state(images.path / name) for name in names})

    def read(self, name: str, max_bytes: int) -> bytes:
        """See `ImageReader`. Raises OtherFolderError if the file is another one."""
        if _file_state(self.images.path / name) != self.states[name]:
            raise OtherFolderError
        return self.images.read(name, max_bytes)


def _file_state(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        raise OtherFolderError from None
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1)
def _worker(setup: ObjectRef[Setup]) -> _Worker:
    import ray

    return _Worker(ray.get(setup))


class _Worker:
    """The encoder and the decoder of a worker process."""

    def __init__(self, setup: Setup) -> None:
        import cv2

        here = versions()
        if different := [name for name, version in setup.versions.items() if here[name] != version]:
            raise BuildError(
                f"has {', '.join(f'{name} {here[name]}' for name in different)}; the build machine has "
                f"{', '.join(f'{name} {setup.versions[name]}' for name in different)}; install the same versions"
            )
        cv2.setNumThreads(1)
        with tempfile.TemporaryDirectory() as folder:
            for name, content in setup.model.items():
                (Path(folder) / name).write_bytes(content)
            self._encoder = Encoder.open(Path(folder), device=setup.device, threads=1)
        self._decoder = Decoder(setup.limits)
        self._images = setup.images
        self._pool = ThreadPoolExecutor(setup.threads)

    def embed(self, names: Sequence[str], sent: ImageReader | None) -> list[StoredImage | str]:
        images = sent or self._images
        if images is None:
            raise ValueError("the worker has no images")

        def embed(name: str) -> StoredImage | str:
            try:
                content = images.read(name, self._decoder.limits.max_bytes)
                return describe_file(content, self._encoder, self._decoder)
            except BadImageError as error:
                return str(error)

        return list(self._pool.map(embed, names))


def versions() -> dict[str, Any]:
    """Versions on which embeddings depend."""
    import cv2
    import numpy as np
    import onnxruntime

    modules = {"onnxruntime": onnxruntime, "opencv": cv2, "numpy": np}
    return {"logo-similarity": __version__, **{name: module.__version__ for name, module in modules.items()}}

"""The embed stage of a build on a Ray cluster. Needs the extra `ray`.

The build machine is the driver: it sends batches of images to the nodes and writes the shards from what they return, each
once. Plain Ray tasks do this: Ray repeats those of a node that died, and sends tasks to nodes that join. A worker process
keeps its encoder between tasks.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Self

from logo_similarity.build.ray_worker import (
    BusyNodeError,
    ImageReader,
    OtherFolderError,
    SameFolder,
    SentImages,
    Setup,
    embed_batch,
    versions,
)
from logo_similarity.build.reuse import StoredImages
from logo_similarity.build.shards import StoredImage
from logo_similarity.embed.model import MODEL_JSON, load_model
from logo_similarity.errors import BadImageError, BuildError, LogoSimilarityError
from logo_similarity.image.decode import ImageLimits
from logo_similarity.image.files import FolderImages, ImageFiles
from logo_similarity.storage.images import BucketImages
from logo_similarity.version import __version__

BATCH_ROWS = 64
"""Images of a task: about a second of work, so that a dead node costs little and a task's overhead does not count."""
QUEUED = 2
"""Batches in progress for each task that the cluster runs at once: the next one is there when one ends."""
RETRIES = 5
"""Attempts after the first one, if workers or nodes die with a batch or are too busy for it."""
CONNECT_SECONDS = 5.0
POLL_SECONDS = 1.0
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_gcs_server_port_wait_time_s": "1",  # attempts to connect, each of which takes most of a minute
}


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A Ray cluster that this process is connected to."""

    tasks: int
    """Number of tasks that it runs at once."""
    cpus: int
    """Logical CPUs of a task."""
    gpus: int
    """GPUs of a task, 0 or 1."""
    device: str
    """Of the encoder in a task: see `Encoder.open`."""

    @classmethod
    def connect(cls, address: str, device: str) -> Self:
        """Connect to a cluster: one task for each CPU, or for each GPU if there are any and `device` allows it.

        Args:
            address: "host:port" of its head, or "auto": the cluster of which this machine is a node.
            device: "cpu", "cuda", or "auto".

        Raises:
            BuildError: Ray is not installed, the cluster cannot be reached, its versions of Ray and Python are not those of
                this process, or it has no node for the device.
        """
        os.environ.update({name: value for name, value in _SETTINGS.items() if name not in os.environ})
        try:
            import ray
        except ImportError:
            raise BuildError("--ray needs Ray: run pip install '.[ray]' in the source folder") from None
        if address != "auto":
            _check_address(address)
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise BuildError(
                f"--ray {address}: cannot connect to the cluster: {' '.join(str(error).split())} (this machine has to be one "
                "of its nodes, even without CPUs for tasks: ray start --address HOST:PORT --num-cpus 0)"
            ) from None
        try:
            return cls._plan([node["Resources"] for node in ray.nodes() if node["Alive"]], device)
        except BaseException:
            ray.shutdown()
            raise

    @classmethod
    def _plan(cls, nodes: Sequence[Mapping[str, float]], device: str) -> Self:
        """How the resources of the nodes are used."""
        with_gpus = [node for node in nodes if node.get("GPU", 0) >= 1] if device != "cpu" else []
        if with_gpus:
            cpus = min(int(node.get("CPU", 0)) // int(node["GPU"]) for node in with_gpus)
            return cls(sum(int(node["GPU"]) for node in with_gpus), cpus, 1, device)
        if device == "cuda":
            raise BuildError("LOGO_DEVICE=cuda, but no node of the Ray cluster has a GPU")
        tasks = sum(int(node.get("CPU", 0)) for node in nodes)
        if not tasks:
            raise BuildError(
                "no node of the Ray cluster has CPUs for tasks; start one with ray start --address HOST:PORT"
            )
        return cls(tasks, 1, 0, "cpu")

    def close(self) -> None:
        """Disconnect. Tasks in progress end."""
        import ray

        ray.shutdown()


@contextlib.contextmanager
def connected(address: str | None, device: str) -> Iterator[RayCluster | None]:
    """The cluster at an address, for the duration of the block; None: no address is given.

    Ray prints messages of the nodes to stdout, which is for results: they are dropped.

    Raises:
        BuildError: see `RayCluster.connect`.
    """
    if address is None:
        yield None
        return
    with Path(os.devnull).open("w", encoding="utf8") as nowhere, contextlib.redirect_stdout(nowhere):
        cluster = RayCluster.connect(address, device)
        with contextlib.closing(cluster):
            yield cluster


def _check_address(address: str) -> None:
    """Raise BuildError at once if nothing listens there: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise BuildError(f"--ray {address}: not an address; write host:port, as `ray start --head` prints it, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise BuildError(
            f"--ray {address}: nothing can be reached there ({error}); check the address, and that the head of the cluster "
            "is running (ray start --head)"
        ) from None


class RayEmbedder:
    """Embeds images on a cluster: see `Embedder`.

    Nodes read images in a bucket themselves, and those in a folder if they have it under the same path, with files of the
    same size and time of change. Otherwise this process reads the images and sends them, and also if it has to compare them
    with those of an earlier version.
    """

    batch_rows = BATCH_ROWS

    def __init__(
        self,
        cluster: RayCluster,
        images: ImageFiles,
        model: Path,
        *,
        limits: ImageLimits,
        known: StoredImages | None = None,
    ) -> None:
        """Send the encoder to the cluster.

        Args:
            cluster: where images are embedded.
            images: where the files are.
            model: folder of the encoder.
            limits: an image beyond them is a reject.
            known: images that need not be embedded again; None: there are none.
        """
        import ray

        self.threads = QUEUED * cluster.tasks
        self._cluster = cluster
        self._images = images
        self._known = known
        self._most_bytes = limits.max_bytes
        self._sends = not isinstance(images, FolderImages | BucketImages)
        self._stopped = Event()
        files = (MODEL_JSON, load_model(model).file)
        self._setup = ray.put(
            Setup(
                versions=versions(),
                model={name: (model / name).read_bytes() for name in files},
                device=cluster.device,
                threads=max(1, cluster.cpus),
                limits=limits,
                images=images if isinstance(images, BucketImages) else None,
            )
        )
        self._task = ray.remote(embed_batch).options(
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus,
            max_retries=RETRIES,
            retry_exceptions=[BusyNodeError],
            scheduling_strategy="SPREAD",
        )

    def embed(self, names: Sequence[str], digests: Sequence[bytes | None]) -> list[StoredImage | str]:
        """See `Embedder.embed`. Waits for the cluster.

        Raises:
            BuildError: a node has other versions of the software, or its workers died again and again.
        """
        contents: dict[str, bytes | str] = {}
        outcomes: dict[int, StoredImage | str] = {}
        if self._known is not None:
            for place, digest in enumerate(digests):
                stored = self._find_known(self._known, names[place], digest, contents)
                if stored is not None:
                    outcomes[place] = stored
        left = [place for place in range(len(names)) if place not in outcomes]
        if left:
            outcomes.update(zip(left, self._embed([names[place] for place in left], contents), strict=True))
        return [outcomes[place] for place in range(len(names))]

    def stop(self) -> None:
        """See `Embedder.stop`."""
        self._stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect: the rest of a build needs no cluster, and must not depend on it."""
        self._cluster.close()

    def _find_known(
        self, known: StoredImages, name: str, digest: bytes | None, contents: dict[str, bytes | str]
    ) -> StoredImage | None:
        """What is known of an image; otherwise its content is added to `contents`."""
        stored = None if digest is None else known.find(digest)
        if stored is not None:
            return stored
        content = self._read(name)
        stored = known.find(sha256(content).digest()) if isinstance(content, bytes) else None
        if stored is None:
            contents[name] = content
        return stored

    def _read(self, name: str) -> bytes | str:
        """The content of an image file, or the reason for rejecting it."""
        try:
            return self._images.read(name, self._most_bytes)
        except BadImageError as error:
            return str(error)

    def _embed(self, names: list[str], contents: dict[str, bytes | str]) -> list[StoredImage | str]:
        if not contents and not self._sends:
            folder = self._images if isinstance(self._images, FolderImages) else None
            try:
                return self._run(names, None if folder is None else SameFolder.of(folder, names))
            except OtherFolderError:
                self._sends = True
        return self._run(names, SentImages(contents or {name: self._read(name) for name in names}))

    def _run(self, names: list[str], images: ImageReader | None) -> list[StoredImage | str]:
        """Run a task and wait for its result."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        result = self._task.remote([self._setup], names, images)
        while not ray.wait([result], timeout=POLL_SECONDS)[0]:
            if self._stopped.is_set():
                raise CancelledError
        try:
            outcomes: list[StoredImage | str] = ray.get(result)
        except RayTaskError as error:
            if isinstance(error.cause, LogoSimilarityError | OtherFolderError):
                raise error.cause from None
            raise BuildError(
                f"a task failed on a node of the Ray cluster; every node needs logo-similarity {__version__} and the same "
                f"versions of its libraries: {str(error).strip().splitlines()[-1]}"
            ) from error
        except RayError as error:
            raise BuildError(
                f"the workers of the Ray cluster that embed the images from {names[0]!r} to {names[-1]!r} died "
                f"{RETRIES + 1} times: {' '.join(str(error).split())}"
            ) from None
        return outcomes

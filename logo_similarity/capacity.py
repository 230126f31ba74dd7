"""What a register of a given size needs: an estimate from measured bytes and milliseconds, without a catalog.

The numbers are those of `benchmarks.scale` unless they name another script. They are of the default encoder and of a register
like that of `benchmarks.make_register`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from logo_similarity.errors import ConfigError
from logo_similarity.plan import DEFAULT_MODEL_BYTES, plan_service
from logo_similarity.precision import Precision

if TYPE_CHECKING:
    from logo_similarity.config import Settings

DIMENSIONS, PART_DIMENSIONS = 256, 128
GRAPH_BYTES, PART_GRAPH_BYTES = 272, 144
"""Bytes of a node of a graph with 32 and with 16 edges per node."""
PARTS = 1.79
"""Parts of an image."""
PATCH_NUMBERS = 1_024
"""Numbers in the patches of an image."""
OTHER_BYTES = {
    "metadata.db": 553,
    "words.index": 64,
    "postings": 44,
    "image_digests.npy": 32,
    "places.npy": 20,
    "parts": 40,
}
"""Bytes of a logo in the other files."""
VECTOR_FILES = ("index.faiss", "parts/index.faiss")
"""Files that are collections in a Milvus cluster, as are the patches."""
INDEX_FILES = ("index.faiss", "parts/index.faiss", "postings", "words.index", "parts")
"""Files that a search reads all over. Of the others, it reads what belongs to its candidates and hits."""

SEARCH_MS, SEARCH_MS_DOUBLED = 10.4, 0.35
"""CPU milliseconds of a search with parts at 100,000 logos, and what each doubling of the register adds to them, on a core of an
AMD EPYC with VNNI. A Xeon with 2.8 GHz takes twice as long."""
REQUEST_MS = 2.0
"""CPU milliseconds of the HTTP request of a search. Measured by `benchmarks.load`."""
MEASURED_LOGOS = 100_000
HOUR_MS = 3.6e6
LOAD = 0.7
"""Share of the cores that searches may take: beyond it, they wait for each other."""
EMBED_MS = 5.0
"""CPU milliseconds to read, decode and encode an image with its parts. Measured by `benchmarks.encode_rate`."""
INDEX_MS = {Precision.FLOAT32: 0.69, Precision.FLOAT16: 0.6, Precision.INT8: 0.5}
INDEX_MS_DOUBLED = 0.08
"""CPU milliseconds to add an image and its parts to their graphs at 100,000 logos, and what each doubling adds to them."""
BUILD_HOURS = 24.0
"""Time in which the images of a register should be embedded; more machines embed in parallel if one takes longer."""
MILVUS_MEMORY = 1.7
"""Memory of a Milvus server over the bytes of what it holds. Measured by `benchmarks.milvus_search` at 770,000 logos."""
SHARD_SHARE = 0.7
"""Share of the memory of a machine that the vectors of a Milvus query node may take."""


class Engine(StrEnum):
    """Where vectors are searched."""

    FILES = "files"
    """In memory-mapped files of each machine that answers."""
    MILVUS = "milvus"
    """In a Milvus cluster."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One of several equal machines."""

    cores: int = 16
    memory: int = 64_000_000_000


@dataclass(frozen=True, slots=True)
class Form:
    """A register of a given size in one precision."""

    precision: Precision
    files: dict[str, int]
    """Bytes of each file."""
    limit: int
    """Memory of a machine that serves it: for what has to be in memory, and for the processes; see `ServicePlan.limit`."""

    @property
    def disk(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())

    @property
    def hot(self) -> int:
        """Bytes of the files that have to be in memory, or searches wait for the disk."""
        return sum(size for name, size in self.files.items() if name in INDEX_FILES)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Machines and hours for a register of a given size."""

    logos: int
    rate: float
    """Searches per second."""
    machine: Machine
    forms: tuple[Form, ...]
    engine: Engine
    form: Form
    """The one to choose; for a cluster, that of its default kind of index."""
    reason: str
    search_ms: float
    """CPU milliseconds of a search with its request."""
    cores: int
    """For the searches, on all machines together."""
    shards: int
    """Machines that hold one copy of the vectors."""
    machines: int
    """All machines that answer searches, or hold vectors."""
    embed_hours: float
    """On the machines that embed."""
    embed_machines: int
    index_hours: float
    """On one machine."""


def estimate(logos: int, rate: float, machine: Machine, settings: Settings) -> Estimate:
    """Choose a form and an engine for a register, and count the machines.

    Args:
        logos: number of logos.
        rate: searches per second.
        machine: of which there are as many as needed.
        settings: the limits on requests.

    Raises:
        ConfigError: a machine has too little memory for the processes of a service.
    """
    processes = plan_service(0, DEFAULT_MODEL_BYTES, machine.cores, settings).limit
    if machine.memory < processes:
        raise ConfigError(
            f"a service with {machine.cores} cores needs {processes / 1e9:.1f} GB of memory beside the catalog, and a machine "
            f"has {machine.memory / 1e9:g} GB; plan with machines of more memory or fewer cores"
        )
    forms = tuple(_form(logos, precision, machine, settings) for precision in Precision)
    fitting = [form for form in forms if form.limit <= machine.memory]
    form = fitting[0] if fitting else forms[0]
    whole_ms = search_ms(logos) + REQUEST_MS
    cores = math.ceil(rate * whole_ms / 1000 / LOAD)
    answering = max(1, math.ceil(cores / machine.cores))
    shards = 1 if fitting else math.ceil(cluster_bytes(form) / (SHARD_SHARE * machine.memory))
    embed_hours = logos * EMBED_MS / HOUR_MS / machine.cores
    embed_machines = max(1, math.ceil(embed_hours / BUILD_HOURS))
    return Estimate(
        logos=logos,
        rate=rate,
        machine=machine,
        forms=forms,
        engine=Engine.FILES if fitting else Engine.MILVUS,
        form=form,
        reason=_reason(form, forms, machine),
        search_ms=whole_ms,
        cores=cores,
        shards=shards,
        machines=answering if fitting else answering + shards,
        embed_hours=embed_hours / embed_machines,
        embed_machines=embed_machines,
        index_hours=logos * index_ms(logos, form.precision) / HOUR_MS / machine.cores,
    )


def search_ms(logos: int) -> float:
    """CPU milliseconds of a search with parts, on average, without its request."""
    return max(SEARCH_MS + SEARCH_MS_DOUBLED * _doublings(logos), 0)


def index_ms(logos: int, precision: Precision) -> float:
    """CPU milliseconds to add one image and its parts to their graphs, on average over all logos of a register."""
    return max(INDEX_MS[precision] + INDEX_MS_DOUBLED * _doublings(logos), 0)


def _doublings(logos: int) -> float:
    return math.log2(logos / MEASURED_LOGOS)


def file_bytes(logos: int, precision: Precision) -> dict[str, int]:
    """Bytes of each file of a catalog."""
    parts = PARTS * logos
    sizes = {
        "index.faiss": logos * (precision.number_bytes * DIMENSIONS + GRAPH_BYTES),
        "parts/index.faiss": parts * (precision.number_bytes * PART_DIMENSIONS + PART_GRAPH_BYTES),
        "patches.npy": logos * PATCH_NUMBERS * precision.patch_bits / 8,
        **{name: logos * size for name, size in OTHER_BYTES.items()},
        "model": DEFAULT_MODEL_BYTES,
    }
    if precision is Precision.INT8:
        sizes["embeddings.npy"] = logos * Precision.FLOAT16.number_bytes * DIMENSIONS
        sizes["parts/embeddings.npy"] = parts * Precision.FLOAT16.number_bytes * PART_DIMENSIONS
    return {name: round(size) for name, size in sizes.items()}


def cluster_bytes(form: Form) -> int:
    """Bytes in the memory of the query nodes of a Milvus cluster: vectors, graphs, and patches as text."""
    held = sum(form.files[name] for name in VECTOR_FILES) + form.files["patches.npy"] * 4 // 3
    return round(MILVUS_MEMORY * held)


def local_bytes(form: Form) -> int:
    """Bytes on the disk of a machine that answers searches with such a cluster."""
    return form.disk - form.files["patches.npy"] - sum(form.files[name] for name in VECTOR_FILES)


def largest_files(form: Form, count: int = 3) -> list[tuple[str, float]]:
    """The largest files of a form, and their shares of its disk."""
    largest = sorted(form.files.items(), key=lambda item: -item[1])[:count]
    return [(name, size / form.disk) for name, size in largest]


def _form(logos: int, precision: Precision, machine: Machine, settings: Settings) -> Form:
    files = file_bytes(logos, precision)
    # With codes of 8 bits, what is read for the candidates alone may come from the disk: it is chosen where memory is short.
    mapped = sum(size for name, size in files.items() if precision is not Precision.INT8 or name in INDEX_FILES)
    return Form(precision, files, plan_service(mapped, DEFAULT_MODEL_BYTES, machine.cores, settings).limit)


def _reason(form: Form, forms: tuple[Form, ...], machine: Machine) -> str:
    memory = f"{machine.memory / 1e9:,.10g} GB"
    if form.limit > machine.memory:
        return f"no form fits into {memory}: a Milvus cluster divides the vectors among machines"
    if form is forms[0]:
        return f"everything fits into {memory} in full precision"
    if form.precision is Precision.FLOAT16:
        return f"everything fits into {memory} as float16, but not as float32"
    return f"the graphs fit into {memory} with codes of 8 bits; the rest is read from the disk, so use a local SSD"

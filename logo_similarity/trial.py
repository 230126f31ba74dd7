"""The program that opens a catalog version and searches it in a process of its own; `catalog.trial` runs it.

python -m logo_similarity.trial FOLDER PARENT CPU_SECONDS: exits with 0, or with 1 and the reason on stdout.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from logo_similarity.catalog.manifest import METADATA, Manifest, read_manifest
from logo_similarity.catalog.metadata import CONNECTIONS, MAPPED_BYTES
from logo_similarity.config import load_settings
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import LogoSimilarityError
from logo_similarity.limits import die_with_parent, limit_cpu, limit_memory
from logo_similarity.plan import SPARE, plan_service

ROWS = 16
"""How many rows are searched for, spread over the catalog, the first and the last among them."""


def search_whole(folder: Path) -> None:
    """Open a version, search it, and read all of its metadata.

    Raises:
        CatalogError, EncoderError: it is damaged, or cannot be used here.
    """
    # Whether CUDA loads says nothing of the catalog, and its address space would not fit under the limit.
    with SearchEngine.open(folder.parent, version=folder.name, device="cpu") as engine:
        rows = np.unique(np.linspace(0, engine.manifest.count - 1, ROWS).astype(int)).tolist()
        engine.check(rows)
        engine.metadata.check_rows()


def allowance(manifest: Manifest) -> int:
    """Bytes of address space that opening and searching a version may take beyond Python and the libraries."""
    plan = plan_service(manifest.size, manifest.model_size, cores=1, settings=load_settings())
    return round(SPARE * plan.total) + CONNECTIONS * min(manifest.files[METADATA].size, MAPPED_BYTES)


def main(folder: Path, parent: int, cpu_seconds: int) -> int:
    """Exit status; see the module."""
    die_with_parent(parent)
    try:
        import onnxruntime  # noqa: F401 - now, so that the limit counts no library

        # Where memory runs out, the kernel is to end this process and not a worker that answers.
        Path("/proc/self/oom_score_adj").write_text("1000")
        limit_memory(allowance(read_manifest(folder)))
        limit_cpu(cpu_seconds)
        search_whole(folder)
    except (LogoSimilarityError, OSError) as error:
        reason = str(error)
    except MemoryError:
        reason = "it takes more memory than a catalog of its size should"
    except Exception as error:  # noqa: BLE001 - whatever a file can bring about
        reason = f"{type(error).__name__}: {error}"
    else:
        return 0
    sys.stdout.write(reason)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))

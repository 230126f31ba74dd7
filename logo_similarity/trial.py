"""The program that opens and searches a catalog version in a separate process; `catalog.trial` runs it.

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
"""Number of rows that are searched for, spread evenly over the catalog from the first to the last."""


def check_version(folder: Path) -> None:
    """Open a version, search it, and read all of its metadata.

    Raises:
        CatalogError: the version is damaged or incompatible.
        EncoderError: its encoder cannot be used.
    """
    # On the CPU: the trial is not a test of CUDA, whose address space would exceed the limit.
    with SearchEngine.open(folder.parent, version=folder.name, device="cpu") as engine:
        rows = np.unique(np.linspace(0, engine.manifest.count - 1, ROWS).astype(int)).tolist()
        engine.check(rows)
        engine.metadata.check_rows()


def allowance(manifest: Manifest) -> int:
    """Address space in bytes that opening and searching a version may take, beyond Python and the libraries."""
    plan = plan_service(manifest.size, manifest.model_size, cores=1, settings=load_settings())
    return round(SPARE * plan.total) + CONNECTIONS * min(manifest.files[METADATA].size, MAPPED_BYTES)


def main(folder: Path, parent: int, cpu_seconds: int) -> int:
    """Run the program. Returns the exit status."""
    die_with_parent(parent)
    try:
        import onnxruntime  # noqa: F401 - before the limit is set, so that it does not count the library

        # If memory runs out, the kernel should kill this process rather than a worker.
        Path("/proc/self/oom_score_adj").write_text("1000")
        limit_memory(allowance(read_manifest(folder)))
        limit_cpu(cpu_seconds)
        check_version(folder)
    except (LogoSimilarityError, OSError) as error:
        reason = str(error)
    except MemoryError:
        reason = "it needs more memory than expected for its size"
    except Exception as error:  # noqa: BLE001 - a damaged file may cause any error
        reason = f"{type(error).__name__}: {error}"
    else:
        return 0
    sys.stdout.write(reason)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))

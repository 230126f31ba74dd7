"""The program that opens and searches a catalog version in a separate process; `catalog.trial` runs it.

python -m logo_similarity.trial FOLDER PARENT CPU_SECONDS [STATE]: exits with 0, or with the reason on stdout and 1. If the
reason is the Milvus server or its settings, and not the version, the status is `UNAVAILABLE` or `MISCONFIGURED`.
STATE is a file of the state of live changes, beside their segments: the version is searched with them. The settings of the
Milvus server are read from stdin, as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from logo_similarity.catalog.live import LiveFiles
from logo_similarity.catalog.live_folder import LiveFolder
from logo_similarity.catalog.manifest import METADATA, Manifest, read_manifest, read_segment_manifest
from logo_similarity.catalog.metadata import CONNECTIONS, MAPPED_BYTES
from logo_similarity.catalog.trial import MISCONFIGURED, UNAVAILABLE
from logo_similarity.config import Settings, load_settings
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import ConfigError, IndexUnavailableError, LogoSimilarityError
from logo_similarity.limits import die_with_parent, limit_cpu, limit_memory
from logo_similarity.milvus.connection import IndexServer
from logo_similarity.plan import SPARE, plan_service

ROWS = 16
"""Number of rows that are searched for, spread evenly over the catalog from the first to the last."""


def check_version(folder: Path, server: IndexServer | None = None) -> None:
    """Open a version, search it, and read all of its metadata.

    Raises:
        CatalogError: the version is damaged or incompatible.
        EncoderError: its encoder cannot be used.
    """
    # On the CPU: the trial is not a test of CUDA, whose address space would exceed the limit.
    with SearchEngine.open(folder.parent, version=folder.name, device="cpu", server=server) as engine:
        rows = np.unique(np.linspace(0, engine.manifest.count - 1, ROWS).astype(int)).tolist()
        engine.check(rows)
        engine.metadata.check_rows()


def check_changes(folder: Path, files: LiveFiles, server: IndexServer | None = None) -> None:
    """Open a version with live changes, search them, and read all of their metadata.

    Raises:
        CatalogError: the changes are damaged or incompatible.
        EncoderError: the encoder of the version cannot be used.
    """
    with SearchEngine.open(folder.parent, version=folder.name, device="cpu", server=server) as engine:
        engine.with_live(files).check_live(ROWS)


def allowance(manifest: Manifest, segments: Sequence[Manifest], settings: Settings) -> int:
    """Address space in bytes that opening and searching a version may take, beyond Python and the libraries."""
    size = sum(each.size for each in (manifest, *segments))
    plan = plan_service(size, manifest.model_size, cores=1, settings=settings)
    mapped = sum(min(each.files[METADATA].size, MAPPED_BYTES) for each in (manifest, *segments))
    return round(SPARE * plan.total) + CONNECTIONS * mapped


def main(folder: Path, parent: int, cpu_seconds: int, state: Path | None = None) -> int:
    """Run the program. Returns the exit status."""
    die_with_parent(parent)
    try:
        import onnxruntime  # noqa: F401 - before the limit is set, so that it does not count the library

        # If memory runs out, the kernel should kill this process rather than a worker.
        Path("/proc/self/oom_score_adj").write_text("1000")
        files = None if state is None else LiveFolder(state.parent).files(state.name)
        segments = [] if files is None else [read_segment_manifest(segment) for segment in files.segments]
        settings, manifest = load_settings(**json.loads(sys.stdin.buffer.read() or b"{}")), read_manifest(folder)
        server = None if manifest.index.is_file else IndexServer.of(settings)
        if server is not None:
            server.version()  # connects, for the same reason
        limit_memory(allowance(manifest, segments, settings))
        limit_cpu(cpu_seconds)
        if files is None:
            check_version(folder, server)
        else:
            check_changes(folder, files, server)
    except IndexUnavailableError as error:
        sys.stdout.write(str(error))
        return UNAVAILABLE
    except ConfigError as error:
        sys.stdout.write(str(error))
        return MISCONFIGURED
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
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *map(Path, sys.argv[4:])))

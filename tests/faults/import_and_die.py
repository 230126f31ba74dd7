"""An import that kills itself at a stage; started by `test_killed_import`.

python -m tests.faults.import_and_die ROOT REGISTER IMAGES STORE STAGE
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from logo_similarity.build import importing
from logo_similarity.build.importing import import_source
from logo_similarity.catalog import versions
from logo_similarity.catalog.sources import open_source
from logo_similarity.storage import LocalStore
from tests.importing import OPTIONS


def main(root: Path, register: Path, images: Path, store: Path, fatal_stage: str) -> None:
    setattr(importing, "REPORT_ROWS", 2)  # noqa: B010 - a constant, as mypy knows

    def report(stage: str, _done: int = 0, _total: int | None = None) -> None:
        if stage == fatal_stage:
            os.kill(os.getpid(), signal.SIGKILL)

    if fatal_stage == "flip":
        setattr(versions.Catalog, "flip", lambda *_: report("flip"))  # noqa: B010 - a method, as mypy knows
    write = LocalStore(store, secret="secret", link_seconds=60).write
    import_source(open_source(register, images=images), root, OPTIONS, write, progress=report)


if __name__ == "__main__":
    root, register, images, store = map(Path, sys.argv[1:5])
    main(root, register, images, store, sys.argv[5])

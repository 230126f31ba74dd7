"""Publishes or pulls a catalog, and kills its own process at a given step, as a power cut would.

python -m tests.faults.replicate_and_die publish|pull CATALOGS STEP: dies before the STEP-th thing that it does to a bucket
or to a file's name. Ends by itself where there are fewer.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from logo_similarity.catalog import replica
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import load_settings
from logo_similarity.storage.objects import ObjectFolder


def main(what: str, catalogs: Path, fatal_step: int) -> None:
    replica.PARALLEL = 1  # so that the steps are the same each time
    step = 0

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def maybe(*arguments: Any, **named: Any) -> Any:
            nonlocal step
            step += 1
            if step == fatal_step:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return maybe

    for owner, names in (
        (ObjectFolder, ("size", "read", "pieces", "write", "write_file")),
        (Path, ("rename", "replace")),
        (os, ("link", "fsync")),
    ):
        for name in names:
            setattr(owner, name, dying(getattr(owner, name)))
    settings = load_settings()
    remote, folder = ObjectFolder(str(settings.catalog_url), settings), Catalog(catalogs)
    if what == "publish":
        replica.publish_version(folder.current(), remote)
    else:
        replica.pull_version(remote, folder)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))

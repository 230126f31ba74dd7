"""Changes of a logo, or what becomes of them, killed at a step; started by `test_killed_changes`.

python -m tests.faults.change_and_die FOLDER JOB STEP
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from logo_similarity.build import flushing, segment
from logo_similarity.build.compacting import compact
from logo_similarity.build.flushing import Flusher
from logo_similarity.catalog import live_folder, overlay, versions
from logo_similarity.storage import LocalStore
from tests.changing import Office
from tests.importing import OPTIONS, Desk


def die(*_: object, **__: object) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, killed after it has done its work."""

    def replaced(*arguments: Any, **options: Any) -> Any:
        function(*arguments, **options)
        die()

    return replaced


BEFORE = {
    "store": (LocalStore, "write"),
    "append": (overlay.Changing, "append"),
    "keep image": (overlay.Changing, "keep_image"),
    "segment": (flushing, "write_segment"),
    "files of the segment": (segment, "number_vectors"),
    "hidden rows": (live_folder.LiveFolder, "write_hidden"),
    "live.json": (live_folder.LiveFolder, "write"),
    "clean": (live_folder.LiveFolder, "clean"),
    "record of the fold": (overlay.Overlay, "record_fold"),
    "flip": (versions.Catalog, "flip"),
    "drop": (overlay.Overlay, "drop"),
}
AFTER = {"after append": (overlay.Changing, "append")}
STAGES = ("merging changes", "logos embedded", "images indexed", "computing digests")


def main(folder: Path, job: str, step: str) -> None:
    desk = Desk(folder)
    office = Office(desk)
    if job == "merge":
        for name, value in (("SEALED_ROWS", 1), ("LEAST_MERGED", 2), ("LARGER", 9)):
            setattr(flushing, name, value)
        Flusher(desk.root, office.overlay, office.base).flush()
        office.change("replace", "US-1", 12, text="new")
        Flusher(desk.root, office.overlay, office.base).flush()
    if step in BEFORE:
        setattr(*BEFORE[step], die)
    if step in AFTER:
        owner, name = AFTER[step]
        setattr(owner, name, dying(getattr(owner, name)))
    if job == "change":
        office.change("replace", "US-1", 12, text="new")
        print("acknowledged", flush=True)  # noqa: T201 - the test reads it
        if step == "acknowledged":
            die()
    elif job == "flush":
        Flusher(desk.root, office.overlay, office.base).flush()
    elif job == "merge":
        Flusher(desk.root, office.overlay, office.base).merge()
    else:
        compact(desk.root, OPTIONS, None, lambda stage, *_: die() if stage == step else None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:4])

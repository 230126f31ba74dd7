"""An import that is killed at any stage changes nothing, and ends with the same content when it is run again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from logo_similarity.catalog.manifest import verify
from logo_similarity.catalog.versions import Catalog
from tests.importing import Desk
from tests.registers import case_file, uspto

pytestmark = pytest.mark.slow
STAGES = ("rows read", "logos embedded", "finding identical images", "images indexed", "computing digests",
          "images stored", "flip")  # fmt: skip


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A catalog of three marks, and changes: one is changed, two are new, and one has no image."""
    folder = tmp_path_factory.mktemp("desk")
    desk = Desk(folder)
    desk.build(*(desk.record(f"US-0000000{number}", 1, number, text="old") for number in range(3)))
    header = "<mark-drawing-code>3000</mark-drawing-code><mark-identification>new</mark-identification>"
    serials = ["00000001", "00000005", "00000006", "00000007"]
    for number in (5, 6):
        desk.image(f"0000000{number}.jpg", number)
    (folder / "daily.xml").write_text(uspto(*(case_file(serial, header=header, date="20240201") for serial in serials)))
    return desk


def run(folder: Path, stage: str) -> int:
    words = [str(folder / name) for name in ("catalogs", "daily.xml", "images", "store")]
    return subprocess.run([sys.executable, "-m", "tests.faults.import_and_die", *words, stage], check=False).returncode


def files(folder: Path) -> tuple[dict[str, str], set[str]]:
    manifest = verify(Catalog(folder / "catalogs").current())
    assert [path.name for path in (folder / "catalogs").glob(".build*")] == []
    return (
        {name: entry.sha256 for name, entry in manifest.files.items()},
        {path.relative_to(folder).as_posix() for path in (folder / "store").rglob("*") if path.is_file()},
    )


def copied(desk: Desk, folder: Path) -> Path:
    return Path(shutil.copytree(desk.root.parent, folder / "copy"))


@pytest.fixture(scope="module")
def uninterrupted(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], set[str]]:
    folder = copied(desk, tmp_path_factory.mktemp("whole"))
    assert run(folder, "never") == 0
    whole = files(folder)
    assert len(whole[1]) == 5
    return whole


@pytest.mark.parametrize("stage", STAGES)
def test_killed_and_run_again(
    desk: Desk, uninterrupted: tuple[dict[str, str], set[str]], tmp_path: Path, stage: str
) -> None:
    folder = copied(desk, tmp_path)
    before = Catalog(folder / "catalogs").current()
    assert run(folder, stage) == -signal.SIGKILL
    assert Catalog(folder / "catalogs").current() == before
    assert run(folder, "never") == 0
    assert files(folder) == uninterrupted

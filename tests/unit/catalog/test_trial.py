from __future__ import annotations

import os
import shutil
import sys
import threading
from pathlib import Path

import psutil
import pytest

from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.manifest import MANIFEST, read_manifest, verify
from logo_similarity.catalog.signature import make_key
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import load_settings
from logo_similarity.errors import CatalogError
from tests.hostile_catalogs import BAD_MANIFESTS, HOSTILE, endless_loop, gap, rewrite_manifest
from tests.samples import SampleCatalog
from tests.service import until
from tests.unit.catalog.test_versions import add_version


@pytest.fixture
def folder(sample_catalog: SampleCatalog, tmp_path: Path) -> Catalog:
    """A folder with one good version, which is live."""
    shutil.copytree(sample_catalog.root, tmp_path / "catalogs", ignore=shutil.ignore_patterns(".*"))
    return Catalog(tmp_path / "catalogs")


def hostile(folder: Catalog, kind: str) -> Path:
    """The live version once more, altered."""
    copy = folder.root / "copy"
    shutil.copytree(folder.current(), copy)
    HOSTILE[kind][0](copy)
    return rewrite_manifest(copy)


def test_a_good_version_passes(folder: Catalog) -> None:
    Trial()(folder.current())


def test_a_good_version_needs_the_required_signature(folder: Catalog, tmp_path: Path) -> None:
    trial = Trial.of(load_settings(catalog_public_key=make_key(tmp_path / "key")))
    with pytest.raises(CatalogError, match="is not signed"):
        trial(folder.current())


def trial_children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "logo_similarity.trial" in child.cmdline()]


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_version_is_not_made_live(folder: Catalog, kind: str) -> None:
    good, bad = folder.current(), hostile(folder, kind)
    verify(bad)  # every digest is right
    seconds = 3 if kind == "endless loop" else 120
    with pytest.raises(CatalogError, match=HOSTILE[kind][1]) as caught:
        folder.activate(bad.name, trial=Trial(seconds=seconds))
    assert bad.name in str(caught.value)
    assert folder.current() == good
    assert not trial_children()


@pytest.mark.parametrize("kind", BAD_MANIFESTS)
def test_a_manifest_out_of_its_bounds_is_refused(folder: Catalog, kind: str) -> None:
    edit, named = BAD_MANIFESTS[kind]
    bad = rewrite_manifest(folder.current(), edit)
    for refuse in (read_manifest, verify, Trial()):
        with pytest.raises(CatalogError, match=named) as caught:
            refuse(bad)
        assert MANIFEST in str(caught.value)


def test_a_trial_has_no_secrets_and_is_ended_from_another_thread(
    folder: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads what others made, and needs no key to do so."""
    for name in ("LOGO_S3_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "confidential")
    copy = folder.root / "copy"
    shutil.copytree(folder.current(), copy)
    endless_loop(copy)
    bad, trial, errors = rewrite_manifest(copy), Trial(seconds=300), list[str]()

    def run() -> None:
        with pytest.raises(CatalogError) as caught:
            trial(bad)
        errors.append(str(caught.value))

    thread = threading.Thread(target=run)
    thread.start()
    environments: list[bytes] = []

    def child_has_started() -> bool:
        environments.extend(Path(f"/proc/{child.pid}/environ").read_bytes() for child in trial_children())
        return bool(environments)

    until(child_has_started)
    trial.stop()
    thread.join()
    assert "SIGKILL" in errors[0]
    assert b"OMP_NUM_THREADS=1" in environments[0]
    assert b"confidential" not in environments[0]


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("sys.exit(3)", "the process that opened it exited with status 3$"),
        ("sys.exit(1)", "the process that opened it exited with status 1$"),
        ("print('broken'); sys.exit(3)", "the process that opened it exited with status 3$"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "the process that opened it was killed by SIGTERM$"),
        ("print('x' * 2_000); sys.exit(1)", "x{1000}$"),
        (r"os.write(1, b'\xff'); sys.exit(1)", "\ufffd$"),
        ("print(*sys.argv[5:], end=''); sys.exit(1)", "PARENT 101$"),
    ],
)
def test_how_the_process_ends_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    """A version can make the process do anything."""
    name = add_version(tmp_path, 1)
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nimport os, signal, sys\n{program}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    pattern = f"^version '{name}' failed its trial: {reason}".replace("PARENT", str(os.getpid()))
    with pytest.raises(CatalogError, match=pattern):
        Trial.of(load_settings(trial_seconds=100.5))(tmp_path / name)


def test_a_stopped_trial_tries_no_further_version(folder: Catalog) -> None:
    trial = Trial()
    trial(folder.current())
    trial.stop()
    with pytest.raises(CatalogError, match="SIGKILL"):
        trial(folder.current())


def test_a_build_that_fails_its_trial_leaves_the_live_version(
    folder: Catalog, sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    live = folder.current()
    table = tmp_path / "few.jsonl"
    table.write_text("\n".join((sample_catalog.root.parent / "marks.jsonl").read_text().splitlines()[:20]))
    source = open_source(table, images=sample_catalog.images)

    def fail(version: Path) -> None:
        raise CatalogError(f"{version.name} is bad")

    with pytest.raises(CatalogError, match="is bad"):
        build_catalog(source, folder.root, BuildOptions(threads=2, trial=fail))
    assert folder.current() == live
    assert folder.names() == [live.name]
    made = build_catalog(source, folder.root, BuildOptions(threads=2))  # goes on where it was
    assert folder.current() == made.folder


def test_a_build_does_not_reuse_a_version_that_fails(
    folder: Catalog, sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    table = tmp_path / "few.jsonl"
    table.write_text("\n".join((sample_catalog.root.parent / "marks.jsonl").read_text().splitlines()[:20]))
    source = open_source(table, images=sample_catalog.images)
    first = build_catalog(source, folder.root, BuildOptions(threads=2))
    gap(first.folder)  # of the same size
    again = build_catalog(source, folder.root, BuildOptions(threads=2))
    assert not again.reused
    Trial()(again.folder)

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from logo_similarity.catalog.manifest import MANIFEST, SIGNATURE, FileEntry, Manifest, read_manifest
from logo_similarity.catalog.publish import copy_model, digest_files, publish
from logo_similarity.catalog.versions import Catalog
from logo_similarity.errors import CatalogError
from tests.samples import SampleCatalog
from tests.unit.catalog.test_versions import CONTENT, add_version, no_trial


@pytest.fixture
def catalogs(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "catalogs")


@pytest.fixture
def built(catalogs: Catalog, tmp_path: Path) -> tuple[Path, Manifest]:
    """A working folder in the catalog, complete except for the manifest."""
    name = add_version(tmp_path, 1)
    manifest = read_manifest(tmp_path / name)
    (tmp_path / name / MANIFEST).unlink()
    catalogs.root.mkdir()
    return (tmp_path / name).rename(catalogs.root / ".build-work"), manifest


def test_the_files_of_a_version_are_digested_except_its_manifest_and_signature(tmp_path: Path) -> None:
    folder = tmp_path / add_version(tmp_path, 1)
    (folder / SIGNATURE).write_bytes(b"signature")
    files = digest_files(folder)
    assert list(files) == sorted(CONTENT)
    for name, content in CONTENT.items():
        assert files[name] == FileEntry(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def test_only_the_files_of_the_encoder_are_copied(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    model = tmp_path / "model"
    for _ in range(2):  # again, over those of an interrupted build
        copy_model(Catalog(sample_catalog.root).current() / "model", model)
    (model / "notes.txt").write_text("mine")
    copy_model(model, tmp_path / "copy")
    copied = {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()}
    assert copied == {name: (model / name).read_bytes() for name in ("model.json", "model.onnx")}


@pytest.mark.parametrize("signing_key", [None, Ed25519PrivateKey.generate()], ids=["unsigned", "signed"])
def test_a_version_that_passes_its_trial_is_live(
    catalogs: Catalog, built: tuple[Path, Manifest], signing_key: Ed25519PrivateKey | None
) -> None:
    work, manifest = built
    folder = publish(catalogs, work, manifest, no_trial, signing_key)
    assert catalogs.current() == folder
    assert catalogs.names() == [folder.name]
    assert read_manifest(folder) == manifest
    assert (folder / SIGNATURE).exists() == (signing_key is not None)
    assert not work.exists()


def test_a_version_that_fails_its_trial_is_moved_back(catalogs: Catalog, built: tuple[Path, Manifest]) -> None:
    live = add_version(catalogs.root, 2)
    catalogs.flip(live)

    def fail(folder: Path) -> None:
        raise CatalogError(f"{folder.name} is bad")

    work, manifest = built
    with pytest.raises(CatalogError, match="is bad"):
        publish(catalogs, work, manifest, fail, None)
    assert (work / "index.faiss").exists()
    assert catalogs.names() == [live]
    assert catalogs.current().name == live

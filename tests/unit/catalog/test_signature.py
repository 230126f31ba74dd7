from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from logo_similarity.catalog.manifest import MANIFEST, SIGNATURE
from logo_similarity.catalog.signature import check_signature, make_key, sign, signing_key_of
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings
from logo_similarity.errors import CatalogError, ConfigError
from tests.samples import SampleCatalog


@pytest.fixture
def version(sample_catalog: SampleCatalog, tmp_path: Path) -> Path:
    live = Catalog(sample_catalog.root).current()
    (tmp_path / live.name).mkdir()
    shutil.copy(live / MANIFEST, tmp_path / live.name)
    return tmp_path / live.name


def signed(version: Path, folder: Path, name: str | None = None) -> str:
    """Sign a version with a new key. Returns the public key."""
    public = make_key(folder / "key")
    key = signing_key_of(Settings.model_validate({"catalog_signing_key": folder / "key"}))
    assert key is not None
    sign(version, name or version.name, key)
    return public


def test_a_signature_is_valid_for_its_key(version: Path, tmp_path: Path) -> None:
    check_signature(version, signed(version, tmp_path))
    other = make_key(tmp_path / "other")
    with pytest.raises(CatalogError, match="LOGO_CATALOG_PUBLIC_KEY"):
        check_signature(version, other)


def test_a_signature_is_of_every_byte_of_the_manifest_and_of_the_name(version: Path, tmp_path: Path) -> None:
    public = signed(version, tmp_path)
    manifest = (version / MANIFEST).read_bytes()
    for position in range(0, len(manifest), 97):
        (version / MANIFEST).write_bytes(manifest[:position] + b"~" + manifest[position + 1 :])
        with pytest.raises(CatalogError, match="has no valid signature by"):
            check_signature(version, public)
    (version / MANIFEST).write_bytes(manifest)
    check_signature(version, public)
    with pytest.raises(CatalogError, match="has no valid signature by"):
        check_signature(version.rename(version.with_name("20200101T000000Z-00000000")), public)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"QUJD\n", b"\xff" * 89])
def test_a_file_that_is_not_a_signature(version: Path, tmp_path: Path, content: bytes) -> None:
    public = signed(version, tmp_path)
    (version / SIGNATURE).write_bytes(content)
    with pytest.raises(CatalogError, match="has no valid signature by"):
        check_signature(version, public)
    (version / SIGNATURE).unlink()
    with pytest.raises(CatalogError, match="LOGO_CATALOG_SIGNING_KEY"):
        check_signature(version, public)


def test_a_private_key_is_its_owners_and_is_not_overwritten(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(FileExistsError):
        make_key(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before


def test_openssl_reads_the_key(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    shown = subprocess.run(
        ["openssl", "pkey", "-in", tmp_path / "key", "-noout", "-text"], capture_output=True, text=True, check=True
    )
    assert "ED25519" in shown.stdout


@pytest.mark.parametrize(
    "content", [None, b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_signing_key_that_cannot_be_used(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError, match="LOGO_CATALOG_SIGNING_KEY"):
        signing_key_of(Settings.model_validate({"catalog_signing_key": tmp_path / "key"}))


def test_a_pair_of_keys_that_do_not_belong_together(version: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "one")
    two = make_key(tmp_path / "two")
    with pytest.raises(ConfigError, match="LOGO_CATALOG_PUBLIC_KEY"):
        signing_key_of(Settings.model_validate({"catalog_signing_key": tmp_path / "one", "catalog_public_key": two}))
    for public in ("", "nonsense", "QUJD"):
        with pytest.raises(ConfigError, match="LOGO_CATALOG_PUBLIC_KEY"):
            check_signature(version, public)


def test_a_public_key_with_a_foreign_character_is_refused(version: Path, tmp_path: Path) -> None:
    public = signed(version, tmp_path)
    with pytest.raises(ConfigError, match="LOGO_CATALOG_PUBLIC_KEY"):
        check_signature(version, public[:10] + "!" + public[10:])

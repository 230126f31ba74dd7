"""The last steps of every new version: its model, its digests, its manifest, and the moment when it becomes the live one."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from logo_similarity.catalog.files import replacing, sha256_file, sync_folder
from logo_similarity.catalog.manifest import MANIFEST, SIGNATURE, FileEntry, Manifest, version_name
from logo_similarity.catalog.signature import sign
from logo_similarity.catalog.versions import Catalog, TryVersion
from logo_similarity.embed.model import MODEL_JSON, load_model
from logo_similarity.errors import CatalogError


def copy_model(model: Path, target: Path) -> None:
    """Put an encoder's files into a version, so that it needs nothing from elsewhere."""
    target.mkdir(exist_ok=True)
    for name in (MODEL_JSON, load_model(model).file):
        with replacing(target / name) as file:
            file.write((model / name).read_bytes())


def digest_files(version: Path) -> dict[str, FileEntry]:
    """Sha256 and size of every file of a version but its manifest and its signature, by name."""
    paths = sorted(path for path in version.rglob("*") if path.is_file() and path.name not in (MANIFEST, SIGNATURE))
    return {
        path.relative_to(version).as_posix(): FileEntry(sha256=sha256_file(path), size=path.stat().st_size)
        for path in paths
    }


def publish(
    folder: Catalog, version: Path, manifest: Manifest, trial: TryVersion, signing_key: Ed25519PrivateKey | None
) -> Path:
    """Write the manifest, rename the version into its place, try it, make it the live one; the caller holds the lock.

    Returns:
        The version's folder.

    Raises:
        CatalogError: it failed its trial, and is where it was before.
    """
    name = version_name(manifest)
    with replacing(version / MANIFEST) as file:
        file.write(manifest.to_json())
    if signing_key is not None:
        sign(version, name, signing_key)
    target = folder.root / name
    version.rename(target)
    sync_folder(folder.root)
    try:
        folder.admit(target, trial)
    except CatalogError:
        target.rename(version)
        raise
    folder.flip(name)
    return target

"""The last steps of every new version: its model, its digests, its manifest, and the moment when it becomes the live one."""

from __future__ import annotations

from pathlib import Path

from logo_similarity.catalog.files import replacing, sha256_file, sync_folder
from logo_similarity.catalog.manifest import MANIFEST, FileEntry, Manifest, version_name
from logo_similarity.catalog.versions import CatalogFolder
from logo_similarity.embed.model import MODEL_JSON, load_model


def copy_model(model: Path, target: Path) -> None:
    """Put an encoder's files into a version, so that it needs nothing from elsewhere."""
    target.mkdir(exist_ok=True)
    for name in (MODEL_JSON, load_model(model).file):
        with replacing(target / name) as file:
            file.write((model / name).read_bytes())


def digest_files(version: Path) -> dict[str, FileEntry]:
    """Sha256 and size of every file of a version but its manifest, by name."""
    paths = sorted(path for path in version.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {
        path.relative_to(version).as_posix(): FileEntry(sha256=sha256_file(path), size=path.stat().st_size)
        for path in paths
    }


def publish(folder: CatalogFolder, version: Path, manifest: Manifest) -> Path:
    """Write the manifest, rename the version into its place, make it the live one; the caller holds the lock.

    Returns:
        The version's folder.
    """
    with replacing(version / MANIFEST) as file:
        file.write(manifest.to_json())
    target = folder.root / version_name(manifest)
    version.rename(target)
    sync_folder(folder.root)
    folder.flip(target.name)
    return target

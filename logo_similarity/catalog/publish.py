"""The last steps of building a version: copy the encoder, compute digests, write the manifest, make it live."""

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
    """Copy an encoder's files into a version, so that the version is self-contained.

    Args:
        model: the encoder folder.
        target: the folder in the version; created if it is missing.
    """
    target.mkdir(exist_ok=True)
    for name in (MODEL_JSON, load_model(model).file):
        with replacing(target / name) as file:
            file.write((model / name).read_bytes())


def digest_files(version: Path) -> dict[str, FileEntry]:
    """Sha256 and size of every file of a version except the manifest and its signature, by name."""
    paths = sorted(path for path in version.rglob("*") if path.is_file() and path.name not in (MANIFEST, SIGNATURE))
    return {
        path.relative_to(version).as_posix(): FileEntry(sha256=sha256_file(path), size=path.stat().st_size)
        for path in paths
    }


def publish(
    folder: Catalog, version: Path, manifest: Manifest, trial: TryVersion, signing_key: Ed25519PrivateKey | None
) -> Path:
    """Write the manifest, move the version into the catalog, try it, and make it live. The caller holds the lock.

    Args:
        folder: the catalog.
        version: the working folder, complete except for the manifest.
        manifest: the manifest to write.
        trial: the trial that the version must pass.
        signing_key: signs the version; None: it is not signed.

    Returns:
        The new folder of the version.

    Raises:
        CatalogError: the version failed its trial, and was moved back.
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

"""Image stores, in S3 or a local folder, with short-lived signed links for clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from logo_similarity.errors import ConfigError
from logo_similarity.storage.local import LocalStore
from logo_similarity.storage.s3 import S3Service
from logo_similarity.storage.upload import UploadProgress, UploadSummary, upload_images

__all__ = ["ImageStore", "LocalStore", "S3Service", "UploadProgress", "UploadSummary", "open_store", "upload_images"]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logo_similarity.config import Settings


class ImageStore(Protocol):
    """The interface of an image store, as searches use it."""

    def sign(self, filenames: Sequence[str]) -> list[str]:
        """One link per filename, in order, valid for `LOGO_LINK_SECONDS`. Does not check that the images exist.

        An S3 link is a complete URL; a local one is a path ("/v1/files/...") below the service's public URL.
        """
        ...

    def read(self, filename: str, max_bytes: int) -> bytes:
        """The image file with this name.

        Raises:
            NotFoundError: it does not exist, or has more than `max_bytes`.
            StoreError: the store does not respond.
        """
        ...

    def write(self, filename: str, data: bytes) -> None:
        """Store the content of an image file under this name, durably, in place of an earlier one.

        Raises:
            StoreError: the store does not respond, or refuses it.
        """
        ...

    async def check(self) -> None:
        """Raise StoreError, with the reason and a remedy, if images cannot be read."""
        ...


def open_store(settings: Settings) -> ImageStore | None:
    """The configured image store, or None. Makes no connection.

    Raises:
        ConfigError: a setting of the store is invalid, or names a file in place of a folder.
    """
    if settings.images_dir is not None:
        if settings.images_dir.is_file():
            raise ConfigError(
                f"LOGO_IMAGES_DIR: {settings.images_dir} is not a folder, and images cannot be served from a ZIP file; "
                "unpack it and name the folder with --images, or upload its images to a bucket (logo-similarity images "
                "upload) and set LOGO_S3_BUCKET"
            )
        secret = settings.link_secret.get_secret_value()
        return LocalStore(settings.images_dir, secret=secret, link_seconds=settings.link_seconds)
    if settings.s3_bucket is not None:
        return S3Service(settings)
    return None

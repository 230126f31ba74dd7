"""Where the images lie, and the short-lived signed links that let a client fetch them: S3 or a local folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from logo_similarity.storage.local import LocalStore
from logo_similarity.storage.s3 import S3Service
from logo_similarity.storage.upload import UploadProgress, UploadSummary, upload_folder

__all__ = ["ImageStore", "LocalStore", "S3Service", "UploadProgress", "UploadSummary", "open_store", "upload_folder"]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logo_similarity.config import Settings


class ImageStore(Protocol):
    """What a search needs of a store."""

    def sign(self, filenames: Sequence[str]) -> list[str]:
        """One link per filename, in order, valid for `LOGO_LINK_SECONDS`. Nobody asks whether the image exists.

        An S3 link is a whole URL; a local one is a path ("/v1/files/...") to put behind the service's public URL.
        """
        ...

    async def check(self) -> None:
        """Raise StoreError with what is wrong and what to do, for the operator, when images can't be reached."""
        ...


def open_store(settings: Settings) -> ImageStore | None:
    """The image store that the settings name, or None. Makes no connection.

    Raises:
        ConfigError: a setting of the store can't be used.
    """
    if settings.images_dir is not None:
        secret = settings.link_secret.get_secret_value()
        return LocalStore(settings.images_dir, secret=secret, link_seconds=settings.link_seconds)
    if settings.s3_bucket is not None:
        return S3Service(settings)
    return None

"""Every error this project raises on purpose: a stable code, an HTTP status, and a message that is safe to show."""

from __future__ import annotations


class LogoSimilarityError(Exception):
    """Base of all errors here.

    `str(error)` is written for the person who sees it: what is wrong and what to do. It never holds another user's data,
    a key, or a path of the server unless the error is one that only an operator can see (`CatalogError`, `ConfigError`).
    """

    status = 500
    code = "internal_error"
    title = "Internal error"


class BadImageError(LogoSimilarityError):
    """The bytes claim to be an image and can't be decoded as one."""

    status = 422
    code = "image_undecodable"
    title = "The image cannot be read"


class UnsupportedFormatError(BadImageError):
    """A format outside the allow-list, by its magic bytes."""

    status = 415
    code = "image_format_unsupported"
    title = "Unsupported image format"


class MediaTypeError(LogoSimilarityError):
    """A body that is no form."""

    status = 415
    code = "media_type_unsupported"
    title = "Unsupported media type"


class ImageTooLargeError(BadImageError):
    """More bytes or pixels than the limits allow; refused before a pixel is decoded."""

    status = 413
    code = "image_too_large"
    title = "The image is too large"


class ImageTooComplexError(BadImageError):
    """An image whose decoding would take, or took, more memory or time than one upload may have."""

    status = 422
    code = "image_too_complex"
    title = "The image takes too much to decode"


class ImageTooSmallError(BadImageError):
    """Too few pixels to hold a logo."""

    status = 422
    code = "image_too_small"
    title = "The image is too small"


class InvalidRequestError(LogoSimilarityError):
    """A parameter out of its range."""

    status = 422
    code = "invalid_request"
    title = "The request is not valid"


class UnauthorizedError(LogoSimilarityError):
    """No API key, or one that is not known."""

    status = 401
    code = "unauthorized"
    title = "A valid API key is needed"


class ForbiddenError(LogoSimilarityError):
    """A key that is known, and may not do this."""

    status = 403
    code = "forbidden"
    title = "This key may not do that"


class LinkRefusedError(LogoSimilarityError):
    """A signed link that was altered or has expired."""

    status = 403
    code = "link_refused"
    title = "The link is not valid any more"


class NotFoundError(LogoSimilarityError):
    """No such logo, image or catalog version."""

    status = 404
    code = "not_found"
    title = "Not found"


class KeyNotFoundError(NotFoundError):
    """No such API key."""


class TryLaterError(LogoSimilarityError):
    """What is refused now and not later: `retry_after` says in how many seconds."""

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimitedError(TryLaterError):
    """A key that asks more often than it may."""

    status = 429
    code = "rate_limited"
    title = "Too many requests"


class QuotaSpentError(TryLaterError):
    """A key that has asked for all that it may in a day."""

    status = 429
    code = "quota_spent"
    title = "The day's quota is spent"


class OverloadedError(TryLaterError):
    """The queue is full, or the job waited in it past its deadline."""

    status = 503
    code = "overloaded"
    title = "The service is busy"


class SearchTimeoutError(LogoSimilarityError):
    """A search that began and did not finish in time."""

    status = 503
    code = "search_timeout"
    title = "The search took too long"


class NotReadyError(LogoSimilarityError):
    """No catalog is open yet, or the service is stopping."""

    status = 503
    code = "not_ready"
    title = "The service is not ready"


class StoreError(LogoSimilarityError):
    """The image store is not configured, does not answer, or refuses."""

    status = 503
    code = "image_store_unavailable"
    title = "The image store is unavailable"


class EncoderError(LogoSimilarityError):
    """The encoder's files are wrong, or it gave something that is no embedding. Operators only."""

    code = "encoder_failed"
    title = "The encoder failed"


class CatalogError(LogoSimilarityError):
    """A catalog that is missing, damaged, or made for another version of this software. Operators only."""

    code = "catalog_invalid"
    title = "The catalog cannot be used"


class FolderBusyError(CatalogError):
    """Another process writes to the folder of versions."""


class SourceError(LogoSimilarityError):
    """A data set that can't be read at all (a single bad row is rejected instead). Operators only."""

    code = "source_invalid"
    title = "The source cannot be read"


class BuildError(LogoSimilarityError):
    """A catalog build that must not be published. Operators only."""

    code = "build_failed"
    title = "The build failed"


class ServiceError(LogoSimilarityError):
    """A service that does not start or does not answer correctly, as a command sees it."""

    code = "service_failed"
    title = "The service does not answer as it should"

    def __init__(self, message: str, *, answered: int | None = None) -> None:
        super().__init__(message)
        self.answered = answered
        """The status of its answer; None where there was none."""


class ConfigError(LogoSimilarityError):
    """A setting that can't be used. Names the setting. Operators only."""

    code = "config_invalid"
    title = "A setting is wrong"

"""The errors of this project: each has a stable code, an HTTP status, a title, and a message that is safe to show."""

from __future__ import annotations


class LogoSimilarityError(Exception):
    """Base class of all errors.

    `str(error)` is a message for the user that names the problem, the affected object and the remedy. It never contains
    another user's data or a key; paths of the server appear only in errors for operators.
    """

    status = 500
    code = "internal_error"
    title = "Internal error"


class BadImageError(LogoSimilarityError):
    """The image is damaged and cannot be decoded. Base class of all errors about an image."""

    status = 422
    code = "image_undecodable"
    title = "The image cannot be read"


class UnsupportedFormatError(BadImageError):
    """The magic bytes belong to none of the supported formats."""

    status = 415
    code = "image_format_unsupported"
    title = "Unsupported image format"


class MediaTypeError(LogoSimilarityError):
    """The body of the request is not a form."""

    status = 415
    code = "media_type_unsupported"
    title = "Unsupported media type"


class ImageTooLargeError(BadImageError):
    """The image has more bytes or pixels than the limits allow. It is refused before decoding."""

    status = 413
    code = "image_too_large"
    title = "The image is too large"


class ImageTooComplexError(BadImageError):
    """Decoding the image takes more memory or time than the limits allow."""

    status = 422
    code = "image_too_complex"
    title = "The image is too complex"


class ImageTooSmallError(BadImageError):
    """The image has too few pixels to show a logo."""

    status = 422
    code = "image_too_small"
    title = "The image is too small"


class InvalidRequestError(LogoSimilarityError):
    """A parameter is not valid or out of its range."""

    status = 422
    code = "invalid_request"
    title = "The request is not valid"


class CaseError(InvalidRequestError):
    """A document is not a case, or is one of an unknown version."""


class UnauthorizedError(LogoSimilarityError):
    """The API key is missing, unknown, revoked or expired."""

    status = 401
    code = "unauthorized"
    title = "A valid API key is required"


class ForbiddenError(LogoSimilarityError):
    """The API key is valid, but its role does not permit the request."""

    status = 403
    code = "forbidden"
    title = "The API key does not permit this request"


class LinkRefusedError(LogoSimilarityError):
    """A signed link was altered or has expired."""

    status = 403
    code = "link_refused"
    title = "The link is invalid or has expired"


class NotFoundError(LogoSimilarityError):
    """The logo, image or catalog version does not exist."""

    status = 404
    code = "not_found"
    title = "Not found"


class CatalogChangedError(LogoSimilarityError):
    """The next page of a list was asked for, but the list was made from another catalog version."""

    status = 409
    code = "catalog_changed"
    title = "The catalog has changed"


class LogoExistsError(LogoSimilarityError):
    """A logo is created whose id the catalog has."""

    status = 409
    code = "logo_exists"
    title = "The logo exists"


class SupersededError(LogoSimilarityError):
    """A change has no effect, because the logo was changed at a later date."""

    status = 409
    code = "superseded"
    title = "A later change is known"


class IdempotencyError(LogoSimilarityError):
    """An idempotency key was used before, for another request."""

    status = 422
    code = "idempotency_key_reused"
    title = "The idempotency key was used for another request"


class NotWritableError(LogoSimilarityError):
    """This service does not accept changes."""

    status = 409
    code = "not_writable"
    title = "The service does not accept changes"


class ChangeNotStoredError(LogoSimilarityError):
    """A change could not be stored, and has no effect. The message is for operators."""

    status = 503
    code = "change_not_stored"
    title = "The change could not be stored"


class KeyNotFoundError(NotFoundError):
    """The API key does not exist."""


class TryLaterError(LogoSimilarityError):
    """A request that is refused for a limited time."""

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which the client may try again, for the header Retry-After."""


class RateLimitedError(TryLaterError):
    """The API key exceeded its rate limit."""

    status = 429
    code = "rate_limited"
    title = "Too many requests"


class QuotaSpentError(TryLaterError):
    """The API key has used its quota for the day."""

    status = 429
    code = "quota_spent"
    title = "The daily quota is exhausted"


class OverloadedError(TryLaterError):
    """The search queue is full, or a search waited in it for too long."""

    status = 503
    code = "overloaded"
    title = "The service is busy"


class IndexUnavailableError(TryLaterError):
    """The server that holds the vectors of the catalog does not answer, or is still loading them."""

    status = 503
    code = "index_unavailable"
    title = "The vector index is unavailable"


class SearchTimeoutError(LogoSimilarityError):
    """A search started, but did not finish in time."""

    status = 503
    code = "search_timeout"
    title = "The search took too long"


class NotReadyError(LogoSimilarityError):
    """The service cannot search: no catalog is open yet, it is stopping, or every search thread is stuck."""

    status = 503
    code = "not_ready"
    title = "The service is not ready"


class WatchLimitError(LogoSimilarityError):
    """A key has as many watches as are allowed."""

    status = 409
    code = "watches_spent"
    title = "Too many watches"


class StoreError(LogoSimilarityError):
    """The image store is not configured, does not respond, or refuses the request."""

    status = 503
    code = "image_store_unavailable"
    title = "The image store is unavailable"


class EncoderError(LogoSimilarityError):
    """The files of an encoder are not valid, or its output is not an embedding. For operators."""

    code = "encoder_failed"
    title = "The encoder failed"


class CatalogError(LogoSimilarityError):
    """A catalog is missing, damaged, or was built by an incompatible version of this software. For operators."""

    code = "catalog_invalid"
    title = "The catalog cannot be used"


class FolderBusyError(CatalogError):
    """Another process is writing to the folder of catalog versions."""


class SourceError(LogoSimilarityError):
    """A data source as a whole cannot be read; a single bad row is rejected instead. For operators."""

    code = "source_invalid"
    title = "The source cannot be read"


class BuildError(LogoSimilarityError):
    """A catalog could not be built, or must not be published. For operators."""

    code = "build_failed"
    title = "The build failed"


class ReportError(LogoSimilarityError):
    """A report could not be made. For operators."""

    code = "report_failed"
    title = "The report could not be made"


class ReportsUnavailableError(ReportError):
    """The libraries that PDF reports need are not installed."""

    status = 501
    code = "reports_unavailable"
    title = "The service cannot make PDF reports"


class ServiceError(LogoSimilarityError):
    """A service does not start or does not respond correctly, seen by a command that calls it."""

    code = "service_failed"
    title = "The service does not respond as expected"

    def __init__(self, message: str, *, answered: int | None = None) -> None:
        super().__init__(message)
        self.answered = answered
        """HTTP status of the response; None: no response."""


class ConfigError(LogoSimilarityError):
    """A setting is not valid; the message names it. For operators."""

    code = "config_invalid"
    title = "A setting is not valid"

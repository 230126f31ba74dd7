"""Translates obstore's exceptions into errors of this project, for all requests to S3."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from logo_similarity.errors import NotFoundError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONCURRENT = "modified concurrently; try again"
_CREDENTIALS = (
    "the store rejects the credentials: check LOGO_S3_ACCESS_KEY, LOGO_S3_SECRET_KEY, LOGO_S3_REGION, the "
    "permissions of the access key, and the clock of this machine"
)
_NO_CREDENTIALS = (
    "no credentials: set LOGO_S3_ACCESS_KEY and LOGO_S3_SECRET_KEY, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
    "give this machine a role that may use the bucket"
)
_OTHER = "no valid answer: check LOGO_S3_ENDPOINT, the bucket name and the credentials, and that the store is running"
_MESSAGES: dict[type[BaseError], str] = {
    AlreadyExistsError: _CONCURRENT,
    PreconditionError: _CONCURRENT,
    PermissionDeniedError: _CREDENTIALS,
    UnauthenticatedError: _CREDENTIALS,
}
# Without credentials in the environment, obstore requests those of the machine's role from the EC2 metadata service.
_METADATA_SERVICE = re.compile(r"Error performing \w+ \S+/latest/(api/token|meta-data/)")
# obstore reports a refused listing as a GenericError.
_REFUSED = re.compile(r"\b(40[13] |InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied)")
_ELAPSED = re.compile(r" in [0-9.]+.?s\b.*? - ")
_CAUSE = re.compile(r'\b(?:message|error): "([^"]+)"')
_LONGEST_REASON = 200


@contextmanager
def store_errors(place: str, missing: str | None = None) -> Iterator[None]:
    """Translate exceptions of obstore into errors of this project.

    Args:
        place: the bucket or object and its endpoint, for messages.
        missing: message for an object that does not exist; None: a message that contains `place`.

    Raises:
        NotFoundError: the object does not exist.
        StoreError: the object was modified concurrently, credentials are missing or were rejected, or there is no valid
            answer.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(missing or f"{place}: no such object") from error
    except BaseError as error:
        raise StoreError(f"{place}: {_message(error)}") from error


def _message(error: BaseError) -> str:
    if _METADATA_SERVICE.search(str(error)):
        return _NO_CREDENTIALS
    message = _MESSAGES.get(type(error), _CREDENTIALS if _REFUSED.search(str(error)) else None)
    return message or f"{_OTHER} ({_reason(error)})"


def _reason(error: BaseError) -> str:
    """The cause in obstore's message, without the elapsed time, so that repeated failures have the same reason."""
    text = str(error)
    first = _ELAPSED.split(text.splitlines()[0])[-1].partition(": <?xml")[0]
    return ": ".join([first, *_CAUSE.findall(text)[-1:]])[:_LONGEST_REASON]

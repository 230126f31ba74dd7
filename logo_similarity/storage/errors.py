"""obstore's exceptions as errors of this project: one table for every request to an S3 server."""

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
    "the store rejects these credentials: check LOGO_S3_ACCESS_KEY, LOGO_S3_SECRET_KEY, LOGO_S3_REGION, the permissions of "
    "the key, and the clock of this machine"
)
_OTHER = "no valid answer: check LOGO_S3_ENDPOINT and the name of the bucket, that the store runs, and that there are credentials"
_MESSAGES: dict[type[BaseError], str] = {
    AlreadyExistsError: _CONCURRENT,
    PreconditionError: _CONCURRENT,
    PermissionDeniedError: _CREDENTIALS,
    UnauthenticatedError: _CREDENTIALS,
}
# obstore reports a listing that was refused as a GenericError.
_REFUSED = re.compile(r"\b(40[13] |InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied)")
_ELAPSED = re.compile(r" in [0-9.]+.?s\b.*? - ")
_CAUSE = re.compile(r'\b(?:message|error): "([^"]+)"')
_LONGEST_REASON = 200


@contextmanager
def store_errors(place: str, missing: str | None = None) -> Iterator[None]:
    """Raise an error of this project for each exception of obstore.

    Args:
        place: the bucket or the object, and its endpoint, as messages name it.
        missing: message for an object that does not exist; None: one that names the place.

    Raises:
        NotFoundError: the object does not exist.
        StoreError: the object was modified concurrently, the credentials were rejected, or there is no valid answer.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(missing or f"{place}: no such object") from error
    except BaseError as error:
        raise StoreError(f"{place}: {_message(error)}") from error


def _message(error: BaseError) -> str:
    known = _MESSAGES.get(type(error), _CREDENTIALS if _REFUSED.search(str(error)) else None)
    return known or f"{_OTHER} ({_reason(error)})"


def _reason(error: BaseError) -> str:
    """The cause in obstore's message, without the time that the request took: the same failure has the same reason again."""
    text = str(error)
    first = _ELAPSED.split(text.splitlines()[0])[-1].partition(": <?xml")[0]
    return ": ".join([first, *_CAUSE.findall(text)[-1:]])[:_LONGEST_REASON]

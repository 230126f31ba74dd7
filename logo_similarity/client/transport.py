"""How a client sends requests: its headers, when it sends one again, and the errors in responses."""

from __future__ import annotations

from typing import Any

import httpx2
import tenacity

from logo_similarity.client.answers import error_kind, error_of
from logo_similarity.client.calls import Answer, Call
from logo_similarity.errors import InvalidRequestError, LogoSimilarityError, ServiceError, TryLaterError
from logo_similarity.version import __version__

MOST_ATTEMPTS = 5
PATIENCE_SECONDS = 60.0
"""A request is not repeated if that would take longer in total."""


class UnreachableError(ServiceError):
    """No response arrived; another attempt may get one."""

    def __init__(self, url: str, error: httpx2.TransportError, call: Call[Any]) -> None:
        super().__init__(f"{url} is not reachable: {error or type(error).__name__}")
        lasting = isinstance(error, httpx2.TimeoutException | httpx2.UnsupportedProtocol | httpx2.ProxyError)
        self.repeats = not lasting and (call.repeatable or isinstance(error, httpx2.ConnectError))
        """Whether the request is sent again."""


def retrying() -> dict[str, Any]:
    """When a request is repeated, and after what time: arguments of `tenacity.Retrying`."""
    return {
        "retry": tenacity.retry_if_exception(
            lambda error: isinstance(error, TryLaterError) or (isinstance(error, UnreachableError) and error.repeats)
        ),
        "wait": _wait,
        "stop": tenacity.stop_after_attempt(MOST_ATTEMPTS) | tenacity.stop_before_delay(PATIENCE_SECONDS),
        "reraise": True,
    }


_backoff = tenacity.wait_exponential_jitter(multiplier=0.2, max=5)


def _wait(state: tenacity.RetryCallState) -> float:
    """Seconds until the next attempt: the Retry-After of the response, or an increasing time."""
    error = None if state.outcome is None else state.outcome.exception()
    return float(error.retry_after) if isinstance(error, TryLaterError) else _backoff(state)


def check_url(url: str) -> str:
    """The base of all addresses. Raises InvalidRequestError if it is not an HTTP address."""
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        parsed = httpx2.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidRequestError(f"{url} is not an HTTP address; write https://host or http://host:port")
    return url.rstrip("/") + "/"


def headers_of(api_key: str | None) -> dict[str, str]:
    """The headers of all requests. Raises InvalidRequestError if the key has characters that no key has."""
    headers = {"User-Agent": f"logo-similarity/{__version__}"}
    if api_key is not None:
        if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
            raise InvalidRequestError("the API key has spaces, line breaks or characters that no key has")
        headers["X-API-Key"] = api_key
    return headers


def options_of(call: Call[Any]) -> dict[str, Any]:
    """Arguments of a request of httpx2. A form even without a file: a search requires one."""
    return {"params": call.parameters, "files": call.form, "headers": call.headers}


def read(call: Call[Answer], response: httpx2.Response) -> Answer:
    """The answer in a response. Raises the error that it reports, or ServiceError."""
    if response.is_error:
        raise _reported(response)
    try:
        return call.read(None if response.status_code == httpx2.codes.NO_CONTENT else response.json())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ServiceError(
            f"{response.url.copy_with(query=None)} responds, but not as logo-similarity does",
            answered=response.status_code,
        ) from None


def _reported(response: httpx2.Response) -> LogoSimilarityError:
    try:
        problem = response.json()
        code, message = problem["code"], str(problem.get("detail") or problem["title"])
    except (ValueError, KeyError, TypeError):
        code, message = "", f"{response.url.copy_with(query=None)} answers {response.status_code}"
    kind = error_kind(code)
    if issubclass(kind, TryLaterError):
        seconds = response.headers.get("Retry-After", "")
        return error_of(code, message, int(seconds) if seconds.isdigit() else 1)
    if kind.status != response.status_code or kind.status == LogoSimilarityError.status:
        return ServiceError(f"{response.status_code} {message}", answered=response.status_code)
    return kind(message)

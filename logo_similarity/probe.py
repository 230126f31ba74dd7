"""`logo-similarity doctor --url`: checks of a running service from outside, as its clients see it."""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np

from logo_similarity.config import Settings, is_loopback
from logo_similarity.doctor import CheckWarning, Finding, attempt
from logo_similarity.errors import ServiceError
from logo_similarity.wording import counted

TIMEOUT_SECONDS = 30


def examine_service(url: str, settings: Settings) -> list[Finding]:
    """Check a running service with the first key of LOGO_API_KEYS. Changes nothing there.

    Args:
        url: its address, as "https://logos.example".
        settings: hold the key.
    """
    key = settings.api_keys[0].get_secret_value() if settings.api_keys else None
    base = url.rstrip("/")
    links: list[str] = []
    findings = [attempt("service", lambda: _check_health(base))]
    if not findings[0].ok:
        return findings
    findings.append(attempt("search", lambda: _check_search(base, key, links)))
    if findings[-1].ok:
        findings.append(attempt("image link", lambda: _check_link(links)))
    return [
        *findings,
        attempt("keys", lambda: _check_authentication(base)),
        attempt("metrics", lambda: _check_metrics(base)),
    ]


def _check_health(base: str) -> str:
    _request(f"{base}/healthz")
    return f"{base} responds"


def _check_search(base: str, key: str | None, links: list[str]) -> str:
    try:
        answer = _search(base, key)
        catalog, duration = answer["catalog"], sum(answer["timings_ms"].values())
        links += [hit["image_url"] for hit in answer["results"] if hit["image_url"]]
        return f"catalog {catalog['version']} with {counted(catalog['logos'], 'logo')}, {duration:.1f} ms"
    except (ValueError, KeyError, TypeError):
        raise ServiceError(f"{base} responds, but not as logo-similarity does") from None


def _check_link(links: list[str]) -> str:
    if not links:
        raise CheckWarning("no hit has a link: set LOGO_IMAGES_DIR or LOGO_S3_BUCKET for the service")
    return f"{counted(len(_request(links[0])), 'byte')} fetched"


def _check_authentication(base: str) -> str:
    try:
        _request(f"{base}/v1/logos/unknown")
    except ServiceError as error:
        if error.answered == 401:
            return "requests without a key are rejected"
        if error.answered != 404:
            raise
    raise CheckWarning("authentication is disabled: anyone who can connect can search; set LOGO_KEYS for the service")


def _check_metrics(base: str) -> str:
    try:
        _request(f"{base}/metrics")
    except ServiceError:
        return "not reachable"
    if is_loopback(urlsplit(base).hostname or ""):
        return "reachable, as expected on a loopback address; must not be reachable on a public one"
    raise ServiceError("/metrics is reachable at this address: block it in the proxy")


def _search(base: str, key: str | None) -> dict[str, Any]:
    """The answer to a search for a drawn mark."""
    canvas = np.full((200, 200, 3), 255, np.uint8)
    cv2.circle(canvas, (100, 100), 70, (200, 80, 20), 12)
    cv2.line(canvas, (60, 140), (140, 60), (200, 80, 20), 12)
    image = cv2.imencode(".png", canvas)[1].tobytes()
    boundary = secrets.token_hex(16)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="mark.png"\r\n\r\n'
    body = head.encode() + image + f"\r\n--{boundary}--\r\n".encode()
    content = _request(
        f"{base}/v1/search?top_k=3", key=key, body=body, media_type=f"multipart/form-data; boundary={boundary}"
    )
    answer: dict[str, Any] = json.loads(content)
    return answer


def _request(url: str, *, key: str | None = None, body: bytes | None = None, media_type: str | None = None) -> bytes:
    """The body of the answer. Raises ServiceError with the status if it is an error, without one if there is none."""
    headers = {name: value for name, value in (("X-API-Key", key), ("Content-Type", media_type)) if value is not None}
    if not url.startswith(("http://", "https://")):
        raise ServiceError(f"{url} is not an HTTP address; write https://host or http://host:port")
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
            content: bytes = response.read()
            return content
    except urllib.error.HTTPError as error:
        with error:
            detail = _detail(error.read())
        raise ServiceError(f"{error.code} {detail}".strip(), answered=error.code) from None
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise ServiceError(f"{url.partition('?')[0]} is not reachable: {reason}") from None


def _detail(body: bytes) -> str:
    try:
        problem = json.loads(body)
        return str(problem.get("detail") or problem.get("title"))
    except (ValueError, AttributeError):
        return ""

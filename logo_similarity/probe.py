"""`logo-similarity doctor --url`: what a running service says, looked at from outside as its clients see it."""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from typing import Any

import cv2
import numpy as np

from logo_similarity.config import Settings
from logo_similarity.doctor import Finding, attempt
from logo_similarity.errors import ServiceError

SECONDS = 30


def examine_service(url: str, settings: Settings) -> list[Finding]:
    """Ask a service that runs, with the first key of LOGO_API_KEYS. Changes nothing there.

    Args:
        url: where it is: "https://logos.example".
        settings: for the key.
    """
    key = settings.api_keys[0].get_secret_value() if settings.api_keys else None
    base = url.rstrip("/")
    links: list[str] = []
    findings = [attempt("service", lambda: _alive(base))]
    if not findings[0].ok:
        return findings
    findings.append(attempt("search", lambda: _found(base, key, links)))
    if findings[-1].ok:
        findings.append(attempt("image link", lambda: _opened(links)))
    return [*findings, attempt("keys", lambda: _refused(base)), attempt("metrics", lambda: _hidden(base))]


def _alive(base: str) -> str:
    _ask(f"{base}/healthz")
    return f"{base} answers"


def _found(base: str, key: str | None, links: list[str]) -> str:
    try:
        answer = _search(base, key)
        catalog, took = answer["catalog"], sum(answer["timings_ms"].values())
    except (ValueError, KeyError, TypeError):
        raise ServiceError(f"{base} answers, but not as logo-similarity does") from None
    links += [hit["image_url"] for hit in answer["results"] if hit["image_url"]]
    return f"answered by {catalog['version']} with {catalog['logos']:,} logos, after {took:.1f} ms of work"


def _opened(links: list[str]) -> str:
    if not links:
        raise ServiceError("no answer has a link: are LOGO_IMAGES_DIR or LOGO_S3_BUCKET set there?")
    return f"opens from here: {len(_ask(links[0])):,} bytes"


def _refused(base: str) -> str:
    try:
        _ask(f"{base}/v1/logos/nobody")
    except ServiceError as error:
        if error.answered == 401:
            return "who has none is refused"
        if error.answered != 404:
            raise
    raise ServiceError("whoever reaches this address may search: set LOGO_KEYS there")


def _hidden(base: str) -> str:
    try:
        _ask(f"{base}/metrics")
    except ServiceError:
        return "not to be seen from here"
    raise ServiceError("/metrics is open to whoever reaches this address: let the proxy keep it inside")


def _search(base: str, key: str | None) -> dict[str, Any]:
    """A search with a drawn mark."""
    canvas = np.full((200, 200, 3), 255, np.uint8)
    cv2.circle(canvas, (100, 100), 70, (200, 80, 20), 12)
    cv2.line(canvas, (60, 140), (140, 60), (200, 80, 20), 12)
    picture = cv2.imencode(".png", canvas)[1].tobytes()
    boundary = secrets.token_hex(16)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="mark.png"\r\n\r\n'
    body = head.encode() + picture + f"\r\n--{boundary}--\r\n".encode()
    answer = _ask(f"{base}/v1/search?top_k=3", key=key, body=body, kind=f"multipart/form-data; boundary={boundary}")
    told: dict[str, Any] = json.loads(answer)
    return told


def _ask(url: str, *, key: str | None = None, body: bytes | None = None, kind: str | None = None) -> bytes:
    headers = {name: value for name, value in (("X-API-Key", key), ("Content-Type", kind)) if value is not None}
    if not url.startswith(("http://", "https://")):
        raise ServiceError(f"{url}: not an address; write https://host or http://host:port")
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        with error:
            detail = _detail(error.read())
        raise ServiceError(f"{error.code} {detail}".strip(), answered=error.code) from None
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise ServiceError(f"{url.partition('?')[0]}: no answer: {reason}") from None


def _detail(body: bytes) -> str:
    try:
        problem = json.loads(body)
        return str(problem.get("detail") or problem.get("title"))
    except (ValueError, AttributeError):
        return ""

"""Error responses: `application/problem+json` (RFC 9457) with a stable code."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from logo_similarity.api.parameters import EXPECTED
from logo_similarity.api.routing import allowed_methods
from logo_similarity.errors import (
    LogoSimilarityError,
    NotReadyError,
    OverloadedError,
    SearchTimeoutError,
    TryLaterError,
)
from logo_similarity.metrics import REFUSED

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
# Codes of errors that the framework or the HTTP protocol raises.
CODES = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    413: "body_too_large",
    415: "media_type_unsupported",
    422: "invalid_request",
    503: OverloadedError.code,
    431: "head_too_large",
}


def problem(
    status: int, code: str, title: str, detail: str | None = None, headers: dict[str, str] | None = None, **more: object
) -> JSONResponse:
    """A problem document; increments the metric of its code."""
    REFUSED.labels(code).inc()
    return document(status, code, title, detail, headers, **more)


def document(
    status: int, code: str, title: str, detail: str | None = None, headers: dict[str, str] | None = None, **more: object
) -> JSONResponse:
    """A problem document."""
    content = {"type": "about:blank", "status": int(status), "code": code, "title": title, "detail": detail, **more}
    return JSONResponse(
        {key: value for key, value in content.items() if value is not None},
        int(status),
        {**(headers or {}), "Cache-Control": "no-store"},
        MEDIA_TYPE,
    )


def problem_of(error: LogoSimilarityError) -> JSONResponse:
    """The response to an error of this project. Details that only operators may see are logged, not sent."""
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, TryLaterError) else {}
    if error.status >= 500 and not isinstance(error, OverloadedError | SearchTimeoutError | NotReadyError):
        log.error("request_failed", code=error.code, error=str(error))
        return problem(error.status, error.code, error.title, headers=headers)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'ApiKey header="X-API-Key"'
    return problem(error.status, error.code, error.title, str(error), headers)


def problem_of_http(error: HTTPException) -> JSONResponse:
    """The response to an error of the HTTP protocol."""
    status = HTTPStatus(error.status_code)
    detail = error.detail if error.detail != status.phrase else None
    return problem(status, CODES.get(status, status.name.lower()), status.phrase, detail, dict(error.headers or {}))


def add_handlers(app: FastAPI) -> None:
    """Make `app` return a problem document for every exception."""

    @app.exception_handler(LogoSimilarityError)
    async def ours(_request: Request, error: LogoSimilarityError) -> JSONResponse:
        return problem_of(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        problems = [{"field": str(item["loc"][1]), "message": _explain(item)} for item in error.errors()]
        detail = "; ".join(f"{item['field']}: {item['message']}" for item in problems)
        return problem(422, CODES[422], "The request is not valid", detail, errors=problems)

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 405:  # the framework names the methods of one of the path's routes only
            methods = allowed_methods(request.app, request.scope["path"])
            error = HTTPException(405, f"use {' or '.join(methods)} for this path", {"Allow": ", ".join(methods)})
        return problem_of_http(error)

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, error: Exception) -> JSONResponse:
        log.error("request_failed", code="internal_error", exc_info=error)
        return problem(500, "internal_error", "Internal error")


def _explain(problem: Mapping[str, Any]) -> str:
    """The fault of a parameter, and what to send instead. The invalid value is left out: it may be a whole upload."""
    fault = "is missing" if problem["type"] == "missing" else "is not valid"
    instead = problem.get("ctx", {}).get("instead", "")
    return f"{fault}; send {EXPECTED[str(problem['loc'][1])]}{instead}"

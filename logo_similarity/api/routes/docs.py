"""`GET /docs`: interactive API documentation. The page loads files from this service only."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from fastapi import Response
from fastapi.responses import HTMLResponse

from logo_similarity.api.routing import CheckedRouter
from logo_similarity.errors import NotFoundError

router = CheckedRouter()

ASSETS = "/docs/assets/"
# Users enter API keys on this page, so it runs only the two scripts below and connects to no other origin.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
SCRIPT, STYLE = "text/javascript", "text/css"
# The digest of all assets is part of their URLs, so a browser may cache them indefinitely.
ONE_YEAR = "public, max-age=31536000, immutable"
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>logo-similarity API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{assets}/swagger-ui.css">
<link rel="stylesheet" href="{assets}/docs.css">
<script src="{assets}/swagger-ui-bundle.js" defer></script>
<script src="{assets}/docs.js" defer></script>
</head>
<body>
<div id="docs"></div>
<noscript>This page needs JavaScript. See also the <a href="openapi.json">OpenAPI document</a>.</noscript>
</body>
</html>
"""


@router.get("/docs", include_in_schema=False)
def docs_page() -> HTMLResponse:
    """Swagger UI for `/openapi.json`. Its URLs are relative because a proxy may add a path prefix."""
    page = PAGE.format(assets=f"{ASSETS.removeprefix('/')}{_digest()}")
    return HTMLResponse(page, headers=HEADERS | {"Cache-Control": "no-cache"})


@router.get(ASSETS + "{digest}/{name}", include_in_schema=False)
def docs_asset(digest: str, name: str) -> Response:
    """A script or style sheet of the page."""
    asset = _assets().get(name)
    if asset is None or digest != _digest():
        raise NotFoundError("no documentation file has this name and version; reload /docs")
    content, media_type = asset
    return Response(content, media_type=media_type, headers=HEADERS | {"Cache-Control": ONE_YEAR})


@cache
def _assets() -> dict[str, tuple[bytes, str]]:
    """Content and media type of each file of the page, by name. No other file is served.

    They take 1.9 MB of memory. The route is public, and sending them from disk takes three times the CPU.
    """
    # Only Swagger UI's files are used: the page of `fastapi_swagger.patch_fastapi` has inline scripts.
    swagger = files("fastapi_swagger") / "resources"
    own = files("logo_similarity.api") / "static"
    return {
        "swagger-ui-bundle.js": ((swagger / "swagger-ui-bundle.js").read_bytes(), SCRIPT),
        "swagger-ui.css": ((swagger / "swagger-ui.css").read_bytes(), STYLE),
        "docs.js": ((own / "docs.js").read_bytes(), SCRIPT),
        "docs.css": ((own / "docs.css").read_bytes(), STYLE),
    }


@cache
def _digest() -> str:
    return hashlib.sha256(b"".join(content for content, _ in _assets().values())).hexdigest()[:16]

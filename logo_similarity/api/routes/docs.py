"""`GET /docs`: the API's documentation, to read and to try. Everything it loads comes from this service."""

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
# Keys are typed into this page: it runs no script but the two below, and reaches no other origin.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
SCRIPT, STYLE = "text/javascript", "text/css"
# The digest of all assets is part of their addresses, so a browser may keep them for good.
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
<noscript>This page needs JavaScript. The API is described for programs in <a href="openapi.json">openapi.json</a>.</noscript>
</body>
</html>
"""


@router.get("/docs", include_in_schema=False)
def docs_page() -> HTMLResponse:
    """Swagger UI for `/openapi.json`. Its addresses are relative, as a proxy may put a prefix before all paths."""
    page = PAGE.format(assets=f"{ASSETS.removeprefix('/')}{_digest()}")
    return HTMLResponse(page, headers=HEADERS | {"Cache-Control": "no-cache"})


@router.get(ASSETS + "{digest}/{name}", include_in_schema=False)
def docs_asset(digest: str, name: str) -> Response:
    """A script or style sheet of the page."""
    asset = _assets().get(name)
    if asset is None or digest != _digest():
        raise NotFoundError("the documentation has no such file; load /docs again")
    content, media_type = asset
    return Response(content, media_type=media_type, headers=HEADERS | {"Cache-Control": ONE_YEAR})


@cache
def _assets() -> dict[str, tuple[bytes, str]]:
    """Content and media type of each file that the page loads, by name. Nothing else is served.

    Kept in memory, 1.9 MB, as anyone may ask for them: sent from a file they cost three times the CPU.
    """
    # Not `fastapi_swagger.patch_fastapi`: its page has inline scripts. The package is here for Swagger UI's own files.
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

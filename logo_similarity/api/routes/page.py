"""`GET /`: the examiner's page. It loads files from this service only, and marks from the image store."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

from fastapi import Request, Response

from logo_similarity.api.deps import Links, LinksDep
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.errors import NotFoundError, StoreError

router = CheckedRouter()

ASSETS = "/web/"
INDEX = "index.html"
MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
}
_HEADERS = {"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding"}
# The digest of all files is part of their URLs, so a browser may cache them indefinitely.
_ONE_YEAR = "public, max-age=31536000, immutable"
_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class _File:
    media_type: str
    content: bytes
    compressed: bytes
    """The content, by gzip."""


@dataclass(frozen=True, slots=True)
class _Site:
    digest: str
    """Of all files; part of their URLs."""
    files: dict[str, _File]


@router.get("/", include_in_schema=False)
def page(request: Request, links: LinksDep) -> Response:
    """The page. Its URLs are relative because a proxy may add a path prefix."""
    headers = {"Content-Security-Policy": _policy(_image_origin(request, links)), "Cache-Control": "no-cache"}
    return _respond(request, _load().files[INDEX], headers)


@router.get(ASSETS + "{digest}/{name}", include_in_schema=False)
async def page_asset(request: Request, digest: str, name: str) -> Response:
    """A script, style sheet, icon or table of texts of the page."""
    site = _load()
    file = site.files.get(name)
    if file is None or name == INDEX or digest != site.digest:
        raise NotFoundError("no file of the page has this name and version; reload the page")
    return _respond(request, file, {"Content-Security-Policy": "default-src 'none'", "Cache-Control": _ONE_YEAR})


def _respond(request: Request, file: _File, headers: dict[str, str]) -> Response:
    """The file, compressed if the client accepts gzip."""
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        headers = {**headers, "Content-Encoding": "gzip"}
        return Response(file.compressed, media_type=file.media_type, headers=_HEADERS | headers)
    return Response(file.content, media_type=file.media_type, headers=_HEADERS | headers)


def _policy(image_origin: str | None) -> str:
    """The Content-Security-Policy of the page. Users enter API keys on it, so it runs only its own scripts.

    Args:
        image_origin: origin of the marks, if it is not the page's own.
    """
    images = "'self' data: blob:" + (f" {image_origin}" if image_origin else "")
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {images}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _image_origin(request: Request, links: Links) -> str | None:
    """The origin of image links: that of the S3 store, or of LOGO_PUBLIC_URL. None: the page's own, or no image store.

    It is taken from a signed link, because the host of an S3 link depends on endpoint, region and bucket.
    """
    try:
        link = links.sign(["x"])[0]
    except StoreError:  # no credentials at the moment: searches report it, and have no images to show
        return None
    if link is None:
        return None
    parts = urlsplit(link)
    origin = f"{parts.scheme}://{parts.netloc}"
    if origin == f"{request.url.scheme}://{request.url.netloc}":
        return None
    # The host may come from the Host header of the request; it must not add a directive.
    return origin if _ORIGIN.fullmatch(origin) else None


@cache
def _load() -> _Site:
    """Read the files of the page. No other file is served. They take 0.3 MB of memory."""
    contents = {
        file.name: file.read_bytes()
        for file in sorted((files("logo_similarity") / "web").iterdir(), key=lambda file: file.name)
        if file.name.rpartition(".")[2] in MEDIA_TYPES
    }
    everything = b"\0".join(name.encode() + b"\0" + content for name, content in contents.items())
    digest = hashlib.sha256(everything).hexdigest()[:16]
    folder = f"{ASSETS.removeprefix('/')}{digest}/".encode()
    contents[INDEX] = contents[INDEX].replace(b'="assets/', b'="' + folder)
    return _Site(
        digest,
        {
            name: _File(MEDIA_TYPES[name.rpartition(".")[2]], content, gzip.compress(content, 9, mtime=0))
            for name, content in contents.items()
        },
    )

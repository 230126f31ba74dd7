"""The policy of every route: required role, admission, logging and tracing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from logo_similarity.keys.document import Role

SEARCH_PATH, BATCH_PATH, EXPLAIN_PATH = "/v1/search", "/v1/search/batch", "/v1/explain"
REPORT_PATH = "/v1/report"
LOGOS_PATH, LOGO_PATH = "/v1/logos", "/v1/logos/{logo_id:path}"
WATCHES_PATH, FEED_PATH = "/v1/watches", "/v1/watches/feed"
UNMATCHED = "unmatched"
"""Template of a path that no route matches, in metrics and logs too."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of one route."""

    role: Role | None
    """The required role; None: no key is required."""
    admission: bool = False
    """Whether a request needs a search thread and is refused early if too many are waiting."""
    form: str | None = None
    """What to send, if the body of an admitted request must be a form."""
    log_level: int = logging.INFO
    """Level of a request's log line."""
    traced: bool = True


_SEARCH = Policy(
    "search",
    admission=True,
    form="send multipart/form-data with the image in the field `file`: curl -F file=@logo.png; or words: curl -F words=example",
)
_WRITE = Policy(
    "write",
    admission=True,
    form="send multipart/form-data: curl -F image=@logo.png -F 'record={...}'",
)
_PROBE = Policy(None, log_level=logging.DEBUG, traced=False)

# By path template. A span contains the whole path, so signed image links are not traced.
POLICIES: Mapping[str, Policy] = {
    "/": Policy(None),
    "/web/{digest}/{name}": Policy(None, traced=False),
    "/docs": Policy(None),
    "/docs/assets/{digest}/{name}": Policy(None, traced=False),
    "/openapi.json": Policy(None),
    "/healthz": _PROBE,
    "/readyz": _PROBE,
    "/metrics": _PROBE,
    SEARCH_PATH: _SEARCH,
    BATCH_PATH: replace(
        _SEARCH, form="send multipart/form-data with images in the field `file`: curl -F file=@logo.png"
    ),
    EXPLAIN_PATH: _SEARCH,
    "/v1/catalog": Policy("search"),
    "/v1/facets": Policy("search"),
    LOGOS_PATH: Policy("search"),
    REPORT_PATH: Policy(
        "search",
        admission=True,
        form="send multipart/form-data with the case in the field `case`: curl -F case=@case.json",
    ),
    LOGO_PATH: Policy("search"),
    "/v1/image/{image_id:path}": Policy("search"),
    "/v1/classification/vienna": Policy("search"),
    "/v1/classification/nice": Policy("search"),
    "/v1/files/{token}/{name}": Policy(None, traced=False),
    WATCHES_PATH: Policy("search"),
    FEED_PATH: Policy("search"),
    FEED_PATH + "/{token}": Policy(None, traced=False),
    "/v1/watches/{watch_id}": Policy("search"),
    "/v1/watches/{watch_id}/alerts": Policy("search"),
    "/v1/keys": Policy("admin"),
    UNMATCHED: Policy("admin", traced=False),  # the path may contain part of a signed link
}
WRITES: Mapping[tuple[str, str], Policy] = {
    ("POST", LOGOS_PATH): _WRITE,
    ("PUT", LOGO_PATH): _WRITE,
    ("PATCH", LOGO_PATH): replace(_WRITE, form=None),  # JSON, too
    ("DELETE", LOGO_PATH): replace(_WRITE, form=None),
}
"""By method and path template: routes that change logos, on paths that others only read."""
_UNLISTED = Policy("admin")


def policy_of(template: str, method: str = "GET") -> Policy:
    """The policy of a route. Unlisted routes require the role admin, so new routes are closed by default."""
    return WRITES.get((method, template)) or POLICIES.get(template, _UNLISTED)

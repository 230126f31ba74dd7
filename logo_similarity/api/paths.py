"""The policy of every route: who may use it, and how its requests are admitted, logged and traced."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from logo_similarity.keys.document import Role

SEARCH_PATH = "/v1/search"
UNMATCHED = "unmatched"
"""Stands for the template of a path that no route matches, in metrics and logs too."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of one route."""

    role: Role | None
    """The role that a key must have; None: no key is required."""
    admission: bool = False
    """Whether a POST request takes a search thread, and is refused early when too many are waiting for one."""
    log_level: int = logging.INFO
    """Of the log line of a request."""
    traced: bool = True


_PROBE = Policy(None, log_level=logging.DEBUG, traced=False)

# By the template of the route's path. A span holds the whole path, so the links of images, which are signed, are not traced.
POLICIES: Mapping[str, Policy] = {
    "/": Policy(None),
    "/docs": Policy(None),
    "/docs/assets/{digest}/{name}": Policy(None, traced=False),
    "/openapi.json": Policy(None),
    "/healthz": _PROBE,
    "/readyz": _PROBE,
    "/metrics": _PROBE,
    SEARCH_PATH: Policy("search", admission=True),
    "/v1/logos/{logo_id:path}": Policy("search"),
    "/v1/image/{image_id:path}": Policy("search"),
    "/v1/files/{token}/{name}": Policy(None, traced=False),
    "/v1/keys": Policy("admin"),
    UNMATCHED: Policy("admin", traced=False),  # the path may hold part of a signed link
}
_UNLISTED = Policy("admin")


def policy_of(template: str) -> Policy:
    """The policy of a route. A route that is not in the table requires the role admin: a new route is closed by default."""
    return POLICIES.get(template, _UNLISTED)

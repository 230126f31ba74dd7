"""`GET /v1/keys`: who may ask, and how much of it was used today. For keys of the role admin."""

from __future__ import annotations

import datetime as dt

from logo_similarity.api.deps import RuntimeDep
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.api.schemas import KeyOut, KeysOut

router = CheckedRouter()


@router.get("/v1/keys", summary="The API keys of this service and their use today")
def keys(runtime: RuntimeDep) -> KeysOut:
    """Without secrets and digests. Keys are made and revoked by `logo-similarity keys`, where the document of the keys lies."""
    now = dt.datetime.now(dt.UTC)
    return KeysOut(
        keys=[
            KeyOut(
                id=key.id,
                name=key.name,
                role=key.role,
                state=key.state(now),
                created=key.created,
                expires=key.expires(),
                revoked=key.revoked,
                rate=key.rate,
                quota=key.quota,
                requests_today=runtime.keys.today(key),
            )
            for key in runtime.keys.document.keys
        ]
    )

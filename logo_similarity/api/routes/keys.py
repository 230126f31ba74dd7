"""`GET /v1/keys`: the API keys and their usage today. Requires the role admin."""

from __future__ import annotations

import datetime as dt

from logo_similarity.api.deps import RuntimeDep
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.api.schemas import KeyOut, KeysOut

router = CheckedRouter()


@router.get("/v1/keys", summary="List API keys and their usage today")
def keys(runtime: RuntimeDep) -> KeysOut:
    """Omits secrets and digests. Create and revoke keys with `logo-similarity keys`."""
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
                requests_today=runtime.keys.usage.today(key),
            )
            for key in runtime.keys.document.keys
        ]
    )

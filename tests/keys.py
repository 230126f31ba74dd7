"""API keys for tests."""

from __future__ import annotations

import datetime as dt

from logo_similarity.keys.document import KeyDocument, Role
from logo_similarity.keys.store import KeyStore


def make_key(
    store: KeyStore,
    name: str,
    *,
    role: Role = "search",
    lives: dt.timedelta | None = None,
    rate: str | None = None,
    quota: int | None = None,
) -> str:
    """The secret of a new key, which expires after `lives`; None: never."""
    now = dt.datetime.now(dt.UTC)

    def change(document: KeyDocument) -> tuple[KeyDocument, str]:
        changed, _, secret = document.created(
            name, role=role, expires=None if lives is None else now + lives, rate=rate, quota=quota, by="test", now=now
        )
        return changed, secret

    return store.change(change)

from __future__ import annotations

import datetime as dt

import pytest

from logo_similarity.errors import UnauthorizedError
from logo_similarity.keys.document import Key, Secret, digest_of
from logo_similarity.keys.ring import KeyRing

NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


def key(name: str, *secrets: Secret, revoked: dt.datetime | None = None) -> Key:
    return Key(id=name, name=name, created=NOW, revoked=revoked, secrets=secrets)


def secret(text: str, expires: dt.datetime | None = None) -> Secret:
    return Secret(sha256=digest_of(text), expires=expires)


def test_every_secret_of_a_key_is_accepted() -> None:
    team, other = key("team", secret("old"), secret("new")), key("other", secret("third"))
    ring = KeyRing((team, other))
    assert [ring.find(text, NOW) for text in (b"old", b"new", b"third")] == [team, team, other]
    assert len(ring) == 3


@pytest.mark.parametrize("text", [b"", b"wrong", b"OLD", b"old ", digest_of("old").encode(), b"\xff"])
def test_any_other_text_is_refused(text: bytes) -> None:
    with pytest.raises(UnauthorizedError, match="send exactly one valid key"):
        KeyRing((key("team", secret("old")),)).find(text, NOW)


def test_a_secret_is_refused_from_its_expiry_on() -> None:
    team = key("team", secret("old", NOW), secret("new"))
    ring = KeyRing((team,))
    assert ring.find(b"old", NOW - SECOND) == team
    for moment in (NOW, NOW + SECOND):
        with pytest.raises(UnauthorizedError, match=r"this key expired at 2026-11-25T12:00:00\+00:00"):
            ring.find(b"old", moment)
        assert ring.find(b"new", moment) == team


def test_a_revoked_key_is_refused() -> None:
    ring = KeyRing((key("team", secret("old", NOW), revoked=NOW),))
    for moment in (NOW - SECOND, NOW + SECOND):
        with pytest.raises(UnauthorizedError, match=r"this key was revoked at 2026-11-25T12:00:00\+00:00"):
            ring.find(b"old", moment)

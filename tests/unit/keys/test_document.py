from __future__ import annotations

import datetime as dt

import pytest

from logo_similarity.errors import InvalidRequestError, KeyNotFoundError
from logo_similarity.keys.document import PREFIX, Key, KeyDocument, digest_of, parse_rate

NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def made(document: KeyDocument, name: str, **facts: object) -> tuple[KeyDocument, Key, str]:
    given = {"role": "search", "expires": None, "rate": None, "quota": None, "by": "me@here", "now": NOW} | facts
    return document.created(name, **given)  # type: ignore[arg-type]


def test_a_key_is_kept_as_a_digest_only() -> None:
    document, key, secret = made(KeyDocument(), "team", rate="10/second", quota=100)
    assert secret.startswith(PREFIX)
    assert len(secret) >= 40
    text = document.model_dump_json()
    assert secret not in text
    assert digest_of(secret) in text
    assert document.find("team") == document.find(key.id) == key
    assert KeyDocument.model_validate_json(text) == document


def test_two_keys_never_have_the_same_secret() -> None:
    assert len({made(KeyDocument(), "team")[2] for _ in range(50)}) == 50


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a" * 65, "a\n", "é", "a/b"])
def test_a_name_that_cannot_be_one(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not a valid name of a key"):
        made(KeyDocument(), name)


def test_a_name_is_taken_until_its_key_is_revoked() -> None:
    document, first, _ = made(KeyDocument(), "team")
    with pytest.raises(InvalidRequestError, match="already"):
        made(document, "team")
    with pytest.raises(InvalidRequestError, match="already"):
        made(document, first.id)
    document, _ = document.revoked("team", by="me@here", now=NOW)
    document, second, _ = made(document, "team")
    assert document.find("team") == second
    with pytest.raises(KeyNotFoundError):
        document.find(first.id)


BAD_RATES = [
    "", "fast", "10", "0/second", "-1/second", "10/second;5/minute", "10/fortnight", "1.5/second", "1001/second", "10/day",
    "5 per 2 hours", "5 per 3601 seconds",
]  # fmt: skip


@pytest.mark.parametrize("rate", BAD_RATES)
def test_a_rate_that_cannot_be_read(rate: str) -> None:
    with pytest.raises(InvalidRequestError, match="rate limit"):
        made(KeyDocument(), "team", rate=rate)


@pytest.mark.parametrize(
    ("rate", "seconds"), [("1000/second", 1), ("1/minute", 60), ("5 per 10 seconds", 10), ("7/hour", 3_600)]
)
def test_a_rate_is_a_number_in_a_time(rate: str, seconds: int) -> None:
    assert parse_rate(rate).get_expiry() == seconds


def test_states() -> None:
    document, key, _ = made(KeyDocument(), "team", expires=NOW + HOUR)
    assert key.state(NOW) == "active"
    assert key.state(NOW + HOUR) == "expired"
    _, key = document.revoked("team", by="me@here", now=NOW)
    assert key.state(NOW) == "revoked"
    assert key.state(NOW + HOUR) == "revoked"


def test_a_revoked_key_cannot_be_changed() -> None:
    document, _, _ = made(KeyDocument(), "team")
    document, _ = document.revoked("team", by="me@here", now=NOW)
    with pytest.raises(KeyNotFoundError, match=r"'team' was revoked at 2026-11-25T12:00:00\+00:00"):
        document.revoked("team", by="me@here", now=NOW)
    with pytest.raises(KeyNotFoundError, match="keys create"):
        document.rotated("team", overlap=HOUR, expires=None, by="me@here", now=NOW)


def test_rotation_without_overlap_leaves_the_new_secret_only() -> None:
    document, key, old = made(KeyDocument(), "team", rate="10/second")
    document, rotated, new = document.rotated("team", overlap=dt.timedelta(), expires=None, by="me@here", now=NOW)
    assert new != old
    assert [secret.sha256 for secret in rotated.secrets] == [digest_of(new)]
    assert (rotated.id, rotated.rate, rotated.role) == (key.id, key.rate, key.role)
    assert document.keys == (rotated,)


def test_rotation_with_overlap_lets_the_old_one_open_until_then_but_not_longer_than_it_would() -> None:
    document, _, old = made(KeyDocument(), "team")
    document, rotated, new = document.rotated("team", overlap=HOUR, expires=None, by="me@here", now=NOW)
    assert [(one.sha256, one.expires) for one in rotated.secrets] == [
        (digest_of(old), NOW + HOUR),
        (digest_of(new), None),
    ]
    # Again, with a longer overlap: the first still ends when it was going to; and once it has ended, it is gone.
    _, again, _ = document.rotated("team", overlap=3 * HOUR, expires=None, by="me@here", now=NOW)
    assert [one.expires for one in again.secrets] == [NOW + HOUR, NOW + 3 * HOUR, None]
    _, later, _ = document.rotated("team", overlap=HOUR, expires=None, by="me@here", now=NOW + 2 * HOUR)
    assert [one.sha256 for one in later.secrets[:-1]] == [digest_of(new)]


def test_rotation_keeps_the_end_of_a_key_unless_another_is_said() -> None:
    document, _, _ = made(KeyDocument(), "team", expires=NOW + 2 * HOUR)
    for _ in range(2):
        document, key, _ = document.rotated("team", overlap=HOUR, expires=None, by="me@here", now=NOW)
        assert key.expires() == NOW + 2 * HOUR
    for hours in (2, 3):  # at its expiry, and later
        with pytest.raises(InvalidRequestError, match="--days"):
            document.rotated("team", overlap=HOUR, expires=None, by="me@here", now=NOW + hours * HOUR)
    _, key, _ = document.rotated("team", overlap=HOUR, expires=NOW + 9 * HOUR, by="me@here", now=NOW + 3 * HOUR)
    assert key.state(NOW + 8 * HOUR) == "active"


def test_every_change_is_in_the_audit_log() -> None:
    document, key, secret = made(KeyDocument(), "team", role="admin", expires=NOW + HOUR)
    document, _, second = document.rotated("team", overlap=HOUR, expires=None, by="you@there", now=NOW + HOUR / 2)
    document, _ = document.revoked(key.id, by="me@here", now=NOW + HOUR)
    assert [(one.at, one.by, one.action, one.id, one.name) for one in document.audit] == [
        (NOW, "me@here", "create", key.id, "team"),
        (NOW + HOUR / 2, "you@there", "rotate", key.id, "team"),
        (NOW + HOUR, "me@here", "revoke", key.id, "team"),
    ]
    assert document.audit[0].detail == {
        "role": "admin",
        "expires": "2026-11-25T13:00:00+00:00",
        "rate": None,
        "quota": None,
    }
    for text in (secret, second, digest_of(secret)):
        assert text not in str([change.model_dump_json() for change in document.audit])


def test_a_document_as_the_first_version_wrote_it_is_read() -> None:
    """Never changed: later versions must read it, too."""
    text = """
        {"format": 1,
         "keys": [{"id": "7739aa6f", "name": "team-a", "role": "search", "created": "2026-11-25T02:51:35.330393Z",
                   "revoked": null, "rate": "5/second", "quota": 8,
                   "secrets": [{"sha256": "A", "expires": "2026-12-25T00:00:00Z"}, {"sha256": "B", "expires": null}]}],
         "audit": [{"at": "2026-11-25T02:51:35.330393Z", "by": "root@host", "action": "create", "id": "7739aa6f",
                    "name": "team-a", "detail": {"role": "search", "expires": null, "rate": "5/second", "quota": 8}}]}
    """
    document = KeyDocument.model_validate_json(text.replace('"A"', f'"{"0" * 64}"').replace('"B"', f'"{"1" * 64}"'))
    key = document.find("team-a")
    assert (key.rate, key.quota, len(key.secrets), key.expires()) == ("5/second", 8, 2, None)
    assert document.audit[0].action == "create"

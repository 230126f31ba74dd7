"""The document that holds all API keys and the history of their changes, and the changes that there can be.

It holds digests only. Each function takes a document and gives another one: reading and writing it is `keys.place`'s.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from limits import RateLimitItem, parse_many
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from logo_similarity.errors import InvalidRequestError, KeyNotFoundError

PREFIX = "lsk_"
"""What every key begins with, so that a scanner for leaked secrets can tell one."""
SECRET_BYTES = 32
MOST_HITS, LONGEST_WINDOW = 1_000, 3_600
"""Of a rate: each request in its window is kept, and counted at the next."""
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._@\-]{0,63}$")

Role = Literal["search", "admin"]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Secret(_Part):
    """One text that opens with a key: a rotated key has two while the old one still works."""

    sha256: Sha256
    expires: AwareDatetime | None = None


class Key(_Part):
    """A key: whom it is for, what it may do, how often, and until when."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._@\-]{1,64}$")]
    """Public: logs, metrics and the audit log name the key by it."""
    name: str
    role: Role = "search"
    created: AwareDatetime
    revoked: AwareDatetime | None = None
    rate: str | None = None
    """Requests in a time, as `limits` writes it: "10/second". None: no bound."""
    quota: Annotated[int, Field(gt=0)] | None = None
    """Requests in a day (UTC). None: no bound."""
    secrets: tuple[Secret, ...]

    @field_validator("rate")
    @classmethod
    def _rate_can_be_read(cls, value: str | None) -> str | None:
        if value is not None:
            parse_rate(value)
        return value

    def expires(self) -> dt.datetime | None:
        """When the last of its secrets ends; None where one never does."""
        ends = [secret.expires for secret in self.secrets]
        return None if None in ends else max(end for end in ends if end is not None)

    def state(self, now: dt.datetime) -> Literal["active", "expired", "revoked"]:
        """Whether it opens at that time, or why not."""
        if self.revoked is not None:
            return "revoked"
        expires = self.expires()
        return "expired" if expires is not None and expires <= now else "active"


class Change(_Part):
    """One line of the audit log."""

    at: AwareDatetime
    by: str
    action: Literal["create", "revoke", "rotate"]
    id: str
    name: str
    detail: Mapping[str, str | int | None] = {}


class KeyDocument(_Part):
    """All keys, those that were revoked too, and every change to them, oldest first."""

    format: Literal[1] = 1
    keys: tuple[Key, ...] = ()
    audit: tuple[Change, ...] = ()

    def find(self, name: str) -> Key:
        """The key of that id, or that name, that is not revoked.

        Raises:
            KeyNotFoundError: there is none.
        """
        for key in self.keys:
            if name in (key.id, key.name) and key.revoked is None:
                return key
        raise KeyNotFoundError(
            f"no key {name!r} that could be changed; `logo-similarity keys list` shows those there are"
        )

    def created(
        self,
        name: str,
        *,
        role: Role,
        expires: dt.datetime | None,
        rate: str | None,
        quota: int | None,
        by: str,
        now: dt.datetime,
    ) -> tuple[KeyDocument, Key, str]:
        """With a new key.

        Returns:
            The document, the key, and the secret, which is not kept anywhere.

        Raises:
            InvalidRequestError: the name can't be one or is taken, or the rate can't be read.
        """
        if not NAME.fullmatch(name):
            raise InvalidRequestError(
                f"{name!r}: a name has up to 64 letters, digits and . _ - @, and begins with a letter or digit"
            )
        if any(name in (key.id, key.name) for key in self.keys if key.revoked is None):
            raise InvalidRequestError(f"there is a key {name!r} already: rotate it, revoke it, or choose another name")
        if rate is not None:
            parse_rate(rate)
        secret = _new_secret()
        key = Key(
            id=secrets.token_hex(4),
            name=name,
            role=role,
            created=now,
            rate=rate,
            quota=quota,
            secrets=(Secret(sha256=digest_of(secret), expires=expires),),
        )
        detail = {"role": role, "expires": _text(expires), "rate": rate, "quota": quota}
        return self._with(key, "create", by, now, detail), key, secret

    def revoked(self, name: str, *, by: str, now: dt.datetime) -> tuple[KeyDocument, Key]:
        """With that key revoked for ever. Raises KeyNotFoundError."""
        key = self.find(name).model_copy(update={"revoked": now})
        return self._with(key, "revoke", by, now, {}), key

    def rotated(
        self, name: str, *, overlap: dt.timedelta, expires: dt.datetime | None, by: str, now: dt.datetime
    ) -> tuple[KeyDocument, Key, str]:
        """With a new secret for that key, beside which the old one still opens for a while.

        Without `expires`, the key ends when it would have.

        Returns:
            The document, the key, and the new secret, which is not kept anywhere.

        Raises:
            KeyNotFoundError: there is no such key.
            InvalidRequestError: its time is over, and no other was given.
        """
        key = self.find(name)
        secret = _new_secret()
        end = now + overlap
        # Of what is valid now only: what has ended does not come back, and what would end earlier still does.
        old = tuple(
            one.model_copy(update={"expires": min(end, one.expires or end)})
            for one in key.secrets
            if end > now and (one.expires is None or one.expires > now)
        )
        expires = expires or key.expires()
        if expires is not None and expires <= now:
            raise InvalidRequestError(
                f"the time of {key.name!r} was over at {_text(expires)}: say --days for a new one"
            )
        key = key.model_copy(update={"secrets": (*old, Secret(sha256=digest_of(secret), expires=expires))})
        detail = {"old_until": _text(end) if old else None, "expires": _text(expires)}
        return self._with(key, "rotate", by, now, detail), key, secret

    def _with(
        self,
        key: Key,
        action: Literal["create", "revoke", "rotate"],
        by: str,
        now: dt.datetime,
        detail: Mapping[str, str | int | None],
    ) -> Self:
        keys = {one.id: one for one in self.keys} | {key.id: key}
        change = Change(at=now, by=by, action=action, id=key.id, name=key.name, detail=detail)
        return self.model_copy(update={"keys": tuple(keys.values()), "audit": (*self.audit, change)})


def _text(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def digest_of(secret: str) -> str:
    """Hex sha256 of a key as its owner sends it. No salt, no stretching: it has 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


@functools.lru_cache(1024)
def parse_rate(text: str) -> RateLimitItem:
    """The rate that a text like "10/second" or "100 per 5 minutes" means. Raises InvalidRequestError."""
    try:
        (rate,) = parse_many(text)
    except ValueError:
        raise InvalidRequestError(
            f"{text!r}: not a rate; write requests per second, minute, hour or day, as in 10/second or 100/minute"
        ) from None
    if rate.amount < 1:
        raise InvalidRequestError(f"{text!r}: a key that may ask for nothing is a revoked one")
    if rate.amount > MOST_HITS or rate.get_expiry() > LONGEST_WINDOW:
        raise InvalidRequestError(f"{text!r}: at most {MOST_HITS:,} requests in at most an hour; --quota bounds a day")
    return rate


def _new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)

"""The document of all API keys and the history of their changes, and the operations that change it.

It holds digests, not secrets. The operations return a new document; `keys.store` reads and writes it.
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
"""Prefix of every secret, by which scanners for leaked secrets recognise it."""
SECRET_BYTES = 32
MOST_HITS, LONGEST_WINDOW = 1_000, 3_600
"""Limits of a rate: every request in its window is stored, and counted at the next one."""
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._@\-]{0,63}$")

Role = Literal["search", "write", "admin"]
"""What a key may do: search; search, and change logos; everything."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Secret(_Part):
    """The digest of one secret of a key. A rotated key has two secrets while the old one is still valid."""

    sha256: Sha256
    expires: AwareDatetime | None = None


class Key(_Part):
    """A key: its name, role, limits and secrets."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._@\-]{1,64}$")]
    """Not secret: it identifies the key in logs, metrics and the audit log."""
    name: str
    role: Role = "search"
    created: AwareDatetime
    revoked: AwareDatetime | None = None
    rate: str | None = None
    """Rate limit in the notation of `limits`: "10/second". None: no limit."""
    quota: Annotated[int, Field(gt=0)] | None = None
    """Maximum requests a day (UTC). None: no limit."""
    secrets: tuple[Secret, ...]

    @field_validator("rate")
    @classmethod
    def _check_rate(cls, value: str | None) -> str | None:
        if value is not None:
            parse_rate(value)
        return value

    def expires(self) -> dt.datetime | None:
        """Expiry of the secret that is valid longest; None if one never expires."""
        expiries = [secret.expires for secret in self.secrets]
        return None if None in expiries else max(expiry for expiry in expiries if expiry is not None)

    def state(self, now: dt.datetime) -> Literal["active", "expired", "revoked"]:
        """The state of the key at that time."""
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
    """All keys, including revoked ones, and every change to them, oldest first."""

    format: Literal[1] = 1
    keys: tuple[Key, ...] = ()
    audit: tuple[Change, ...] = ()

    def find(self, name: str) -> Key:
        """The key with that id or name that is not revoked.

        Raises:
            KeyNotFoundError: there is none.
        """
        matches = [key for key in self.keys if name in (key.id, key.name)]
        for key in matches:
            if key.revoked is None:
                return key
        if matches:
            raise KeyNotFoundError(
                f"the key {name!r} was revoked at {_text(matches[-1].revoked)} and cannot be changed; "
                "create a new key with `logo-similarity keys create NAME`"
            )
        raise KeyNotFoundError(f"no key {name!r} exists; list the keys with `logo-similarity keys list --all`")

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
        """The document with a new key.

        Returns:
            The document, the key, and the secret, which is stored nowhere.

        Raises:
            InvalidRequestError: the name is invalid or taken, or the rate is invalid.
        """
        if not NAME.fullmatch(name):
            raise InvalidRequestError(
                f"{name!r} is not a valid name of a key; use 1 to 64 letters, digits, '.', '_', '-' or '@', "
                "beginning with a letter or a digit"
            )
        if any(name in (key.id, key.name) for key in self.keys if key.revoked is None):
            raise InvalidRequestError(f"a key {name!r} already exists; rotate it, revoke it, or choose another name")
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
        """The document with that key revoked, and the key. Raises KeyNotFoundError."""
        key = self.find(name).model_copy(update={"revoked": now})
        return self._with(key, "revoke", by, now, {}), key

    def rotated(
        self, name: str, *, overlap: dt.timedelta, expires: dt.datetime | None, by: str, now: dt.datetime
    ) -> tuple[KeyDocument, Key, str]:
        """The document with a new secret for that key. The old secret remains valid for `overlap`.

        Without `expires`, the expiry of the key is kept.

        Returns:
            The document, the key, and the new secret, which is stored nowhere.

        Raises:
            KeyNotFoundError: there is no such key.
            InvalidRequestError: the key has expired, and no new expiry is given.
        """
        key = self.find(name)
        secret = _new_secret()
        overlap_end = now + overlap
        # An expired secret does not become valid again, and none becomes valid for longer than before.
        old = tuple(
            one.model_copy(update={"expires": min(overlap_end, one.expires or overlap_end)})
            for one in key.secrets
            if overlap_end > now and (one.expires is None or one.expires > now)
        )
        expires = expires or key.expires()
        if expires is not None and expires <= now:
            raise InvalidRequestError(
                f"the key {key.name!r} expired at {_text(expires)}; give it a new lifetime with --days"
            )
        key = key.model_copy(update={"secrets": (*old, Secret(sha256=digest_of(secret), expires=expires))})
        detail = {"old_until": _text(overlap_end) if old else None, "expires": _text(expires)}
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
    """Hex sha256 of a secret. It needs neither salt nor stretching, since it has 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


@functools.lru_cache(1024)
def parse_rate(text: str) -> RateLimitItem:
    """The rate limit of a text like "10/second" or "100 per 5 minutes". Raises InvalidRequestError."""
    try:
        (rate,) = parse_many(text)
    except ValueError:
        raise InvalidRequestError(
            f"{text!r} is not a rate limit; write requests per second, minute or hour, as 10/second or 100/minute"
        ) from None
    if rate.amount < 1:
        raise InvalidRequestError(f"the rate limit {text!r} allows no request; to disable a key, revoke it")
    if rate.amount > MOST_HITS or rate.get_expiry() > LONGEST_WINDOW:
        raise InvalidRequestError(
            f"the rate limit {text!r} is too large: at most {MOST_HITS:,} requests in at most an hour are allowed; "
            "use --quota for a limit a day"
        )
    return rate


def _new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)

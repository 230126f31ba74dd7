"""`logo-similarity keys ...`: API keys."""

from __future__ import annotations

import datetime as dt
import getpass
import socket
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.table import Column, Table

from logo_similarity.commands.options import AsJson, example
from logo_similarity.config import load_settings
from logo_similarity.errors import ConfigError
from logo_similarity.terminal import err, out, print_json, print_table

if TYPE_CHECKING:
    from logo_similarity.config import Settings
    from logo_similarity.keys.document import Key, KeyDocument

keys_app = typer.Typer(
    help="Create, list, rotate and revoke API keys.\n\nRunning services apply every change within seconds.",
    no_args_is_help=True,
)

Keys = Annotated[
    str | None,
    typer.Option("--keys", help="Keys file, or s3://bucket/prefix if replicas share the keys.  [LOGO_KEYS]"),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the key.")]


@keys_app.command("create", epilog=example("keys create team-a --rate 10/second --keys keys.json"))
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the team or the program that uses the key.")],
    role: Annotated[
        Literal["search", "write", "admin"],
        typer.Option(help="search: search and get logos; write: change logos, too; admin: everything."),
    ] = "search",
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Days until it expires. Default: it does not expire.")
    ] = None,
    rate: Annotated[str | None, typer.Option(help="Rate limit, as 10/second or 100/minute. Default: none.")] = None,
    quota: Annotated[int | None, typer.Option(min=1, help="Maximum requests a day (UTC). Default: none.")] = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it once; only its digest is stored.

    Rate limits and quotas are counted on each machine separately, unless LOGO_USAGE_URL names a server for all.
    """
    from logo_similarity.keys.store import open_key_store

    now = dt.datetime.now(dt.UTC)
    key, secret = open_key_store(load_settings(keys=keys)).change(
        lambda document: _pair(
            document.created(name, role=role, expires=_after(now, days), rate=rate, quota=quota, by=_author(), now=now)
        )
    )
    _show_secret(key, secret, as_json=as_json)


@keys_app.command("list", epilog=example("keys list --keys keys.json"))
def list_keys(
    every: Annotated[bool, typer.Option("--all", help="Include revoked and expired keys.")] = False,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """List the keys and their requests of today.

    Only requests to this machine are counted, unless LOGO_USAGE_URL is set. A day begins at 00:00 UTC.
    """
    from logo_similarity.keys.store import open_key_store

    settings = load_settings(keys=keys)
    now = dt.datetime.now(dt.UTC)
    document = open_key_store(settings).read()
    selection = [key for key in document.keys if every or key.state(now) == "active"]
    try:
        counts = _requests_today(settings, selection)
    except ConfigError as error:
        counts = {}
        if selection:
            err.print(f"the number of requests today is unknown: {error}", style="yellow")
    rows = [_public(key, now) | {"requests_today": counts.get(key.id)} for key in selection]
    if as_json:
        print_json(rows)
        return
    table = Table(
        Column("id", min_width=8), Column("name", overflow="fold"), "role", "state", Column("expires", min_width=10),
        Column("limits", overflow="fold"), "today", box=box.SIMPLE_HEAD,
    )  # fmt: skip
    for key in selection:
        expires = key.expires()
        limits = [key.rate] if key.rate else []
        limits += [f"{key.quota:,}/day"] if key.quota else []
        today = counts.get(key.id)
        table.add_row(
            key.id,
            key.name,
            key.role,
            key.state(now),
            f"{expires:%Y-%m-%d}" if expires else "",
            " ".join(limits),
            "unknown" if today is None else f"{today:,}",
        )
    print_table(table)
    if not document.keys:
        err.print(f"no keys in {settings.keys}; create one with `logo-similarity keys create NAME`")


@keys_app.command("revoke", epilog=example("keys revoke team-a --keys keys.json"))
def revoke(name: Name, keys: Keys = None, as_json: AsJson = False) -> None:
    """Revoke a key permanently.

    Running services reject it within five seconds.
    """
    from logo_similarity.keys.store import open_key_store

    now = dt.datetime.now(dt.UTC)
    key = open_key_store(load_settings(keys=keys)).change(
        lambda document: document.revoked(name, by=_author(), now=now)
    )
    if as_json:
        print_json(_public(key, now))
    else:
        out.print(f"{key.name} ({key.id}) is revoked")


@keys_app.command("rotate", epilog=example("keys rotate team-a --overlap-hours 24 --keys keys.json"))
def rotate(
    name: Name,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=8760, help="Hours for which the old secret remains valid. Default: 0.")
    ] = 0.0,
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Days until the key expires. Default: unchanged.")
    ] = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret and print it once.

    The id, the role, the limits and the expiry of the key are kept.
    """
    from logo_similarity.keys.store import open_key_store

    now = dt.datetime.now(dt.UTC)
    overlap = dt.timedelta(hours=overlap_hours)
    key, secret = open_key_store(load_settings(keys=keys)).change(
        lambda document: _pair(
            document.rotated(name, overlap=overlap, expires=_after(now, days), by=_author(), now=now)
        )
    )
    _show_secret(key, secret, as_json=as_json)


@keys_app.command("audit", epilog=example("keys audit --keys keys.json"))
def audit(keys: Keys = None, as_json: AsJson = False) -> None:
    """List every change of the keys: time, author and action."""
    from logo_similarity.keys.store import open_key_store

    changes = open_key_store(load_settings(keys=keys)).read().audit
    if as_json:
        print_json([change.model_dump(mode="json") for change in changes])
        return
    table = Table(
        "time (UTC)", Column("author", overflow="fold"), "action", Column("id", min_width=8),
        Column("name", overflow="fold"), Column("detail", overflow="fold"), box=box.SIMPLE_HEAD,
    )  # fmt: skip
    for change in changes:
        detail = ", ".join(f"{name} {value}" for name, value in change.detail.items() if value is not None)
        table.add_row(f"{change.at:%Y-%m-%d %H:%M:%S}", change.by, change.action, change.id, change.name, detail)
    print_table(table)


def _requests_today(settings: Settings, keys: list[Key]) -> dict[str, int]:
    """Number of admitted requests today (UTC), by the id of the key. Raises ConfigError if it is unknown."""
    from logo_similarity.keys.usage_file import read_usage_file, usage_path
    from logo_similarity.keys.usage_server import UsageServer

    if settings.usage_url is None:
        return read_usage_file(usage_path(settings), keys)
    return UsageServer(settings.usage_url).today(keys)


def _pair(outcome: tuple[KeyDocument, Key, str]) -> tuple[KeyDocument, tuple[Key, str]]:
    document, key, secret = outcome
    return document, (key, secret)


def _show_secret(key: Key, secret: str, *, as_json: bool) -> None:
    """Print the secret alone to stdout, so that a script can read it, and the rest to stderr."""
    if as_json:
        print_json({**_public(key, dt.datetime.now(dt.UTC)), "key": secret})
        return
    err.print(f"{key.name} ({key.id}), role {key.role}: send it as X-API-Key. It is not shown again.")
    print(secret)  # noqa: T201


def _public(key: Key, now: dt.datetime) -> dict[str, object]:
    """Everything about a key but its secrets, ready for JSON."""
    fields = key.model_dump(mode="json", exclude={"secrets"})
    expires = key.expires()
    return fields | {"state": key.state(now), "expires": expires and expires.isoformat()}


def _after(now: dt.datetime, days: int | None) -> dt.datetime | None:
    return None if days is None else now + dt.timedelta(days=days)


def _author() -> str:
    """The user and the host, for the audit log."""
    try:
        user = getpass.getuser()
    except OSError:  # in a container the user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"

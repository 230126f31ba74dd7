"""`logo-similarity keys ...`: makes, shows, changes and ends API keys."""

from __future__ import annotations

import datetime as dt
import getpass
import socket
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table

from logo_similarity.config import load_settings
from logo_similarity.errors import ConfigError
from logo_similarity.terminal import print_json

if TYPE_CHECKING:
    from logo_similarity.keys.document import Key, KeyDocument

out = Console()
err = Console(stderr=True)

keys_app = typer.Typer(help="The API keys. A running service takes every change within seconds.", no_args_is_help=True)

Place = Annotated[
    str | None,
    typer.Option("--keys", help="The file of the keys, or s3://bucket/prefix where replicas share them.  [LOGO_KEYS]"),
]
Name = Annotated[str, typer.Argument(help="Name or id of the key.")]
Days = Annotated[
    int | None, typer.Option(min=1, max=36_500, help="How long it is valid. Default: until it is revoked.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


@keys_app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whom it is for: a team, a program.")],
    role: Annotated[
        Literal["search", "admin"], typer.Option(help="search: may search and look at logos; admin: everything.")
    ] = "search",
    days: Days = None,
    rate: Annotated[str | None, typer.Option(help="How often it may ask, as 10/second or 100/minute.")] = None,
    quota: Annotated[int | None, typer.Option(min=1, help="How often it may ask in a day (UTC).")] = None,
    keys: Place = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is printed this once; only its digest is kept.

    Rates and quotas are counted on each machine.
    """
    from logo_similarity.keys.place import open_keys

    now = dt.datetime.now(dt.UTC)
    key, secret = open_keys(load_settings(keys=keys)).change(
        lambda document: _pair(
            document.created(name, role=role, expires=_after(now, days), rate=rate, quota=quota, by=_who(), now=now)
        )
    )
    _show_secret(key, secret, as_json=as_json)


@keys_app.command("list")
def list_keys(
    every: Annotated[bool, typer.Option("--all", help="Those that were revoked or have expired, too.")] = False,
    keys: Place = None,
    as_json: AsJson = False,
) -> None:
    """Show the keys, and how often each was used today on this machine (UTC)."""
    from logo_similarity.keys.place import open_keys
    from logo_similarity.keys.usage import requests_today, usage_path

    settings = load_settings(keys=keys)
    now = dt.datetime.now(dt.UTC)
    document = open_keys(settings).read()
    shown = [key for key in document.keys if every or key.state(now) == "active"]
    try:
        counts = requests_today(usage_path(settings), shown)
    except ConfigError as error:
        counts = {}
        if shown:
            err.print(f"today's use is unknown: {error}", style="yellow", highlight=False, soft_wrap=True, markup=False)
    facts = [_facts(key, now) | {"requests_today": counts.get(key.id)} for key in shown]
    if as_json:
        print_json(facts)
        return
    table = Table(
        Column("id", min_width=8), Column("name", overflow="fold"), "role", "state", Column("until", min_width=10),
        Column("may ask", overflow="fold"), "today", box=box.SIMPLE_HEAD,
    )  # fmt: skip
    for key, fact in zip(shown, facts, strict=True):
        until = key.expires()
        bounds = [key.rate] if key.rate else []
        bounds += [f"{key.quota:,}/day"] if key.quota else []
        today = fact["requests_today"]
        table.add_row(
            key.id,
            key.name,
            key.role,
            key.state(now),
            f"{until:%Y-%m-%d}" if until else "",
            " ".join(bounds),
            "unknown" if today is None else f"{today:,}",
        )
    out.print(table)
    if not document.keys:
        err.print(
            f"no keys in {settings.keys}; create one with `logo-similarity keys create NAME`",
            highlight=False,
            soft_wrap=True,
        )


@keys_app.command("revoke")
def revoke(name: Name, keys: Place = None, as_json: AsJson = False) -> None:
    """End a key, for ever. A running service refuses it within five seconds."""
    from logo_similarity.keys.place import open_keys

    now = dt.datetime.now(dt.UTC)
    key = open_keys(load_settings(keys=keys)).change(lambda document: document.revoked(name, by=_who(), now=now))
    if as_json:
        print_json(_facts(key, now))
    else:
        out.print(f"{key.name} ({key.id}) is revoked", highlight=False)


@keys_app.command("rotate")
def rotate(
    name: Name,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=8760, help="How long the old one still opens. Default: it ends now.")
    ] = 0.0,
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="How long it is valid from now on. Default: as before.")
    ] = None,
    keys: Place = None,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret, which is printed this once; its id, role, bounds and end stay."""
    from logo_similarity.keys.place import open_keys

    now = dt.datetime.now(dt.UTC)
    overlap = dt.timedelta(hours=overlap_hours)
    key, secret = open_keys(load_settings(keys=keys)).change(
        lambda document: _pair(document.rotated(name, overlap=overlap, expires=_after(now, days), by=_who(), now=now))
    )
    _show_secret(key, secret, as_json=as_json)


@keys_app.command("audit")
def audit(keys: Place = None, as_json: AsJson = False) -> None:
    """Show every change of the keys: when, by whom, what."""
    from logo_similarity.keys.place import open_keys

    changes = open_keys(load_settings(keys=keys)).read().audit
    if as_json:
        print_json([change.model_dump(mode="json") for change in changes])
        return
    table = Table(
        "when", Column("by", overflow="fold"), "what", Column("id", min_width=8), Column("name", overflow="fold"),
        Column("detail", overflow="fold"), box=box.SIMPLE_HEAD,
    )  # fmt: skip
    for change in changes:
        detail = ", ".join(f"{name} {value}" for name, value in change.detail.items() if value is not None)
        table.add_row(f"{change.at:%Y-%m-%d %H:%M:%S}", change.by, change.action, change.id, change.name, detail)
    out.print(table)


def _pair(made: tuple[KeyDocument, Key, str]) -> tuple[KeyDocument, tuple[Key, str]]:
    document, key, secret = made
    return document, (key, secret)


def _show_secret(key: Key, secret: str, *, as_json: bool) -> None:
    """The secret alone on stdout, so that a script can take it; what it is, beside it."""
    if as_json:
        print_json({**_facts(key, dt.datetime.now(dt.UTC)), "key": secret})
        return
    err.print(
        f"{key.name} ({key.id}), role {key.role}: send it as X-API-Key. It is not shown again.",
        highlight=False,
        soft_wrap=True,
    )
    print(secret)  # noqa: T201


def _facts(key: Key, now: dt.datetime) -> dict[str, object]:
    facts = key.model_dump(mode="json", exclude={"secrets"})
    expires = key.expires()
    return facts | {"state": key.state(now), "expires": expires and expires.isoformat()}


def _after(now: dt.datetime, days: int | None) -> dt.datetime | None:
    return None if days is None else now + dt.timedelta(days=days)


def _who() -> str:
    """Who makes the change, as far as this machine knows."""
    try:
        user = getpass.getuser()
    except OSError:  # a container's user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"

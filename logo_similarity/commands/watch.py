"""`logo-similarity watch ...`: watches, which report new marks in the register."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Column, Table

from logo_similarity.commands.options import AsJson, Catalogs, Device, Where, example, read_filter, read_image
from logo_similarity.commands.parameters import with_parameters
from logo_similarity.config import load_settings
from logo_similarity.errors import BadImageError, ConfigError, SourceError
from logo_similarity.terminal import err, out, print_json, print_table, printable
from logo_similarity.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logo_similarity.config import Settings
    from logo_similarity.engine import SearchEngine
    from logo_similarity.watch.model import Alert, Watch
    from logo_similarity.watch.store import WatchStore

watch_app = typer.Typer(
    help="Report new marks that resemble yours.\n\nChanges of own marks, and of those that were reported, are reported, too.",
    no_args_is_help=True,
)

Folder = Annotated[
    Path | None,
    typer.Option("--watches", help="Folder of the watches.  [LOGO_WATCHES_DIR, default: .watches in LOGO_CATALOGS]"),
]
Ident = Annotated[str, typer.Argument(metavar="ID", help="Id of the watch.")]


@watch_app.command("add", epilog=example("watch add logo.png --name Kranich --mark US-123456"))
@with_parameters()
def add(
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="IMAGE...",
            help="Pictures of one mark. Optional with --words and --logo-id.",
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the watch.")] = "",
    marks: Annotated[
        list[str] | None,
        typer.Option("--mark", metavar="ID", help="Own mark, of which changes are reported; repeatable."),
    ] = None,
    where: Where = None,
    webhook: Annotated[
        str | None, typer.Option("--webhook", help="Address to send alerts to; its host is in LOGO_WEBHOOK_HOSTS.")
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option(
            "--key", metavar="KEY", help="Id or name of the API key that the watch belongs to. Default: none."
        ),
    ] = None,
    catalogs: Catalogs = None,
    folder: Folder = None,
    device: Device = None,
    as_json: AsJson = False,
    **parameters: Any,  # noqa: ANN401 - each of the type that `Query` declares
) -> None:
    """Watch for new and changed marks.

    The marks of the live version of the catalog are not reported.

    Pictures and words are each a reason for an alert. --max-expect (default: 1) bounds how similar a picture must be,
    --min-score (default: 0.8) how similar words must be.
    """
    from logo_similarity.domain import Query
    from logo_similarity.watch.model import ANONYMOUS, NewWatch
    from logo_similarity.watch.run import add_watch
    from logo_similarity.watch.store import open_watch_store
    from logo_similarity.watch.webhook import WebhookRules

    if not images and parameters["words"] is None and parameters["logo_id"] is None:
        raise typer.BadParameter("name an image file, or give --words or --logo-id", param_hint="IMAGE")
    settings = load_settings(catalogs=catalogs, device=device, watches_dir=folder)
    pictures = list(map(read_image, images or ()))
    query = Query(
        image=next(iter(pictures), None),
        more_images=tuple(pictures[1:]),
        filter=read_filter(where or ()),
        **parameters,
    )
    owner = ANONYMOUS if owner is None else _key_id(settings, owner)
    default = images[0].stem if images else parameters["words"] or parameters["logo_id"]
    new = NewWatch(name=name or default, query=query, marks=tuple(marks or ()), webhook=webhook)
    with _open_engine(settings) as engine:
        try:
            watch, secret = add_watch(
                open_watch_store(settings), engine, owner, new, rules=WebhookRules.of(settings), most=None
            )
        except BadImageError as error:
            raise SourceError(f"{', '.join(map(str, images or ()))}: {error}") from None
    if as_json:
        print_json({**watch.to_json(), **({} if secret is None else {"secret": secret})})
        return
    out.print(f"{watch.id}: watching for {printable(watch.name)!r} from {engine.edition} on")
    if secret is not None:
        err.print("the secret of the webhook, which is not shown again:")
        print(secret)  # noqa: T201


@watch_app.command("list", epilog=example("watch list"))
def list_watches(catalogs: Catalogs = None, folder: Folder = None, as_json: AsJson = False) -> None:
    """List the watches of all owners."""
    from logo_similarity.watch.store import open_watch_store

    watches = open_watch_store(load_settings(catalogs=catalogs, watches_dir=folder)).watches()
    if as_json:
        print_json([watch.to_json() for watch in watches])
        return
    table = Table(
        Column("id", min_width=12), Column("name", overflow="fold"), "owner", "watches for", "own marks", "alerts",
        Column("problem", overflow="fold"), box=box.SIMPLE_HEAD,
    )  # fmt: skip
    for watch in watches:
        table.add_row(
            watch.id, printable(watch.name), watch.owner, printable(_subject(watch)), str(len(watch.marks)),
            f"{watch.alerts:,}", printable(watch.problem or ""),
        )  # fmt: skip
    print_table(table)


@watch_app.command("alerts", epilog=example("watch alerts 3f2a90c1d4e5"))
def list_alerts(
    ident: Annotated[str | None, typer.Argument(metavar="[ID]", help="Id of a watch. Default: all watches.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Maximum number of alerts.")] = 100,
    catalogs: Catalogs = None,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """List the alerts, newest first."""
    from logo_similarity.watch.store import open_watch_store

    store = open_watch_store(load_settings(catalogs=catalogs, watches_dir=folder))
    if ident is not None:
        store.watch(ident)
    _print_alerts(store.alerts(watch=ident, limit=limit), as_json=as_json)


@watch_app.command("remove", epilog=example("watch remove 3f2a90c1d4e5"))
def remove(ident: Ident, catalogs: Catalogs = None, folder: Folder = None) -> None:
    """Delete a watch and its alerts."""
    from logo_similarity.watch.store import open_watch_store

    open_watch_store(load_settings(catalogs=catalogs, watches_dir=folder)).remove(ident)
    out.print(f"{ident} is removed")


@watch_app.command("run", epilog=example("watch run"))
def run_watches(
    catalogs: Catalogs = None, folder: Folder = None, device: Device = None, as_json: AsJson = False
) -> None:
    """Search the new marks of the live catalog.

    New is what the version that was watched last did not have. A running service does this by itself. To be run by cron
    where none runs, and after imports.
    """
    from logo_similarity.watch.store import open_watch_store

    settings = load_settings(catalogs=catalogs, device=device, watches_dir=folder)
    store = open_watch_store(settings)
    summary = run_here(settings, store)
    if as_json:
        print_json(summary)
    else:
        _print_summary(summary)


def run_here(settings: Settings, store: WatchStore) -> dict[str, Any]:
    """Run the watches in this process, and send the alerts that are due. Returns a summary as JSON."""
    from logo_similarity.watch.delivery import deliver
    from logo_similarity.watch.run import run
    from logo_similarity.watch.webhook import WebhookRules

    with store.running():
        is_active = _owners(settings, store.watches())
        with _open_engine(settings) as engine:
            summary = run(store, engine, is_active)
        delivered, failed = deliver(store, WebhookRules.of(settings), is_active)
    return {**asdict(summary), "delivered": delivered, "not_delivered": failed}


def _print_summary(summary: dict[str, Any]) -> None:
    if summary["before"] is None:
        out.print("no watches")
    elif summary["before"] == summary["version"]:
        out.print(f"nothing new: {summary['version']} was watched before")
    else:
        out.print(
            f"{counted(summary['new'], 'new logo')} and {counted(summary['changed'], 'changed logo')} since "
            f"{summary['before']}: {counted(summary['alerts'], 'alert')} of {counted(summary['watches'], 'watch', 'watches')}"
        )
    if summary["delivered"]:
        out.print(f"{counted(summary['delivered'], 'alert')} delivered to webhooks")
    if summary["not_delivered"]:
        err.print("some alerts could not be delivered; the next run tries again", style="yellow")
    if summary["problems"]:
        err.print(f"{summary['problems']} could not be searched for; see `logo-similarity watch list`", style="yellow")


def _print_alerts(alerts: Sequence[Alert], *, as_json: bool) -> None:
    from logo_similarity.watch.describe import describe_evidence

    if as_json:
        print_json([alert.to_json() for alert in alerts])
        return
    table = Table(
        "time (UTC)", Column("watch", overflow="fold"), "kind", "logo", Column("evidence", overflow="fold"),
        Column("text", overflow="fold"), box=box.SIMPLE_HEAD,
    )  # fmt: skip
    for alert in alerts:
        metadata = alert.detail["metadata"] or {}
        table.add_row(
            f"{alert.at:%Y-%m-%d %H:%M:%S}", printable(alert.watch_name), alert.kind.value, alert.logo_id,
            printable(describe_evidence(alert)), printable(metadata.get("text") or ""),
        )  # fmt: skip
    print_table(table)


def _subject(watch: Watch) -> str:
    parameters = watch.query["parameters"]
    parts = [counted(watch.pictures, "picture")] if watch.pictures else []
    parts += [parameters["logo_id"]] if "logo_id" in parameters else []
    return ", ".join([*parts, *([f"'{parameters['words']}'"] if "words" in parameters else [])])


def _open_engine(settings: Settings) -> SearchEngine:
    from logo_similarity.engine import SearchEngine

    version = SearchEngine.of(settings)
    return version.with_changes(settings.catalogs)


def _key_id(settings: Settings, key: str) -> str:
    """The id of an active key, by its id or name."""
    from logo_similarity.keys.owners import active_keys, read_keys

    keys = read_keys(settings)
    active = active_keys(keys, dt.datetime.now(dt.UTC))
    found = {one.id for one in keys if one.id in active and key in (one.id, one.name)}
    if len(found) != 1:
        problem = (
            f"{len(found)} active keys have this name; give the id of one"
            if found
            else "no active key has this id or name"
        )
        raise typer.BadParameter(f"{key!r}: {problem}; `logo-similarity keys list` shows them", param_hint="--key")
    return found.pop()


def _owners(settings: Settings, watches: Sequence[Watch]) -> Callable[[str], bool]:
    """Whether the watches of an owner run: those of a key only while it is active."""
    from logo_similarity.keys.owners import active_keys, read_keys
    from logo_similarity.watch.model import ANONYMOUS

    if not settings.has_api_keys:
        for watch in watches:
            if watch.owner != ANONYMOUS:
                raise ConfigError(
                    f"the watch {watch.id} belongs to the API key {watch.owner!r}, and no keys are set, so that it is not "
                    "known whether the key is active; set LOGO_KEYS as for the service, or remove the watch"
                )
    active = active_keys(read_keys(settings), dt.datetime.now(dt.UTC)) | {ANONYMOUS}
    return active.__contains__

"""`logo-similarity compact`."""

from __future__ import annotations

from logo_similarity.commands.options import AsJson, Catalogs, Device, Threads
from logo_similarity.config import load_settings
from logo_similarity.cpu import usable_cores
from logo_similarity.terminal import err, out, print_json, progress
from logo_similarity.wording import counted


def compact(catalogs: Catalogs = None, threads: Threads = None, device: Device = None, as_json: AsJson = False) -> None:
    """Fold the changes of logos into a new version of the catalog.

    Logos that were added, changed and deleted over HTTP are kept beside the live version until then. Nothing is embedded
    again. A running service goes on to serve and to accept changes, and opens the new version when it is ready.
    """
    from logo_similarity.build import compacting
    from logo_similarity.build.options import BuildOptions
    from logo_similarity.catalog.signature import required_signing_key
    from logo_similarity.catalog.trial import Trial
    from logo_similarity.image.decode import ImageLimits
    from logo_similarity.milvus.connection import IndexServer
    from logo_similarity.storage import open_store

    settings = load_settings(catalogs=catalogs, device=device)
    store = open_store(settings)
    options = BuildOptions(
        threads=threads or usable_cores(),
        device=settings.device,
        limits=ImageLimits.of(settings),
        trial=Trial.of(settings),
        server=IndexServer.of(settings),
        signing_key=required_signing_key(settings),
    )
    read = None if store is None else store.read
    with progress(err) as report:
        result = compacting.compact(settings.catalogs, options, read, report)
    name, logos = result.folder.name, result.manifest.count
    if as_json:
        print_json({"version": name, "logos": logos, "changes": result.changes})
    elif result.changes:
        out.print(f"{name} is live: {counted(logos, 'logo')}, with {counted(result.changes, 'change')}")
    else:
        out.print(f"no changes: {name} stays live")

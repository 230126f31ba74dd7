"""The command line: composes the commands, and turns errors into one line and an exit status."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from logo_similarity.commands.build import build
from logo_similarity.commands.catalogs import catalog_app
from logo_similarity.commands.doctor import doctor
from logo_similarity.commands.evaluate import evaluate
from logo_similarity.commands.export import export
from logo_similarity.commands.images import images_app
from logo_similarity.commands.keys import keys_app
from logo_similarity.commands.options import Catalogs, example
from logo_similarity.commands.plan import plan
from logo_similarity.commands.search import search
from logo_similarity.commands.train import train
from logo_similarity.config import Settings, load_settings
from logo_similarity.cpu import usable_cores
from logo_similarity.errors import LogoSimilarityError
from logo_similarity.plan import plan_service
from logo_similarity.terminal import err
from logo_similarity.version import __version__

if TYPE_CHECKING:
    from logo_similarity.catalog.versions import Catalog

app = typer.Typer(
    help="An open trademark-image search engine.\n\nOptions override the LOGO_* environment variables.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line. Expected errors are printed in one line; the exit status is 1."""
    try:
        app()
    except LogoSimilarityError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}")
    except KeyboardInterrupt:
        _fail("interrupted", status=130)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Handle the options that precede a command."""
    if show:
        print(__version__)  # noqa: T201
        raise typer.Exit


# `--help` lists the commands in the order in which they are registered.
app.command(epilog=example("build register.csv --images images"))(build)
app.command(epilog=example("search logo.png --top-k 5"))(search)


@app.command(epilog=example("serve --images images"))
def serve(
    catalogs: Catalogs = None,
    images_dir: Annotated[
        Path | None, typer.Option("--images", help="Folder of the images (local store).  [LOGO_IMAGES_DIR]")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [LOGO_HOST, default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.  [LOGO_PORT, default: 8000]")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes.  [LOGO_WORKERS, default: from the cores]")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Search threads per worker.  [LOGO_THREADS]")] = None,
    log_format: Annotated[str | None, typer.Option(help="json or console.  [LOGO_LOG_FORMAT]")] = None,
) -> None:
    """Serve the live catalog over HTTP."""
    from logo_similarity.api.server import check_address, check_images
    from logo_similarity.api.server import serve as serve_forever
    from logo_similarity.catalog.files import read_ahead
    from logo_similarity.catalog.manifest import read_manifest
    from logo_similarity.catalog.versions import Catalog

    settings = load_settings(
        catalogs=catalogs,
        images_dir=images_dir,
        host=host,
        port=port,
        workers=workers,
        threads=threads,
        log_format=log_format,
    )
    settings.check_exposure()
    check_images(settings)
    check_address(settings)
    folder = Catalog(settings.catalogs)
    if settings.catalog_url is not None and folder.marker() is None:
        _pull_first(settings)  # else what is here is served at once, and the workers fetch what is newer
    # Once here, for all workers. Its bytes were compared with the manifest when it was published; `catalog verify` does it again.
    version = _choose_version(folder, settings)
    manifest = read_manifest(version)
    for name in manifest.files:
        read_ahead(version / name)
    _try_first(settings)
    cores = usable_cores()
    serve_forever(settings, plan_service(manifest.size, manifest.model_size, cores, settings))


def _choose_version(folder: Catalog, settings: Settings) -> Path:
    """The version to serve: the live one, or another where the live one fails its trial, which is an error in the log."""
    import structlog

    from logo_similarity.catalog.trial import Trial
    from logo_similarity.log import configure_logging

    trial, refused = Trial.of(settings), list[tuple[str, LogoSimilarityError]]()
    version = folder.choose(
        lambda name: folder.admit(folder.root / name, trial), lambda name, error: refused.append((name, error))
    )
    configure_logging(settings.log_level, settings.log_format)
    for name, error in refused:
        structlog.get_logger(__name__).error("catalog_fell_back", refused=name, error=str(error), serves=version.name)
    return version


def _pull_first(settings: Settings) -> None:
    """Fetch the published catalog in a process of its own: an S3 client has threads, which the workers' parent must not have."""
    command = [sys.executable, "-m", "logo_similarity.cli", "catalog", "pull", "--catalogs", str(settings.catalogs)]
    # Its progress is for people; a log of JSON lines stays one.
    hidden = subprocess.PIPE if settings.log_format == "json" else None
    done = subprocess.run(  # noqa: S603 - our own command
        [*command, "--", str(settings.catalog_url)], check=False, stdout=hidden, stderr=hidden, text=True
    )
    if done.returncode != 0:
        if done.stderr:
            err.print(done.stderr.splitlines()[-1], style="red", highlight=False, soft_wrap=True, markup=False)
        _fail(f"{settings.catalogs} holds no catalog, and none could be fetched from {settings.catalog_url}")


def _try_first(settings: Settings) -> None:
    """Open all that a worker opens, in a process of its own: what is wrong is said once, and not by each worker in its log."""
    trial = multiprocessing.get_context("fork").Process(target=_open_all, args=(settings,))
    trial.start()
    trial.join()
    if trial.exitcode != 0:
        sys.exit(1)


def _open_all(settings: Settings) -> None:
    from logo_similarity.api.app import try_settings

    try:
        try_settings(settings)
    except LogoSimilarityError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}")
    except KeyboardInterrupt:  # the parent, which gets it too, says so
        sys.exit(130)


app.command(epilog=example("evaluate data/benchmark"))(evaluate)
app.command(epilog=example("plan --memory 8"))(plan)
app.command(epilog=example("doctor --url https://logos.example"))(doctor)
app.command(epilog=example("train data/training --out run"))(train)
app.command(epilog=example("export timm:vit_small_patch14_dinov2.lvd142m --out dinov2"))(export)
app.add_typer(catalog_app, name="catalog")
app.add_typer(keys_app, name="keys")
app.add_typer(images_app, name="images")


def _fail(message: str, status: int = 1) -> NoReturn:
    err.print(f"logo-similarity: {message}", style="red", highlight=False, soft_wrap=True, markup=False)
    sys.exit(status)


if __name__ == "__main__":
    main()

"""The command line: what each command takes, and which part of the project it calls."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Column, Table

from logo_similarity.commands.catalogs import catalog_app
from logo_similarity.commands.evaluate import evaluate
from logo_similarity.commands.export import export
from logo_similarity.commands.keys import keys_app
from logo_similarity.commands.parameters import with_parameters
from logo_similarity.commands.plan import plan
from logo_similarity.commands.serve import serve
from logo_similarity.commands.train import train
from logo_similarity.config import load_settings
from logo_similarity.cpu import usable_cores
from logo_similarity.errors import ConfigError, LogoSimilarityError
from logo_similarity.terminal import print_json, progress
from logo_similarity.version import __version__

app = typer.Typer(
    help="The open trademark-image search engine. Settings come from LOGO_* variables; options win over them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
images_app = typer.Typer(help="The images in the image store.", no_args_is_help=True)
app.add_typer(catalog_app, name="catalog")
app.add_typer(images_app, name="images")
app.add_typer(keys_app, name="keys")
app.command()(evaluate)
app.command()(train)
app.command()(export)
app.command()(plan)
app.command()(serve)

out = Console()
err = Console(stderr=True)

Catalogs = Annotated[
    Path | None, typer.Option("--catalogs", help="Folder of the catalog versions.  [LOGO_CATALOGS, default: catalogs]")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
Device = Annotated[str | None, typer.Option(help="Where the encoder runs: auto, cpu or cuda.  [LOGO_DEVICE]")]


def main() -> None:
    """Run the command line; our own errors end it with one line and status 1."""
    try:
        app()
    except LogoSimilarityError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}")
    except KeyboardInterrupt:
        _fail("interrupted", status=130)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Options before any command."""
    if show:
        print(__version__)  # noqa: T201
        raise typer.Exit


@app.command()
def build(
    source: Annotated[
        Path,
        typer.Argument(help="A folder in L3D's layout, a table (CSV, JSON Lines, Parquet), or a folder of images."),
    ],
    catalogs: Annotated[
        Path | None, typer.Option("--out", help="Folder to put the version in.  [LOGO_CATALOGS, default: catalogs]")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="l3d, table or folder. Default: recognised.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the images, where the source does not tell.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="TOML file that maps a table's columns.")] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Encoder folder (an ONNX file and its model.json); fp32: ours in float32. Default: in int8."),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            help="Folder of ready embeddings (ids.txt, embeddings.npy) made by the model; the images need not be here."
        ),
    ] = None,
    m: Annotated[int, typer.Option("--m", min=2, max=256, help="HNSW: edges per node.")] = 32,
    ef_construction: Annotated[
        int, typer.Option(min=8, max=10_000, help="HNSW: breadth of the search for edges.")
    ] = 200,
    ef_search: Annotated[
        int | None,
        typer.Option(
            min=1, max=10_000, help="HNSW: breadth of a query's search. Default: what the recall target needs."
        ),
    ] = None,
    recall_target: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the exact answers that a search should find.")
    ] = 0.99,
    recall_floor: Annotated[
        float, typer.Option(min=0, max=1, help="Publish nothing that finds less of the exact answers.")
    ] = 0.95,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: all usable cores.")] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Build a catalog from a register of logos, and make it the live one.

    Stop it at any time and run it again: it goes on where it was. A version that was built from the same inputs is reused.
    """
    from logo_similarity.build.catalog import BuildOptions, build_catalog
    from logo_similarity.catalog.manifest import METADATA
    from logo_similarity.catalog.metadata import Metadata
    from logo_similarity.catalog.signature import signing_key_of
    from logo_similarity.catalog.sources import open_source
    from logo_similarity.catalog.sources.images import ImageNames, NamesAsWritten, OpenNames
    from logo_similarity.catalog.trial import Trial
    from logo_similarity.embed.model import model_folder
    from logo_similarity.image.decode import ImageLimits

    settings = load_settings(catalogs=catalogs, device=device)
    signing_key = signing_key_of(settings)
    if signing_key is None and settings.catalog_public_key is not None:
        raise ConfigError(
            "LOGO_CATALOG_PUBLIC_KEY is set, so an unsigned version would be refused here: set LOGO_CATALOG_SIGNING_KEY too"
        )
    options = BuildOptions(
        model=model_folder(model),
        embeddings=embeddings,
        m=m,
        ef_construction=ef_construction,
        ef_search=ef_search,
        recall_target=recall_target,
        recall_floor=recall_floor,
        threads=threads or usable_cores(),
        device=settings.device,
        limits=ImageLimits.of(settings),
        trial=Trial.of(settings),
        signing_key=signing_key,
    )
    names: OpenNames = NamesAsWritten if embeddings else ImageNames
    opened = open_source(source, kind=kind, images=images, mapping=mapping, names=names)
    with progress(err) as report:
        result = build_catalog(opened, settings.catalogs, options, report)
    manifest = result.manifest
    metadata = Metadata(result.folder / METADATA)
    unreadable = metadata.unreadable()
    metadata.close()
    if as_json:
        print_json(
            {
                "version": result.folder.name,
                "reused": result.reused,
                "unreadable": unreadable,
                **manifest.model_dump(mode="json", exclude={"files"}),
            }
        )
        return
    counts = manifest.source
    out.print(
        f"{result.folder.name} is live: {'nothing has changed since it was built; ' if result.reused else ''}"
        f"{counts.read:,} read, {counts.indexed:,} indexed, {counts.rejected:,} rejected; "
        f"recall@{manifest.recall.k} {manifest.recall.value:.4f}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if counts.rejected:
        out.print(f"why they were rejected: {result.folder / 'rejected.jsonl'}", highlight=False, soft_wrap=True)
    for field, logos in sorted(unreadable.items()):
        err.print(
            f"{logos:,} logos have {field} that can't be read or is no UTF-8, and stay without it, or with wrong signs: "
            "are columns, date format and encoding right?",
            highlight=False, soft_wrap=True,
        )  # fmt: skip


@app.command()
@with_parameters(top_k=10)
def search(
    image: Annotated[Path, typer.Argument(help="The image file to search for.")],
    catalogs: Catalogs = None,
    device: Device = None,
    as_json: AsJson = False,
    **parameters: Any,  # noqa: ANN401 - each of the type that `Query` declares
) -> None:
    """Find the logos most similar to a picture, without a server.

    A score of 1 is an identical picture. It is not a probability: unrelated logos reach 0.8 (docs/search.md).
    """
    from logo_similarity.domain import Query
    from logo_similarity.engine import SearchEngine
    from logo_similarity.image.decode import ImageLimits

    settings = load_settings(catalogs=catalogs, device=device)
    limits = ImageLimits.of(settings)
    with SearchEngine.open(settings.catalogs, device=settings.device, limits=limits) as engine:
        result = engine.search(Query(image=image.read_bytes(), **parameters))
    if as_json:
        print_json(
            {
                "catalog": result.version,
                "reranked": result.reranked,
                "results": [
                    {
                        "score": hit.score,
                        "cosine": hit.cosine,
                        "id": hit.logo.record.logo_id,
                        "filename": hit.logo.record.filename,
                        "metadata": hit.logo.record.metadata(),
                    }
                    for hit in result.hits
                ],
                "timings_ms": {name: round(getattr(result.timings, name), 3) for name in result.timings.__slots__},
            }
        )
        return
    table = Table(
        "score", Column("id", overflow="fold"), "text", "company", "Vienna codes", Column("image", overflow="fold")
    )
    for hit in result.hits:
        record = hit.logo.record
        codes = " ".join(record.vienna_codes)
        table.add_row(
            f"{hit.score:.4f}", record.logo_id, record.text or "", record.company or "", codes, record.filename
        )
    out.print(table)


@app.command()
def doctor(
    url: Annotated[
        str | None,
        typer.Option(help="Ask a service that runs there instead, with the first key of LOGO_API_KEYS."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the installation, the settings, the catalog and the stores, or a running service: each line ok, or why not."""
    if url is None:
        from logo_similarity.doctor import examine

        findings = examine()
    else:
        from logo_similarity.probe import examine_service

        findings = examine_service(url, load_settings())
    if as_json:
        print_json([{"what": finding.what, "ok": finding.ok, "detail": finding.detail} for finding in findings])
    else:
        table = Table("", "what", "detail")
        for finding in findings:
            table.add_row("[green]ok[/]" if finding.ok else "[red]no[/]", finding.what, finding.detail)
        out.print(table)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@images_app.command("upload")
def upload(
    folder: Annotated[Path, typer.Argument(help="Folder of images; their paths in it become their keys.")],
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Files sent at once.")] = 16,
    as_json: AsJson = False,
) -> None:
    """Send a folder of images to the S3 image store. Files that are there already are skipped."""
    from logo_similarity.storage import S3Service, UploadProgress, upload_folder

    service = S3Service(load_settings())
    with progress(err) as report:

        def show(state: UploadProgress) -> None:
            report("upload", state.uploaded + state.skipped + state.failed, state.total)

        summary = asyncio.run(upload_folder(service, folder, concurrency=concurrency, on_progress=show))
    if as_json:
        print_json(dataclasses.asdict(summary))
    else:
        out.print(
            f"{summary.uploaded:,} sent ({summary.bytes_sent / 1e6:.1f} MB), {summary.skipped:,} were there, "
            f"{summary.failed:,} failed",
            highlight=False,
        )
        for failure in summary.failures:
            err.print(f"{failure.filename}: {failure.reason}", highlight=False, markup=False)
    if summary.failed:
        raise typer.Exit(1)


def _fail(message: str, status: int = 1) -> NoReturn:
    err.print(f"logo-similarity: {message}", style="red", highlight=False, soft_wrap=True, markup=False)
    sys.exit(status)


if __name__ == "__main__":
    main()

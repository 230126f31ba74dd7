"""`logo-similarity build`."""

from __future__ import annotations

import enum
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from logo_similarity.commands.inspect import describe_reading, reading_lines
from logo_similarity.commands.options import AsJson, Device, Ray, SourceOptions, Threads, with_source
from logo_similarity.config import load_settings
from logo_similarity.cpu import usable_cores
from logo_similarity.precision import Precision
from logo_similarity.terminal import err, out, print_json, progress
from logo_similarity.wording import counted

if TYPE_CHECKING:
    from logo_similarity.build.catalog import BuildResult
    from logo_similarity.catalog.sources import Source


class IndexPlace(enum.StrEnum):
    """Where the index of a catalog is."""

    LOCAL = "local"
    MILVUS = "milvus"


@with_source
def build(
    source: SourceOptions,
    catalogs: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the catalog versions.  [LOGO_CATALOGS, default: catalogs]"),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Encoder folder (an ONNX file and model.json), or fp32. Default: the int8 encoder."),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            help="Folder of precomputed embeddings of the model (ids.txt, embeddings.npy); no images are needed."
        ),
    ] = None,
    read_words: Annotated[
        bool,
        typer.Option(
            "--read-words", help="Read the words in the images of logos without text; needs the extra `words`."
        ),
    ] = False,
    precision: Annotated[
        Precision, typer.Option(help="How embeddings and patches are stored. float16 and int8 take less memory.")
    ] = Precision.FLOAT32,
    m: Annotated[int, typer.Option("--m", min=2, max=256, help="HNSW: edges per node.")] = 32,
    ef_construction: Annotated[
        int, typer.Option(min=8, max=10_000, help="HNSW: breadth of the search while the graph is built.")
    ] = 200,
    ef_search: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="HNSW: breadth of a search. Default: the recall target decides."),
    ] = None,
    recall_target: Annotated[
        float, typer.Option(min=0, max=1, help="Recall of the index, against exact search, to aim for.")
    ] = 0.99,
    recall_floor: Annotated[
        float, typer.Option(min=0, max=1, help="Publish nothing if the recall of the index is below this.")
    ] = 0.95,
    self_floor: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Publish nothing if the share of indexed images that find themselves is below this."
        ),
    ] = 0.99,
    index: Annotated[
        IndexPlace, typer.Option(help="Where the index is: files of the version, or the Milvus server LOGO_INDEX_URL.")
    ] = IndexPlace.LOCAL,
    threads: Threads = None,
    ray: Ray = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Build a catalog from a register of logos and make it live.

    A build that is interrupted continues where it stopped when it is run again. A version that was built from the same
    inputs is reused.
    """
    from logo_similarity.build.catalog import build_catalog
    from logo_similarity.build.options import BuildOptions
    from logo_similarity.build.ray_cluster import connected
    from logo_similarity.catalog.signature import required_signing_key
    from logo_similarity.catalog.trial import Trial
    from logo_similarity.embed.model import model_folder
    from logo_similarity.image.decode import ImageLimits
    from logo_similarity.milvus.connection import IndexServer

    if read_words and embeddings is not None:
        raise typer.BadParameter(
            "cannot be combined with --embeddings, which needs no images", param_hint="--read-words"
        )
    if ray is not None and embeddings is not None:
        raise typer.BadParameter("cannot be combined with --embeddings, which computes nothing", param_hint="--ray")
    settings = load_settings(catalogs=catalogs, device=device)
    options = BuildOptions(
        model=model_folder(model),
        embeddings=embeddings,
        read_words=read_words,
        precision=precision,
        m=m,
        ef_construction=ef_construction,
        ef_search=ef_search,
        recall_target=recall_target,
        recall_floor=recall_floor,
        self_floor=self_floor,
        threads=threads or usable_cores(),
        device=settings.device if ray is None else "cpu",
        limits=ImageLimits.of(settings),
        trial=Trial.of(settings),
        server=IndexServer.of(settings),
        in_collections=index is IndexPlace.MILVUS,
        signing_key=required_signing_key(settings),
    )
    opened = source.open(needs_images=embeddings is None)
    with connected(ray, settings.device) as cluster, progress(err) as report:
        result = build_catalog(opened, settings.catalogs, replace(options, cluster=cluster), report)
    _print_result(result, opened, as_json=as_json)


def _print_result(result: BuildResult, source: Source, *, as_json: bool) -> None:
    from logo_similarity.build.rejections import Rejections, read_rejects
    from logo_similarity.catalog.manifest import METADATA, REJECTED
    from logo_similarity.catalog.metadata import Metadata

    manifest = result.manifest
    metadata = Metadata(result.folder / METADATA)
    unreadable = metadata.unreadable()
    metadata.close()
    rejections = Rejections(read_rejects(result.folder / REJECTED))
    if as_json:
        print_json(
            {
                "version": result.folder.name,
                "reused": result.reused,
                "unreadable": unreadable,
                "reading": asdict(describe_reading(source)),
                "rejections": [asdict(rejection) for rejection in rejections.commonest()],
                **manifest.model_dump(mode="json", exclude={"files"}),
            }
        )
        return
    counts, recall = manifest.source, manifest.recall
    images = (
        ""
        if manifest.distinct_images == manifest.count
        else f" ({counted(manifest.distinct_images, 'distinct image')})"
    )
    state = "live again" if result.returned else "already up to date" if result.reused else "live"
    out.print(
        f"{result.folder.name} is {state}: "
        f"{counts.read:,} read, {counts.indexed:,} indexed{images}, {counts.rejected:,} rejected; "
        f"recall {recall.value:.4f} (share of the {counted(recall.k, 'nearest image')} that a search finds; "
        f"{counted(recall.queries, 'test query', 'test queries')})"
    )
    for line in reading_lines(describe_reading(source)):
        out.print(line)
    if counts.rejected:
        out.print(f"rejected, all in {result.folder / REJECTED}:")
        for line in rejections.lines():
            out.print(f"  {line}")
        if (remedy := rejections.remedy(source.images)) is not None:
            out.print(remedy)
    if counts.damaged:
        out.print(
            f"{counted(counts.damaged, 'damaged image')} indexed as far as readable: {result.folder / 'damaged.jsonl'}"
        )
    for field, logos in sorted(unreadable.items()):
        err.print(
            f"{counted(logos, 'logo')} with a value of {field} that cannot be parsed or is not UTF-8; "
            "check the mapping, the date format and the encoding"
        )

"""`logo-similarity evaluate`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from logo_similarity.config import load_settings
from logo_similarity.cpu import usable_cores
from logo_similarity.errors import SourceError
from logo_similarity.terminal import Report, progress

if TYPE_CHECKING:
    from logo_similarity.engine import SearchEngine
    from logo_similarity.evaluation.evaluate import Evaluation
    from logo_similarity.evaluation.gallery import Gallery

out = Console()
err = Console(stderr=True)


def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder with images/ and labels.json, as of the benchmark.")],
    labels: Annotated[
        Path | None, typer.Option(help="labels.json, or a CSV file of one's own with the columns query,relevant.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Encoder folder to measure, or fp32. Default: ours.")] = None,
    catalogs: Annotated[
        Path | None, typer.Option("--catalogs", help="Measure the live catalog version in this folder instead.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="Measure grey, hog or phash instead.")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Splits to measure. Default: all but train.")] = None,
    copies: Annotated[int, typer.Option(min=0, help="Pictures whose changed copies are looked for.")] = 300,
    rerank: Annotated[bool, typer.Option(help="With the second stage, where the encoder gives patches.")] = True,
    sets: Annotated[bool, typer.Option("--sets", help="A line for each set, too.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write an HTML page with the worst queries as pictures.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: all usable cores.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Where the encoder runs: auto, cpu or cuda.  [LOGO_DEVICE]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Measure how well an encoder, a catalog or a baseline finds what it should.

    HARD figures ignore the answers that look like the query at a glance: what remains was redrawn. NAR is the
    normalised average rank: 0 is perfect, 0.5 chance.
    """
    from logo_similarity.evaluation.evaluate import evaluate_gallery
    from logo_similarity.evaluation.gallery import read_image
    from logo_similarity.evaluation.report import write_html
    from logo_similarity.evaluation.truth import read_truth

    if sum(option is not None for option in (model, catalogs, baseline)) > 1:
        raise SourceError("--model, --catalogs and --baseline exclude each other")
    images = folder / "images" if (folder / "images").is_dir() else folder
    with progress(err) as show:
        threads = threads or usable_cores()
        gallery, engine = _open(model, catalogs, baseline, images, threads, load_settings(device=device).device, show)
        if not rerank:
            gallery = dataclasses.replace(gallery, features=dataclasses.replace(gallery.features, patches=None))
        truth = read_truth(labels or folder / "labels.json", list(gallery.files))
        found = evaluate_gallery(gallery, engine, truth, split, copies, images, lambda *news: show("copies", *news))
    if report is not None:
        page = write_html(found, gallery, truth, lambda row: read_image(images / gallery.files[row]))
        report.write_text(page, encoding="utf8")
    if as_json:
        summary = dataclasses.asdict(found)
        for split_found in summary["splits"]:
            del split_found["queries"]  # thousands, and of use to the page only
        print(json.dumps(summary, indent=2))  # noqa: T201
    else:
        _print(found, sets=sets)


def _print(found: Evaluation, *, sets: bool) -> None:
    from logo_similarity.evaluation import report

    out.print(report.summary(found), highlight=False)
    parts = [part for split in found.splits for part in (split.whole, *split.kinds, *(split.sets if sets else ()))]
    _print_table(report.PART_COLUMNS, [report.part_row(part) for part in parts])
    if found.copies:
        _print_table(report.COPY_COLUMNS, [report.copy_row(one) for one in found.copies])


def _print_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    table = Table(*(Column(name, justify="left" if number == 0 else "right") for number, name in enumerate(columns)))
    for row in rows:
        table.add_row(*row)
    out.print(table)


def _open(
    model: Path | None,
    catalogs: Path | None,
    baseline: str | None,
    images: Path,
    threads: int,
    device: str,
    show: Report,
) -> tuple[Gallery, SearchEngine | None]:
    from logo_similarity.embed.encoder import Encoder
    from logo_similarity.embed.model import model_folder
    from logo_similarity.engine import SearchEngine
    from logo_similarity.evaluation.features import BASELINES
    from logo_similarity.evaluation.gallery import describe_as, describe_by, describe_gallery, image_files, open_gallery

    if catalogs is not None:
        engine = SearchEngine.open(catalogs, device=device)
        return open_gallery(engine, images, threads=threads, report=show), engine
    if baseline is not None:
        if baseline not in BASELINES:
            raise SourceError(f"no baseline {baseline!r}; there are {', '.join(BASELINES)}")
        name, describe, weight = baseline, describe_as(baseline, BASELINES[baseline]), 0.0
    else:
        encoder = Encoder.open(model_folder(model), device=device)
        name, describe, weight = encoder.model.id, describe_by(encoder), encoder.model.rerank_weight
    files = image_files(images)
    return describe_gallery(name, describe, weight, images, files, threads=threads, report=show), None

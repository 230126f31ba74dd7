"""`logo-similarity evaluate`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from logo_similarity.commands.options import AsJson, Device, Threads
from logo_similarity.config import load_settings
from logo_similarity.cpu import usable_cores
from logo_similarity.errors import SourceError
from logo_similarity.terminal import Report, err, out, print_json, print_table, progress

if TYPE_CHECKING:
    from logo_similarity.config import Settings
    from logo_similarity.engine import SearchEngine
    from logo_similarity.evaluation.evaluate import Evaluation
    from logo_similarity.evaluation.gallery import Gallery


def evaluate(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder with images/ and labels.json, as the benchmark has.")
    ],
    labels: Annotated[
        Path | None,
        typer.Option(help="File of labels: JSON, or CSV with the columns query,relevant. Default: labels.json."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Encoder folder to measure, or fp32. Default: the int8 encoder.")
    ] = None,
    catalogs: Annotated[
        Path | None, typer.Option("--catalogs", help="Measure the live catalog version in this folder instead.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="Measure a baseline instead: grey, hog or phash.")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Splits to measure. Default: all but train.")] = None,
    copies: Annotated[
        int,
        typer.Option(min=0, help="Number of marks whose altered copies, scans and composites are measured. 0: none."),
    ] = 300,
    rerank: Annotated[bool, typer.Option(help="Re-rank the candidates, if the encoder gives patches.")] = True,
    parts: Annotated[bool, typer.Option(help="Compare parts of the images, too.")] = True,
    sets: Annotated[bool, typer.Option("--sets", help="Print a line for each set, too.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="HTML file to write, with the images of the worst queries.")
    ] = None,
    threads: Threads = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Measure the retrieval quality of an encoder or a catalog.

    HARD figures ignore the relevant images whose thumbnails resemble the query, so that redrawn logos remain. NAR is
    the normalised average rank of the relevant images: 0 is perfect, 0.5 is chance.
    """
    # Each search runs on one of our threads. Threads of OpenBLAS would wait for each other where other work uses the
    # cores. The variable is read once, when NumPy is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    from logo_similarity.evaluation.evaluate import evaluate_gallery
    from logo_similarity.evaluation.gallery import read_image
    from logo_similarity.evaluation.report import write_html
    from logo_similarity.evaluation.truth import read_truth

    if sum(option is not None for option in (model, catalogs, baseline)) > 1:
        raise SourceError("--model, --catalogs and --baseline exclude each other; choose one")
    images = folder / "images" if (folder / "images").is_dir() else folder
    with progress(err) as show:
        threads = threads or usable_cores()
        gallery, engine = _open(model, catalogs, baseline, images, threads, load_settings(device=device), show)
        if not rerank:
            gallery = dataclasses.replace(gallery, features=dataclasses.replace(gallery.features, patches=None))
        if not parts:
            gallery = dataclasses.replace(gallery, features=dataclasses.replace(gallery.features, parts=None))
        truth = read_truth(labels or folder / "labels.json", list(gallery.files))
        evaluation = evaluate_gallery(
            gallery,
            engine,
            truth,
            split,
            copies,
            images,
            threads,
            lambda done, total: show("altered copies", done, total),
        )
    if report is not None:
        page = write_html(evaluation, gallery, truth, lambda row: read_image(images / gallery.files[row]))
        report.write_text(page, encoding="utf8")
    if as_json:
        summary = dataclasses.asdict(evaluation)
        for figures in summary["splits"]:
            del figures["queries"]  # thousands, and of use to the page only
        print_json(summary)
    else:
        _print(evaluation, sets=sets)


def _print(evaluation: Evaluation, *, sets: bool) -> None:
    from logo_similarity.evaluation import report

    out.print(report.summary(evaluation))
    parts = [part for split in evaluation.splits for part in split.parts(sets=sets)]
    _print_table(report.PART_COLUMNS, [report.part_row(part) for part in parts])
    if evaluation.chance_hits:
        _print_table(report.BAND_COLUMNS, [report.band_row(band) for band in evaluation.bands])
        _print_table(report.CHANCE_COLUMNS, [report.chance_row(chance) for chance in evaluation.chance_hits])
    if evaluation.copies:
        _print_table(report.COPY_COLUMNS, [report.copy_row(copy) for copy in evaluation.copies])
        _print_table(report.SCAN_COLUMNS, [report.copy_row(scan) for scan in evaluation.scans])
        _print_table(report.COMPOSITE_COLUMNS, [report.composite_row(one) for one in evaluation.composites])


def _print_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    table = Table(*(Column(name, justify="left" if number == 0 else "right") for number, name in enumerate(columns)))
    for row in rows:
        table.add_row(*row)
    print_table(table)


def _open(
    model: Path | None,
    catalogs: Path | None,
    baseline: str | None,
    images: Path,
    threads: int,
    settings: Settings,
    show: Report,
) -> tuple[Gallery, SearchEngine | None]:
    from logo_similarity.embed.encoder import Encoder
    from logo_similarity.embed.model import model_folder
    from logo_similarity.engine import SearchEngine
    from logo_similarity.evaluation.features import BASELINES
    from logo_similarity.evaluation.gallery import (
        complete_by,
        describe_as,
        describe_by,
        describe_gallery,
        image_files,
        open_gallery,
    )
    from logo_similarity.milvus.connection import IndexServer

    if catalogs is not None:
        engine = SearchEngine.open(catalogs, device=settings.device, server=IndexServer.of(settings))
        return open_gallery(engine, images, threads=threads, report=show), engine
    if baseline is not None:
        if baseline not in BASELINES:
            raise SourceError(f"unknown baseline {baseline!r}; the baselines are {', '.join(BASELINES)}")
        name, describe, complete, weight = baseline, describe_as(baseline, BASELINES[baseline]), None, 0.0
    else:
        encoder = Encoder.open(model_folder(model), device=settings.device)
        name, describe, weight = encoder.model.id, describe_by(encoder), encoder.model.rerank_weight
        complete = complete_by(encoder)
    gallery = describe_gallery(name, describe, weight, images, image_files(images), threads=threads, report=show)
    return dataclasses.replace(gallery, complete=complete), None

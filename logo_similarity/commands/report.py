"""`logo-similarity report`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from logo_similarity.commands.options import Catalogs, Device
from logo_similarity.config import load_settings
from logo_similarity.terminal import err, printable
from logo_similarity.wording import counted

if TYPE_CHECKING:
    from logo_similarity.reports.report import Report


def report(
    case: Annotated[Path, typer.Argument(metavar="CASE", help="A case: JSON, as docs/reports.md describes it.")],
    out: Annotated[Path, typer.Option("--out", help="File to write: .pdf, .csv or .json.")],
    catalogs: Catalogs = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Folder of the images, for thumbnails that the case lacks.  [LOGO_IMAGES_DIR]"),
    ] = None,
    search: Annotated[
        bool, typer.Option("--search/--no-search", help="Make the search again, and report how its list differs.")
    ] = True,
    device: Device = None,
) -> None:
    """Make a report of a search: PDF, CSV or JSON.

    The search is made again in the live catalog version. If that is the version of the case, the list is the same;
    otherwise, the report lists the hits that are new, gone or in another order. PDF needs the extra `reports`.
    """
    from logo_similarity.catalog.files import read_small, replacing
    from logo_similarity.classification import load_classifications
    from logo_similarity.engine import SearchEngine
    from logo_similarity.image.contained import Decoder
    from logo_similarity.image.decode import ImageLimits
    from logo_similarity.reports.case import CASE_BYTES, Case
    from logo_similarity.reports.formats import ReportFormat, write_report
    from logo_similarity.reports.report import make_report
    from logo_similarity.storage import open_store

    extension = out.suffix.lower().removeprefix(".")
    if extension not in list(ReportFormat):
        raise typer.BadParameter(f"{str(out)!r} does not end with .pdf, .csv or .json", param_hint="--out")
    settings = load_settings(catalogs=catalogs, images_dir=images, device=device)
    limits = ImageLimits.of(settings)
    content = Case.from_json(read_small(case, CASE_BYTES))
    names = load_classifications(settings.vienna_names)
    with ExitStack() as stack:
        decoder = stack.enter_context(Decoder(limits))
        engine = None
        if search:
            version = SearchEngine.of(settings)
            engine = stack.enter_context(version.with_changes(settings.catalogs))
        made = make_report(content, engine, open_store(settings), decoder=decoder)
    file_content, missing = write_report(made, ReportFormat(extension), names, fonts_folder=settings.fonts_dir)
    with replacing(out) as file:
        file.write(file_content)
    err.print(_describe(made))
    if missing:
        err.print(
            f"no font has these characters, so a transliteration is printed: {', '.join(missing)}; install a font for them, "
            "such as fonts-noto-cjk, or set LOGO_FONTS_DIR",
            style="yellow",
        )


def _describe(made: Report) -> str:
    """What became of the search, on one line."""
    repetition = made.repetition
    if repetition is None:
        return f"the search was not made again: {printable(made.not_repeated)}"
    changes, version = repetition.changes, repetition.catalog.version
    if not changes:
        return f"the search was made again on {version}: the list is the same, {counted(len(made.case.hits), 'hit')}"
    catalog = "the catalog has not changed" if repetition.same_catalog else "the catalog has changed"
    return (
        f"the search was made again on {version}: {catalog}; {counted(len(changes.new), 'hit')} new, {len(changes.gone):,} "
        f"gone, {len(changes.moved):,} in another order"
    )

"""`logo-similarity search`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from logo_similarity.commands.hits import answer_json, check_columns, print_hits
from logo_similarity.commands.options import (
    AsJson,
    Catalogs,
    Device,
    KeyFile,
    Url,
    Where,
    read_filter,
    read_image,
    read_key,
)
from logo_similarity.commands.parameters import with_parameters
from logo_similarity.commands.searching import Answer, Place, ReadFile, open_catalog, open_service
from logo_similarity.config import load_settings
from logo_similarity.domain import Query
from logo_similarity.errors import BadImageError, LogoSimilarityError, SourceError
from logo_similarity.image.folder import image_names
from logo_similarity.image.formats import EXTENSIONS
from logo_similarity.terminal import err, out, print_json, print_json_line, printable, progress
from logo_similarity.wording import counted

if TYPE_CHECKING:
    from logo_similarity.config import Settings
    from logo_similarity.domain import Hit, SearchResult
    from logo_similarity.engine import SearchEngine


EXCLUDED = {
    "--json": ("--columns",),
    "--each": ("--case", "--logo-id"),
    "--url": ("--catalogs", "--device", "--images", "--case"),
}
"""Options, and those that they cannot be combined with."""


@with_parameters(top_k=10, max_identical=3)
def search(
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="IMAGE...",
            help="The image to search for, or several pictures of one mark. Optional with --words and --logo-id. With "
            "--each: images of any number of marks, and folders of them.",
        ),
    ] = None,
    each: Annotated[
        bool,
        typer.Option(
            "--each", help="Search for each image by itself: they show different marks. A folder stands for its images."
        ),
    ] = False,
    catalogs: Catalogs = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Columns to print: fields and further columns of the source. Default: score, expect, band, id, the "
            "fields of the catalog, and matched and copies if it has parts and copies.",
        ),
    ] = None,
    where: Where = None,
    device: Device = None,
    image_folder: Annotated[
        Path | None,
        typer.Option(
            "--images",
            help="Folder of the images, which are shown in terminals that can: with Sixel or kitty's protocol, and the extra "
            "`pictures`.  [LOGO_IMAGES_DIR]",
        ),
    ] = None,
    url: Url = None,
    key_file: KeyFile = None,
    case: Annotated[
        Path | None,
        typer.Option("--case", help="File to record the search in, as a case for `logo-similarity report`."),
    ] = None,
    as_json: AsJson = False,
    **parameters: Any,  # noqa: ANN401 - each of the type that `Query` declares
) -> None:
    """Find the logos most similar to an image, a logo or words.

    A score of 1 means the same image. A score is not a probability: unrelated logos reach 0.8 (docs/search.md). The
    column expect is the number of unrelated logos that the catalog shows by chance with as much evidence; the hits are
    ordered by it, and band puts it into a word. Where the column matched says "part", a part of an image matched. The
    column copies counts the other logos with exactly the same image, and with --group the column others counts the further
    hits of the group.

    On a terminal the hits are printed as a table: long texts are shortened, and columns that are empty in every hit, or
    for which there is no room, are left out. Elsewhere each hit is one line of tab-separated values, without a header.

    With --each the hits of each image are a table of their own. Elsewhere than on a terminal, each line begins with the
    name of the image file; --json prints one JSON object a line for each image. An image that cannot be searched for is
    named on stderr, the others are searched for, and the exit status is 1.

    With --url a running service searches its catalog instead.
    """
    given = {
        "--columns": columns, "--catalogs": catalogs, "--device": device, "--images": image_folder, "--case": case,
        "--logo-id": parameters["logo_id"], "--key-file": key_file,
    }  # fmt: skip
    flags = {"--json": as_json, "--each": each, "--url": url is not None}
    _check_options(
        {name for name, value in given.items() if value is not None} | {name for name, on in flags.items() if on}
    )
    if not images and (each or (parameters["words"] is None and parameters["logo_id"] is None)):
        raise typer.BadParameter("name an image file, or give --words or --logo-id", param_hint="IMAGE")
    chosen = None if columns is None else [name.strip() for name in columns.split(",")]
    if not each and (folder := next((image for image in images or () if image.is_dir()), None)) is not None:
        raise SourceError(f"{folder}: is a folder; name an image file, or search for each of its images with --each")
    # With --each, each image takes the place of the first.
    pictures = [b""] if each else list(map(read_image, images or ()))
    query = Query(
        image=next(iter(pictures), None), more_images=tuple(pictures[1:]), filter=read_filter(where or ()), **parameters
    )
    settings = load_settings(catalogs=catalogs, device=device, images_dir=image_folder)
    with ExitStack() as stack:
        engine: SearchEngine | None = None
        if url is None:
            place, engine = stack.enter_context(open_catalog(settings))
        else:
            place = stack.enter_context(open_service(url, read_key(key_file)))
        if each:
            _search_each(place, query, images or (), chosen, as_json=as_json)
            return
        try:
            answer = place.search(query)
        except BadImageError as error:
            raise SourceError(f"{', '.join(map(str, images or ()))}: {error}") from None
        if chosen is not None:
            check_columns(chosen, answer.result.hits, place.further_columns)
        if case is not None and engine is not None:
            _record(case, query, answer.result, engine, images or ())
        _print_passed(answer.result)
        _print_notes(answer, query)
        if as_json:
            print_json(answer_json(answer.result, answer.pictures))
        else:
            print_hits(answer.result.hits, chosen or answer.columns, whole=chosen is not None)
            _show(answer.result.hits, answer.read_file, settings)


def _check_options(given: set[str]) -> None:
    """Raise BadParameter if some of the given options exclude each other."""
    for option, others in EXCLUDED.items():
        if option in given and (excluded := [other for other in others if other in given]):
            raise typer.BadParameter(f"cannot be combined with {' and '.join(excluded)}", param_hint=option)
    if "--key-file" in given and "--url" not in given:
        raise typer.BadParameter("needs --url", param_hint="--key-file")


def _search_each(
    place: Place, query: Query, paths: Iterable[Path], chosen: Sequence[str] | None, *, as_json: bool
) -> None:
    """Search for each image and print its hits. Raises Exit if there is one that could not be searched for."""
    files = list(_files(paths))
    if not files:
        raise SourceError(f"{', '.join(map(str, paths))}: contains no image files")
    failed = 0
    # A table shows by itself how far the search is.
    with nullcontext(lambda *_: None) if out.is_terminal else progress(err) as report:
        for done, (path, outcome) in enumerate(_outcomes(place, query, files), 1):
            if isinstance(outcome, LogoSimilarityError | OSError):
                failed += 1
                reason = str(outcome) if isinstance(outcome, LogoSimilarityError) else outcome.strerror or str(outcome)
                err.print(f"{printable(str(path))}: {printable(reason)}", style="red")
                if as_json:
                    print_json_line({"image": str(path), "error": reason})
            else:
                if done == failed + 1:  # the first answer; the others have the same filter
                    _print_passed(outcome.result)
                _print_one(path, query, outcome, chosen, place, as_json=as_json)
            report("images searched for", done, len(files))
    if failed:
        err.print(f"{counted(failed, 'image')} of {len(files):,} could not be searched for", style="red")
        raise typer.Exit(1)


def _print_one(
    path: Path, query: Query, answer: Answer, chosen: Sequence[str] | None, place: Place, *, as_json: bool
) -> None:
    """Print the hits of one of many images."""
    hits = answer.result.hits
    if chosen is not None:
        check_columns(chosen, hits, place.further_columns)
    if as_json:
        print_json_line({"image": str(path), "error": None, **answer_json(answer.result, answer.pictures)})
        return
    if out.is_terminal:
        out.print(printable(str(path)), style="bold underline")
    _print_notes(answer, query, "" if out.is_terminal else f"{printable(str(path))}: ")
    print_hits(hits, chosen or answer.columns, whole=chosen is not None, first=[str(path)])
    if out.is_terminal:
        out.print()


def _outcomes(
    place: Place, query: Query, files: Iterable[Path]
) -> Iterator[tuple[Path, Answer | LogoSimilarityError | OSError]]:
    """For each file the answer, or why there is none. Files are read as the searches go on."""
    waiting: list[tuple[Path, OSError | None]] = []

    def images() -> Iterator[bytes]:
        for file in files:
            try:
                content = file.read_bytes()
            except OSError as error:
                waiting.append((file, error))
                continue
            waiting.append((file, None))
            yield content

    def unreadable() -> Iterator[tuple[Path, OSError]]:
        while waiting and waiting[0][1] is not None:
            path, error = waiting.pop(0)
            if error is not None:
                yield path, error

    for outcome in place.search_each(query, images()):
        yield from unreadable()
        yield waiting.pop(0)[0], outcome
    yield from unreadable()


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """The images among these files and folders. Of a folder, only files whose name ends as one of an image."""
    for path in paths:
        if path.is_dir():
            yield from (path / name for name in image_names(path) if name.lower().endswith(tuple(EXTENSIONS)))
        else:
            yield path


def _record(path: Path, query: Query, result: SearchResult, engine: SearchEngine, images: Sequence[Path]) -> None:
    """Write the case of a search."""
    from logo_similarity.catalog.files import replacing
    from logo_similarity.reports.record import record_case

    recorded = record_case(query, result, engine, names=[image.name for image in images])
    with replacing(path) as file:
        file.write(recorded.to_json())


def _print_passed(result: SearchResult) -> None:
    if result.passed is not None:
        err.print(f"logos that pass the filter: {result.passed:,}", markup=False)


def _print_notes(answer: Answer, query: Query, begin: str = "") -> None:
    """Print to stderr what the hits do not show."""
    words = answer.result.words
    if words is not None and query.words is None:
        err.print(f"{begin}words in the image: {printable(words)}", markup=False)
    for picture in answer.pictures:
        if picture.damage is not None:
            err.print(f"{begin}{picture.damage}; it is searched for as far as it is readable", markup=False)


def _show(hits: Sequence[Hit], read_file: ReadFile | None, settings: Settings) -> None:
    """Show the images of the first hits, if the terminal can and there is any."""
    from logo_similarity.commands.pictures import SHOWN, find_drawing, print_pictures

    if read_file is None or (draw := find_drawing()) is None:  # a terminal is asked only if there are images
        return
    from logo_similarity.image.contained import Decoder
    from logo_similarity.image.decode import ImageLimits

    limits = ImageLimits.of(settings)
    files = [read_file(place, limits.max_bytes) for place in range(min(SHOWN, len(hits)))]
    if any(file is not None for file in files):
        with Decoder(limits) as decoder:
            print_pictures(files, draw, decoder)

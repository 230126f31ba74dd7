"""`logo-similarity search`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urljoin

import typer
from rich.cells import cell_len
from rich.text import Text

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
from logo_similarity.config import load_settings
from logo_similarity.errors import BadImageError, SourceError
from logo_similarity.fields import FIELDS, select_fields
from logo_similarity.terminal import err, out, print_json, print_lines, printable

if TYPE_CHECKING:
    from logo_similarity.config import Settings
    from logo_similarity.domain import Hit, Query, SearchResult
    from logo_similarity.field_kinds import JsonValue

ReadFile = Callable[[int, int], "bytes | None"]
"""The image file of a hit, by its place in the list, with at most so many bytes; None: it cannot be read."""

WHOLE_COLUMNS = (
    "score", "expect", "band", "matched", "cosine", "image_score", "word_similarity", "word_field", "copies", "id",
    "filename",
)  # fmt: skip
"""Columns that are never shortened."""
GAP = 2
"""Spaces between columns."""
SHORT_TEXT, SHORTENED_TEXT = 10, 3
"""Texts up to the first width, such as dates, are not shortened on a terminal. Others are, at most to the second."""


@with_parameters(top_k=10, max_identical=3)
def search(
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="IMAGE...",
            help="The image to search for, or several pictures of one mark. Optional with --words and --logo-id.",
        ),
    ] = None,
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
    column copies counts the other logos with exactly the same image.

    On a terminal the hits are printed as a table: long texts are shortened, and columns that are empty in every hit are
    left out. Elsewhere each hit is one line of tab-separated values, without a header.

    With --url a running service searches its catalog instead.
    """
    from logo_similarity.domain import Query

    if columns is not None and as_json:
        raise typer.BadParameter("cannot be combined with --json", param_hint="--columns")
    chosen = None if columns is None else [name.strip() for name in columns.split(",")]
    if not images and parameters["words"] is None and parameters["logo_id"] is None:
        raise typer.BadParameter("name an image file, or give --words or --logo-id", param_hint="IMAGE")
    if url is not None and any(option is not None for option in (catalogs, device, image_folder)):
        raise typer.BadParameter("cannot be combined with --catalogs, --device or --images", param_hint="--url")
    if case is not None and url is not None:
        raise typer.BadParameter("cannot be combined with --url", param_hint="--case")
    if key_file is not None and url is None:
        raise typer.BadParameter("needs --url", param_hint="--key-file")
    pictures = list(map(read_image, images or ()))
    query = Query(
        image=next(iter(pictures), None), more_images=tuple(pictures[1:]), filter=read_filter(where or ()), **parameters
    )
    try:
        settings = load_settings(catalogs=catalogs, device=device, images_dir=image_folder)
        result, columns_of_catalog, read_file = (
            _search_here(query, settings, chosen, case, images or ())
            if url is None
            else _search_there(query, url, read_key(key_file), chosen)
        )
    except BadImageError as error:
        raise SourceError(f"{', '.join(map(str, images or ()))}: {error}") from None
    if result.passed is not None:
        err.print(f"logos that pass the filter: {result.passed:,}", markup=False)
    if result.words is not None and parameters["words"] is None:
        err.print(f"words in the image: {printable(result.words)}", markup=False)
    _print_damage(result)
    if as_json:
        print_json(_answer(result))
    else:
        print_hits(result.hits, chosen or columns_of_catalog)
        _show(result.hits, read_file, settings)


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


def _print_damage(result: SearchResult) -> None:
    for picture in result.pictures:
        if picture.damage is not None:
            err.print(f"{picture.damage}; it is searched for as far as it is readable", markup=False)


def _search_here(
    query: Query, settings: Settings, chosen: Sequence[str] | None, case: Path | None, images: Sequence[Path]
) -> tuple[SearchResult, list[str], ReadFile | None]:
    """The result of a search of the live catalog, its default columns and its images.

    Raises:
        BadParameter: a column is unknown.
    """
    from logo_similarity.engine import SearchEngine
    from logo_similarity.errors import NotFoundError, StoreError
    from logo_similarity.image.decode import ImageLimits
    from logo_similarity.storage import open_store

    store = open_store(settings)

    def read_file(place: int, most: int) -> bytes | None:
        try:
            return None if store is None else store.read(result.hits[place].logo.filename, most)
        except (NotFoundError, StoreError):
            return None

    limits = ImageLimits.of(settings)
    version = SearchEngine.open(settings.catalogs, device=settings.device, limits=limits)
    with version.with_changes(settings.catalogs) as engine:
        result = engine.search(query)
        if chosen is not None:
            _check_columns(chosen, result.hits, engine.metadata.extra_columns)
        if case is not None:
            from logo_similarity.catalog.files import replacing
            from logo_similarity.reports.record import record_case

            recorded = record_case(query, result, engine, names=[image.name for image in images])
            with replacing(case) as file:
                file.write(recorded.to_json())
        manifest = engine.manifest
        has_copies = manifest.distinct_images < manifest.count
        columns = _default_columns(result, engine.logos.fields, has_parts=engine.has_parts, has_copies=has_copies)
        return result, columns, None if store is None else read_file


def _search_there(
    query: Query, url: str, key: str | None, chosen: Sequence[str] | None
) -> tuple[SearchResult, list[str], ReadFile | None]:
    """The same of a service."""
    from logo_similarity.client import Client

    def read_file(place: int, most: int) -> bytes | None:
        link = answer.image_urls[place]
        return None if link is None else _fetch(urljoin(url, link), most)

    with Client(url, api_key=key) as client:
        answer = client.search(query)
    if chosen is not None:
        _check_columns(chosen, answer.result.hits)
    has_copies = any(hit.copies for hit in answer.result.hits)
    columns = _default_columns(answer.result, answer.fields, has_parts=answer.result.parts, has_copies=has_copies)
    return answer.result, columns, read_file if any(answer.image_urls) else None


def _fetch(link: str, most: int) -> bytes | None:
    """The image behind a link, which needs no key; None: it has expired, is larger, or nothing responds."""
    import httpx2

    file = bytearray()
    try:
        with httpx2.stream("GET", link) as response:
            if response.is_error:
                return None
            for piece in response.iter_bytes():
                file += piece
                if len(file) > most:
                    return None
    except httpx2.TransportError:
        return None
    return bytes(file)


def _default_columns(result: SearchResult, fields: Sequence[str], *, has_parts: bool, has_copies: bool) -> list[str]:
    evidence = ["image_score", "word_similarity"] if result.words is not None and result.pictures else []
    columns = ["score", *evidence, "expect", "band", "id", *(field.name for field in select_fields(fields))]
    if has_parts:
        columns.append("matched")
    if has_copies:
        columns.append("copies")
    return columns


def print_hits(hits: Sequence[Hit], columns: Sequence[str]) -> None:
    """Print one line a hit: a table on a terminal, tab-separated values elsewhere."""
    rows = [[values.get(column, "") for column in columns] for values in map(_values, hits)]
    if not rows:
        err.print("no hits")
    elif out.is_terminal:
        _print_terminal_table(
            rows, columns, [place for place in range(len(columns)) if any(row[place] for row in rows)]
        )
    else:
        print_lines(rows)


def _check_columns(names: Sequence[str], hits: Sequence[Hit], further: Callable[[], Iterable[str]] = tuple) -> None:
    """Raise BadParameter if a name is neither a field nor a further column of the source."""
    known = [*WHOLE_COLUMNS, *(field.name for field in FIELDS)]
    if not set(names).difference(known, *(hit.logo.record.extra for hit in hits)):
        return
    known += further()  # only now, since it reads every row of the catalog
    for name in names:
        if name not in known:
            raise typer.BadParameter(
                f"unknown column {name!r}; the columns are {', '.join(known)}", param_hint="--columns"
            )


def _answer(result: SearchResult) -> dict[str, object]:
    return {
        "catalog": result.version,
        "reranked": result.reranked,
        "parts": result.parts,
        "words": result.words,
        "exact": result.exact,
        "passed": result.passed,
        "results": [
            {
                "score": hit.score,
                "cosine": hit.cosine,
                "copies": hit.copies,
                "expect": hit.expect,
                "band": hit.band,
                "matched": None if hit.matched is None else hit.matched._asdict(),
                "picture": hit.picture,
                "image_score": hit.image_score,
                "word_similarity": hit.word_similarity,
                "word_field": hit.word_field,
                "id": hit.logo.record.logo_id,
                "filename": hit.logo.record.filename,
                "metadata": hit.logo.record.metadata(),
            }
            for hit in result.hits
        ],
        "timings_ms": {name: round(getattr(result.timings, name), 3) for name in result.timings.__slots__},
    }


def _print_terminal_table(rows: Sequence[Sequence[str]], columns: Sequence[str], places: Sequence[int]) -> None:
    """Print the columns at these places."""
    header, *body = ([printable(row[place]) for place in places] for row in (columns, *rows))
    widths = _column_widths(body, header, out.width)
    out.print(_line(header, widths), style="bold")
    for row in body:
        out.print(_line(row, widths))


def _column_widths(rows: Sequence[Sequence[str]], columns: Sequence[str], room: int) -> list[int]:
    """Widths of columns that fit into lines of `room` characters, if long texts and headers can be shortened so far."""
    widths, minima = [], []
    for name, cells in zip(columns, zip(*rows, strict=True), strict=True):
        content = max(map(cell_len, cells))
        widths.append(max(content, cell_len(name)))
        minima.append(content if name in WHOLE_COLUMNS or content <= SHORT_TEXT else SHORTENED_TEXT)
    while sum(widths) + GAP * (len(widths) - 1) > room:
        shrinkable = [column for column, width in enumerate(widths) if width > minima[column]]
        if not shrinkable:
            break
        widths[max(shrinkable, key=widths.__getitem__)] -= 1
    return widths


def _line(row: Sequence[str], widths: Sequence[int]) -> Text:
    cells = list(map(Text, row))
    for cell, width in zip(cells, widths, strict=True):
        cell.truncate(width, overflow="ellipsis", pad=True)
    line = Text(" " * GAP).join(cells)
    line.rstrip()
    return line


def _values(hit: Hit) -> dict[str, str]:
    """Every column of a hit."""
    record = hit.logo.record
    return {
        **{name: _text(value) for name, value in record.extra.items()},
        "score": f"{hit.score:.4f}",
        "cosine": _number(hit.cosine),
        "image_score": _number(hit.image_score),
        "word_similarity": _number(hit.word_similarity),
        "word_field": hit.word_field or "",
        "copies": f"+{hit.copies}" if hit.copies else "",
        "expect": "" if hit.expect is None else f"{hit.expect:.2g}",
        "band": hit.band or "",
        "matched": "" if hit.matched is None else "part",
        "id": record.logo_id,
        "filename": record.filename,
        **{field.name: field.to_text(getattr(record, field.name)) for field in FIELDS},
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _text(value: JsonValue) -> str:
    """The value of a further column: text as it is, null as an empty text, any other value as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

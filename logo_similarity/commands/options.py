"""Options that several commands share, and the example in a command's help."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from logo_similarity.config import load_settings
from logo_similarity.errors import SourceError
from logo_similarity.filters import Filter

if TYPE_CHECKING:
    from logo_similarity.catalog.sources import Source
    from logo_similarity.image.files import ImageFiles

Catalogs = Annotated[
    Path | None, typer.Option("--catalogs", help="Folder of the catalog versions.  [LOGO_CATALOGS, default: catalogs]")
]
Device = Annotated[
    str | None, typer.Option("--device", help="Device of the encoder: auto, cpu or cuda.  [LOGO_DEVICE, default: auto]")
]
ImagesDir = Annotated[
    Path | None, typer.Option("--images", help="Folder of the images (local store).  [LOGO_IMAGES_DIR]")
]
Host = Annotated[str | None, typer.Option("--host", help="Address to listen on.  [LOGO_HOST, default: 127.0.0.1]")]
Port = Annotated[int | None, typer.Option("--port", help="Port to listen on.  [LOGO_PORT, default: 8000]")]
Workers = Annotated[
    int | None, typer.Option("--workers", help="Worker processes.  [LOGO_WORKERS, default: from the cores]")
]
SearchThreads = Annotated[int | None, typer.Option("--threads", help="Search threads per worker.  [LOGO_THREADS]")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Number of threads. Default: one per usable core.")
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Embed the images on the nodes of a Ray cluster: host:port of its head, or auto for the one that this machine "
        "belongs to. Needs the extra `ray`.",
    ),
]
Url = Annotated[
    str | None,
    typer.Option("--url", help="Ask the service at this address, as https://logos.example. Needs the extra `client`."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        help="File with the API key for --url, on its first line. Default: the first key in LOGO_API_KEYS.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=VALUES",
        help="Search only logos that pass this filter: vienna=26.01,3.1 (one of several codes), year=2010..2015 (a range), "
        "extra.colour=red (a facet), status=-ended (all but these), company='example bakery' (all words), or a filter as "
        "JSON. Give it again for conditions that must all be met.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Where a source is and how it is read: the values of the options that `with_source` gives to a command."""

    path: Path
    kind: str | None
    images: str | None
    mapping: Path | None
    columns: list[str]
    encoding: str | None
    sheet: str | None

    def open(self, *, needs_images: bool = True) -> Source:
        """The source. `needs_images`: whether the names of its images are looked up.

        Raises:
            SourceError: it cannot be read as these options say.
            ConfigError: the images are in a bucket, and a setting of S3 is invalid.
        """
        from logo_similarity.catalog.sources import open_source
        from logo_similarity.catalog.sources.images import ImageNames, NamesAsWritten
        from logo_similarity.catalog.sources.mapping import parse_columns

        return open_source(
            self.path,
            kind=self.kind,
            images=_open_images(self.images),
            mapping=self.mapping,
            columns=parse_columns(self.columns),
            encoding=self.encoding,
            sheet=self.sheet,
            names=ImageNames if needs_images else NamesAsWritten,
        )


_SOURCE: dict[str, tuple[Any, Any]] = {
    "path": (
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A table (CSV, JSON, Excel, Parquet), a folder of images with or without a table, a ZIP file of images, "
            "files of a register, or a folder in the L3D layout.",
        ),
    ),
    "kind": (
        str | None,
        typer.Option("--kind", help="Kind of the source: table, folder, register or l3d. Default: detected."),
    ),
    "images": (
        str | None,
        typer.Option(
            "--images",
            metavar="PATH",
            help="Folder or ZIP file of the images, or s3://bucket/prefix. Default: images/, images.zip or "
            "NAME-images.zip beside the source.",
        ),
    ),
    "mapping": (
        Path | None,
        typer.Option("--mapping", help="TOML file that states the columns and the format of a table."),
    ),
    "columns": (
        list[str],
        typer.Option(
            "--map",
            metavar="FIELD=COLUMN",
            help='Column of a field of a table, as filename="Picture file", or of a facet, as extra.colour="Colour claim"; '
            "repeatable. Default: recognised by its name.",
        ),
    ),
    "encoding": (
        str | None,
        typer.Option("--encoding", help="Encoding of a text table, as cp1252. Default: recognised."),
    ),
    "sheet": (
        str | None,
        typer.Option("--sheet", help="Sheet of a workbook. Default: the first with rows."),
    ),
}
"""Type and option of each field of `SourceOptions`."""


def _open_images(images: str | None) -> Path | ImageFiles | None:
    if images is None or "://" not in images:
        return None if images is None else Path(images)
    from logo_similarity.storage.images import BucketImages

    return BucketImages(images, load_settings())


def with_source(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the argument SOURCE and the options that say how it is read; it gets them as `source`."""

    @functools.wraps(command)
    def with_options(**values: Any) -> None:  # noqa: ANN401 - each of the type of its option
        command(source=SourceOptions(**{name: values.pop(name) for name in _SOURCE}), **values)

    kind = inspect.Parameter.KEYWORD_ONLY
    own = [
        parameter.replace(kind=kind)
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.name != "source"
    ]
    options = [
        inspect.Parameter(
            name,
            kind,
            default=inspect.Parameter.empty if annotation is Path else [] if annotation == list[str] else None,
            annotation=Annotated[annotation, option],
        )
        for name, (annotation, option) in _SOURCE.items()
    ]
    with_options.__signature__ = inspect.Signature([*options, *own])  # type: ignore[attr-defined]
    return with_options


def example(arguments: str) -> str:
    """The epilog of a command's help: how it is called."""
    return f"\b\nExample:\n  logo-similarity {arguments}"


def name_options(message: str, command: Any, words: Sequence[str]) -> str:  # noqa: ANN401 - typer's own class
    """The message with the options of a command that are among the words, instead of the settings that they override.

    The help of such an option names its setting first in square brackets.
    """
    given = {word.partition("=")[0] for word in words}
    for option in command.params:
        setting = re.search(r"\[(LOGO_\w+)", getattr(option, "help", None) or "")
        if setting is not None:
            for name in given.intersection(option.opts):
                message = re.sub(rf"\b{setting[1]}\b", name, message)
    return message


def read_key(path: Path | None) -> str | None:
    """The API key for a service: from a file, or the first one of LOGO_API_KEYS; None: there is none.

    Raises:
        SourceError: the file has no key.
        OSError: the file cannot be read.
    """
    if path is None:
        keys = load_settings().api_keys
        return keys[0].get_secret_value() if keys else None
    lines = path.read_text("utf-8", errors="replace").splitlines()
    if not lines or not lines[0].strip():
        raise SourceError(f"{path}: has no API key; write it on the first line")
    return lines[0].strip()


def read_image(path: Path) -> bytes:
    """The content of an image file.

    Raises:
        SourceError: the path is a folder.
        OSError: the file cannot be read.
    """
    if path.is_dir():
        raise SourceError(f"{path}: is a folder; name an image file")
    return path.read_bytes()


def read_filter(conditions: Sequence[str]) -> Filter | None:
    """The filter of all `--where` options."""
    trees, texts = [], []
    for condition in conditions:
        if condition.lstrip().startswith("{"):
            try:
                trees.append(json.loads(condition))
            except json.JSONDecodeError as error:
                raise typer.BadParameter(f"not valid JSON: {error}", param_hint="--where") from None
        else:
            name, equals, text = condition.partition("=")
            if not equals:
                raise typer.BadParameter(f"{condition!r} has no '='; write FIELD=VALUES", param_hint="--where")
            texts.append((name.strip(), text))
    return Filter.parse(texts, {"and": trees} if trees else None)

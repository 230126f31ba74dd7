"""`logo-similarity codes ...`: the names of Vienna codes and Nice classes."""

from __future__ import annotations

from typing import Annotated

import typer

from logo_similarity.classification import Classification, Language, load_classifications
from logo_similarity.commands.options import AsJson, example
from logo_similarity.config import load_settings
from logo_similarity.terminal import err, out, print_json, print_lines, printable

codes_app = typer.Typer(
    help="Names of Vienna codes and Nice classes.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

InLanguage = Annotated[Language, typer.Option("--language", help="Language of the built-in names.")]


@codes_app.command(epilog=example("codes vienna 26.1"))
def vienna(
    code: Annotated[str | None, typer.Argument(metavar="CODE", help="A code, as 26.1. Default: all codes.")] = None,
    language: InLanguage = Language.EN,
    as_json: AsJson = False,
) -> None:
    """Print the name of a Vienna code and of all codes below it.

    The categories have short names of this project. Divisions and sections are known if LOGO_VIENNA_NAMES is set; until
    then, and if a code is not in the official list, the nearest code above it is printed.
    """
    _print(load_classifications(load_settings().vienna_names).vienna[language], code, as_json=as_json)


@codes_app.command(epilog=example("codes nice 25"))
def nice(
    number: Annotated[
        str | None, typer.Argument(metavar="CLASS", help="A class, from 1 to 45. Default: all classes.")
    ] = None,
    language: InLanguage = Language.EN,
    as_json: AsJson = False,
) -> None:
    """Print the name of a Nice class, or of all."""
    _print(load_classifications().nice[language], number, as_json=as_json)


def _print(names: Classification, code: str | None, *, as_json: bool) -> None:
    nearest = None if code is None else names.nearest(code)
    if code is not None and nearest is None:
        known = "a Vienna code, as 26, 26.1 or 26.01.01" if names.scheme == "vienna" else "a number from 1 to 45"
        raise typer.BadParameter(f"{code!r:.50} is not in the list; name {known}")
    if code is not None and nearest != names.canonical(code):
        err.print(f"{names.canonical(code)} is not in the list; the nearest code above it is {nearest}")
    listed = dict(names.below(nearest))
    if as_json:
        print_json({"scheme": names.scheme, "source": names.source, "codes": listed})
    elif out.is_terminal:
        width = max(map(len, listed))
        for one, name in listed.items():
            out.print(f"{one:{width}}  {'  ' * one.count('.')}{printable(name)}")
    else:
        print_lines(listed.items())

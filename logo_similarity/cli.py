"""The command line: composes the commands, and turns errors into one line and an exit status."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from pydantic import Field, TypeAdapter, ValidationError
from typer.core import TyperGroup

from logo_similarity.commands.build import build
from logo_similarity.commands.catalogs import catalog_app
from logo_similarity.commands.codes import codes_app
from logo_similarity.commands.compact import compact
from logo_similarity.commands.doctor import doctor
from logo_similarity.commands.evaluate import evaluate
from logo_similarity.commands.explain import explain
from logo_similarity.commands.export import export
from logo_similarity.commands.images import images_app
from logo_similarity.commands.import_ import import_
from logo_similarity.commands.inspect import inspect
from logo_similarity.commands.keys import keys_app
from logo_similarity.commands.options import example, name_options
from logo_similarity.commands.plan import plan
from logo_similarity.commands.report import report
from logo_similarity.commands.search import search
from logo_similarity.commands.serve import serve
from logo_similarity.commands.train import train
from logo_similarity.commands.watch import watch_app
from logo_similarity.config import unknown_settings
from logo_similarity.errors import LogoSimilarityError
from logo_similarity.terminal import err
from logo_similarity.version import __version__
from logo_similarity.wording import allowed_values

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class _Commands(TyperGroup):
    """The commands. An invalid value of an option is described as an invalid setting is, not in pydantic's words."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own class
        """Run a command."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                error.message = _explain(error.__cause__.errors()[0], error.param)
            raise
        except KeyboardInterrupt as error:  # typer would end without a word
            _fail("interrupted", error, status=130)


app = typer.Typer(
    cls=_Commands,
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
        _fail(name_options(str(error), _command(), sys.argv[1:]), error)
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}", error)


@app.callback(invoke_without_command=True)
def before_command(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Handle the options that precede a command, and warn of unknown settings."""
    if show_version:
        print(__version__)  # noqa: T201
        raise typer.Exit
    if context.invoked_subcommand != "serve":  # it logs them, since its stderr is a log
        for message in unknown_settings():
            _print_error(f"warning: {message}", style="yellow")


# `--help` lists the commands in the order in which they are registered.
app.command(epilog=example("inspect register.csv --images images"))(inspect)
app.command(epilog=example("build register.csv --images images"))(build)
app.command("import", epilog=example("import apc260105.zip --images new-images --store images"))(import_)
app.command(epilog=example("compact --catalogs catalogs"))(compact)
app.command(epilog=example("search logo.png --top-k 5"))(search)
app.command(epilog=example("explain logo.png 075d1f55-a324-5351-b637-f32323df9837"))(explain)
app.command(epilog=example("report case.json --out report.pdf"))(report)
app.command(epilog=example("serve --images images"))(serve)
app.command(epilog=example("evaluate data/benchmark"))(evaluate)
app.command(epilog=example("plan --memory 8"))(plan)
app.command(epilog=example("doctor --url https://logos.example"))(doctor)
app.command(epilog=example("train data/training --out run"))(train)
app.command(epilog=example("export timm:vit_small_patch14_dinov2.lvd142m --out dinov2"))(export)
app.add_typer(catalog_app, name="catalog")
app.add_typer(codes_app, name="codes")
app.add_typer(keys_app, name="keys")
app.add_typer(images_app, name="images")
app.add_typer(watch_app, name="watch")


def _explain(problem: ErrorDetails, option: Any) -> str:  # noqa: ANN401 - typer's own class
    if problem["type"] == "value_error":  # not one of the choices
        return problem["msg"].removeprefix("Value error, ").removesuffix(".")
    bounds = Field(ge=option.min, le=option.max)
    schema = TypeAdapter(Annotated[option.type_descriptor.annotation, bounds]).json_schema()
    return f"{problem['input']!r} is not {allowed_values(schema)}"


def _command() -> Any:  # noqa: ANN401 - typer's own class
    """The command that the command line names."""
    command: Any = typer.main.get_command(app)
    for word in sys.argv[1:]:
        command = getattr(command, "commands", {}).get(word, command)
    return command


def _fail(message: str, error: BaseException, status: int = 1) -> NoReturn:
    _print_error("\n".join([message, *getattr(error, "__notes__", ())]), style="red")
    sys.exit(status)


def _print_error(message: str, *, style: str) -> None:
    err.print(f"logo-similarity: {message}", style=style, highlight=False, soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()

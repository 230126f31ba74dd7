"""The parameters of a search as options of a command, made from their declaration in `domain.Query`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from logo_similarity.domain import PARAMETERS, Parameter

Command = TypeVar("Command", bound=Callable[..., None])


def with_parameters(**defaults: object) -> Callable[[Command], Command]:
    """Give a command an option for each parameter; it gets their values as keyword arguments of the same names.

    Args:
        defaults: of parameters whose default differs from the one that is declared.
    """

    def decorate(command: Command) -> Command:
        options = [
            inspect.Parameter(
                parameter.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(parameter.name, parameter.default),
                annotation=Annotated[
                    parameter.type | None,
                    typer.Option(help=parameter.description.replace("`", ""), **_bounds(parameter)),
                ],
            )
            for parameter in PARAMETERS
        ]
        own = [
            parameter
            for parameter in inspect.signature(command, eval_str=True).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        command.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
        return command

    return decorate


def _bounds(parameter: Parameter) -> dict[str, Any]:
    """The bounds of a number. `Query` checks the length of a text."""
    return {} if parameter.type is str else {"min": parameter.least, "max": parameter.most}

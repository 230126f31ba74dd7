"""A parameter of a search is declared once, in `Query`; HTTP and the command line take it from there."""

from __future__ import annotations

import pytest
import typer

from logo_similarity.api.app import create_app
from logo_similarity.api.parameters import EXPECTED
from logo_similarity.cli import app
from logo_similarity.config import load_settings
from logo_similarity.domain import PARAMETERS, Parameter


@pytest.fixture(scope="module")
def documented() -> dict[str, dict[str, object]]:
    document = create_app(load_settings(log_level="error")).openapi()
    return {one["name"]: one for one in document["paths"]["/v1/search"]["post"]["parameters"]}


def test_the_parameters_are_those_of_the_query() -> None:
    assert [parameter.name for parameter in PARAMETERS] == [
        "logo_id", "crop", "invert", "greyscale", "turned", "part_of_mark", "top_k", "max_identical", "min_score", "rerank",
        "parts", "group",
        "max_expect", "words", "read_words", "propose", "word_weight",
    ]  # fmt: skip


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.name)
def test_http_has_the_parameter(parameter: Parameter, documented: dict[str, dict[str, object]]) -> None:
    one = documented[parameter.name]
    assert parameter.description in str(one["description"])
    schema = one["schema"]
    assert isinstance(schema, dict)
    bounds = schema["anyOf"][0] if "anyOf" in schema else schema
    least, most = ("minLength", "maxLength") if parameter.type is str else ("minimum", "maximum")
    assert (bounds.get(least), bounds.get(most)) == (parameter.least, parameter.most)


def test_every_parameter_of_the_service_has_words_for_its_errors() -> None:
    document = create_app(load_settings(log_level="error")).openapi()
    names = {
        parameter["name"]
        for path in document["paths"].values()
        for operation in path.values()
        for parameter in operation.get("parameters", ())
        if parameter["in"] != "path"  # always text
    }
    forms = [schema for name, schema in document["components"]["schemas"].items() if name.startswith("Body_")]
    names.update(*(form["properties"] for form in forms))
    assert names | {"mark", "webhook"} == set(EXPECTED)  # Swagger UI would fill in these fields of a form


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.name)
def test_the_command_line_has_the_parameter(parameter: Parameter) -> None:
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    options = {option.name: option for option in command.commands["search"].params}
    assert f"--{parameter.name.replace('_', '-')}" in options[parameter.name].opts

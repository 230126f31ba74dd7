from __future__ import annotations

import json
from pathlib import Path

from tests.commands import run, run_on_terminal

OFFICIAL = Path(__file__).parents[1] / "classification" / "vienna.xml"


def test_all_categories_are_printed_as_lines() -> None:
    outcome = run("codes", "vienna")
    assert outcome.returncode == 0, outcome.stderr
    assert len(outcome.stdout.splitlines()) == 31
    assert "26\tGeometric shapes and bodies\n" in outcome.stdout


def test_names_are_printed_in_columns_on_a_terminal() -> None:
    assert run_on_terminal("codes", "nice", "9", "--language", "de", width=80) == [
        "9  Elektronik, Software und Messgeräte"
    ]


def test_the_official_list_has_the_codes_below_a_code() -> None:
    outcome = run("codes", "vienna", "1.1", LOGO_VIENNA_NAMES=str(OFFICIAL))
    assert outcome.stdout.splitlines() == [
        "01.01\tShining things",
        "01.01.01\tThings that shine",
        "01.01.02\tOne of them",
        "01.01.15\tThings with a tail (except 1.1.1)",
    ]


def test_the_nearest_code_above_an_unknown_one_is_printed() -> None:
    outcome = run("codes", "vienna", "27.99.1", "--json")
    assert outcome.returncode == 0
    assert "27.99.01 is not in the list; the nearest code above it is 27" in outcome.stderr
    assert json.loads(outcome.stdout) == {
        "scheme": "vienna",
        "source": "built-in",
        "codes": {"27": "Styles of letters and digits"},
    }


def test_what_is_no_code_is_refused() -> None:
    outcome = run("codes", "nice", "46")
    assert outcome.returncode == 2
    assert "'46' is not in the list; name a number from 1 to 45" in outcome.stderr

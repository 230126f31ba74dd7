from __future__ import annotations

from pathlib import Path

import typer

from logo_similarity.cli import app
from scripts.update_readme import README, replaced, settings_table

ROOT = Path(__file__).parents[2]


def test_settings_table_is_the_one_of_the_code() -> None:
    text = README.read_text()
    assert replaced(text, "settings", settings_table()) == text, "run `python -m scripts.update_readme`"


def test_every_command_is_named() -> None:
    text = README.read_text()
    commands = typer.main.get_command(app)
    names = set(getattr(commands, "commands", {}))
    assert names >= {"build", "serve", "search", "catalog", "images", "doctor"}
    assert [name for name in names if f"logo-similarity {name}" not in text] == []


def test_every_link_leads_somewhere() -> None:
    import re

    for document in (README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"

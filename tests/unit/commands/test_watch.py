from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from logo_similarity.cli import app
from logo_similarity.config import load_settings
from logo_similarity.keys.store import open_key_store
from tests.importing import FILES
from tests.keys import make_key
from tests.watching import NEW, WatchedDesk


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    desk = WatchedDesk(tmp_path_factory.mktemp("filled"))
    desk.fill()
    return desk


@pytest.fixture
def folder(filled: WatchedDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOGO_CATALOGS", str(filled.root))
    monkeypatch.setenv("LOGO_WATCHES_DIR", str(tmp_path / "watches"))
    return tmp_path


def call(*words: object) -> str:
    outcome = CliRunner().invoke(app, ["watch", *map(str, words)])
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


def refused(*words: object) -> str:
    outcome = CliRunner().invoke(app, ["watch", *map(str, words)])
    assert outcome.exit_code != 0
    return str(outcome.exception or "") + outcome.output


def listed(*words: object) -> list[dict[str, Any]]:
    return list(json.loads(call("list", "--json", *words)))


def test_a_watch_from_its_addition_to_its_removal(folder: Path, filled: WatchedDesk) -> None:
    assert call("run") == "no watches\n"
    assert "watching for 'Ours' from" in call(
        "add", FILES[NEW], FILES[5], "--name", "Ours", "--mark", "US-3", "--words", "Kranich", "--where", "status=-ended",
        "--max-expect", 0.5,
    )  # fmt: skip
    (watch,) = listed()
    assert (watch["pictures"], watch["marks"], watch["owner"], watch["problem"]) == (2, ["US-3"], "anonymous", None)
    assert watch["parameters"] == {"words": "Kranich", "max_expect": 0.5}
    assert watch["filter"] == {"not": {"field": "status", "is": ["ended"]}}
    assert "nothing new" in call("run")
    filled.add(filled.mark(NEW), filled.mark(3, 2, status="registered", text="Kranich"))
    assert "1 new logo and 1 changed logo since" in call("run")
    lines = call("alerts").splitlines()
    assert ["new, score 1.0000" in lines[1], "status: pending -> registered" in lines[2]] == [True, True]
    alerts = json.loads(call("alerts", watch["id"], "--json"))
    assert [(alert["kind"], alert["logo_id"]) for alert in alerts] == [("similar", f"US-{NEW}"), ("changed", "US-3")]
    assert listed()[0]["alerts"] == 2
    assert "2 pictures, 'Kranich'" in call("list")
    call("remove", watch["id"])
    assert listed() == []
    assert "no watch has the id" in refused("remove", watch["id"])
    assert "no watch has the id" in refused("alerts", watch["id"])


def test_what_cannot_be_watched_is_refused(folder: Path) -> None:
    (folder / "text.png").write_text("no picture")
    assert "text.png" in refused("add", folder / "text.png")
    assert "name an image file" in refused("add")
    assert "no logo has the id" in refused("add", FILES[1], "--mark", "US-none")
    assert listed() == []


def test_the_watches_of_a_key_run_while_it_is_active(
    folder: Path, filled: WatchedDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no active key has this id or name" in refused("add", FILES[NEW + 1], "--key", "team")
    monkeypatch.setenv("LOGO_KEYS", str(folder / "keys.json"))
    store = open_key_store(load_settings())
    make_key(store, "team-a")
    key = store.read().find("team-a").id
    call("add", FILES[NEW + 1], "--key", "team-a")
    call("add", FILES[NEW + 1], "--key", key)
    assert [watch["owner"] for watch in listed()] == [key, key]
    monkeypatch.delenv("LOGO_KEYS")
    assert "set LOGO_KEYS as for the service" in refused("run")
    monkeypatch.setenv("LOGO_KEYS", str(folder / "keys.json"))
    filled.add(filled.mark(NEW + 1))
    call("run")
    assert [watch["alerts"] for watch in listed()] == [1, 1]

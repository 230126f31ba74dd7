from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from logo_similarity import __version__
from logo_similarity.terminal import progress
from tests.samples import SampleCatalog


def run(*words: object, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "logo_similarity.cli", *map(str, words)]
    return subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=False)


def test_search_as_a_table_and_as_json(sample_catalog: SampleCatalog) -> None:
    image = sample_catalog.images / sample_catalog.files[6]
    table = run("search", image, "--catalogs", sample_catalog.root, "--top-k", 3)
    assert table.returncode == 0
    assert "EM/000006" in table.stdout
    assert "1.0000" in table.stdout
    done = run("search", image, "--top-k", 3, "--json", LOGO_CATALOGS=str(sample_catalog.root))
    answer = json.loads(done.stdout)
    assert [len(answer["results"]), answer["results"][0]["id"]] == [3, "EM/000006"]
    assert answer["results"][0]["metadata"]["company"] == "Company 6"


def test_search_refuses_what_is_no_image(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"nothing")
    for path in (tmp_path / "x.jpg", tmp_path / "missing.jpg"):
        done = run("search", path, "--catalogs", sample_catalog.root)
        assert done.returncode == 1
        assert done.stderr.startswith("logo-similarity: ")
        assert "Traceback" not in done.stderr


def test_build_list_verify_activate_prune(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    out = tmp_path / "catalogs"
    few = tmp_path / "few"
    few.mkdir()
    for name in sample_catalog.files[:5]:
        (few / name).write_bytes((sample_catalog.images / name).read_bytes())
    built = run("build", few, "--out", out, "--json")
    assert built.returncode == 0, built.stderr
    first = json.loads(built.stdout)
    assert (first["source"]["indexed"], first["reused"], first["source"]["kind"]) == (5, False, "folder")
    assert "embed: 5 of 5" in built.stderr  # plain lines where there is no terminal
    assert json.loads(run("build", few, "--out", out, "--json").stdout)["reused"] is True
    second = json.loads(run("build", few, "--out", out, "--json", "--m", "8").stdout)
    listed = json.loads(run("catalog", "list", "--catalogs", out, "--json").stdout)
    assert [(entry["version"], entry["live"]) for entry in listed] == [
        (first["version"], False),
        (second["version"], True),
    ]
    assert json.loads(run("catalog", "verify", "--catalogs", out, "--json").stdout)["ok"] is True
    assert run("catalog", "activate", first["version"], "--catalogs", out).returncode == 0
    assert first["version"] in run("catalog", "list", "--catalogs", out).stdout
    assert "nothing to delete" in run("catalog", "prune", "--catalogs", out).stdout
    assert json.loads(run("catalog", "list", "--catalogs", out, "--json").stdout)[0]["live"] is True
    unknown = run("catalog", "activate", "20200101T000000Z-00000000", "--catalogs", out)
    assert unknown.returncode == 1
    assert "catalog list" in unknown.stderr


def test_doctor_says_what_is_wrong(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    good = run("doctor", "--json", LOGO_CATALOGS=str(sample_catalog.root), LOGO_IMAGES_DIR=str(sample_catalog.images))
    assert good.returncode == 0, good.stdout
    findings = {finding["what"]: finding for finding in json.loads(good.stdout)}
    assert all(finding["ok"] for finding in findings.values())
    assert "200 logos" in findings["catalog"]["detail"]
    bad = run("doctor", "--json", LOGO_CATALOGS=str(tmp_path), LOGO_IMAGES_DIR=str(tmp_path / "gone"))
    assert bad.returncode == 1
    wrong = {finding["what"] for finding in json.loads(bad.stdout) if not finding["ok"]}
    assert wrong == {"catalog", "image store"}


def test_version_and_help() -> None:
    assert run("--version").stdout.strip() == __version__
    assert run("build", "--help").returncode == 0
    assert run("unknown").returncode == 2


def test_nothing_heavy_is_loaded_for_help() -> None:
    heavy = "{'cv2', 'faiss', 'numpy', 'onnxruntime', 'fastapi', 'pyarrow'}"
    code = f"import sys, logo_similarity.cli, logo_similarity.config; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_on_a_terminal_and_elsewhere(terminal: bool) -> None:
    console = Console(force_terminal=terminal, record=True, width=100, file=Path(os.devnull).open("w"))  # noqa: SIM115
    with progress(console) as report:
        for done in range(0, 101, 20):
            report("embed", done, 100)
        report("index", 50, 50)
    text = console.export_text()
    console.file.close()
    assert "embed" in text
    assert "index" in text
    assert ("100/100" if terminal else "embed: 100 of 100") in text


def test_a_build_says_which_fields_it_could_not_read(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    """Dates of another format, and a table in Latin-1: nothing is rejected, and nothing goes unsaid."""
    files = sample_catalog.files[:4]
    lines = ["filename,company,application_date", *(f"{file},Müller,31.12.2020" for file in files)]
    (tmp_path / "marks.csv").write_bytes("\n".join(lines).encode("latin-1"))
    words = ["build", str(tmp_path / "marks.csv"), "--images", str(sample_catalog.images)]
    words += ["--out", str(tmp_path / "out")]
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert "4 indexed, 0 rejected" in done.stdout
    assert "4 logos have application_date" in done.stderr
    assert "4 logos have company" in done.stderr
    told = json.loads(run(*words, "--json").stdout)
    assert told["unreadable"] == {"application_date": 4, "company": 4}
    words[1] = str(sample_catalog.root.parent / "marks.jsonl")
    assert json.loads(run(*words, "--json").stdout)["unreadable"] == {}

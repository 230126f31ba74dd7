from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from typer.testing import CliRunner

from logo_similarity.cli import app
from logo_similarity.terminal import format_bytes, print_table, progress
from logo_similarity.version import __version__
from tests.commands import run
from tests.samples import SAMPLES, SampleCatalog
from tests.service import command, until


def test_search_as_json(sample_catalog: SampleCatalog) -> None:
    image = sample_catalog.images / sample_catalog.files[6]
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
    assert "logos embedded: 5 of 5" in built.stderr  # plain lines, since stderr is not a terminal
    assert {"checking recall", "computing digests"} < set(built.stderr.splitlines())
    assert json.loads(run("build", few, "--out", out, "--json").stdout)["reused"] is True
    again = run("build", few, "--out", out).stdout
    assert f"{first['version']} is already up to date: 5 read, 5 indexed, 0 rejected; recall 1.0000 (" in again
    second = json.loads(run("build", few, "--out", out, "--json", "--m", "8").stdout)
    listed = json.loads(run("catalog", "list", "--catalogs", out, "--json").stdout)
    assert [(entry["version"], entry["live"]) for entry in listed] == [
        (first["version"], False),
        (second["version"], True),
    ]
    returned = run("build", few, "--out", out).stdout
    assert f"{first['version']} is live again: 5 read" in returned
    run("catalog", "activate", second["version"], "--catalogs", out)
    assert json.loads(run("catalog", "verify", "--catalogs", out, "--json").stdout)["ok"] is True
    verified = run("catalog", "verify", "--catalogs", out)
    assert "files verified" in verified.stdout
    assert re.search(r"verified: [\d.]+ MB of [\d.]+ MB", verified.stderr)
    assert run("catalog", "activate", first["version"], "--catalogs", out).returncode == 0
    assert first["version"] in run("catalog", "list", "--catalogs", out).stdout
    assert "nothing to delete" in run("catalog", "prune", "--catalogs", out).stdout
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"no image")
    assert run("build", tmp_path / "broken", "--out", out).returncode == 1
    (leftover,) = out.glob(".build-*")
    assert run("catalog", "prune", "--catalogs", out).stdout == f"deleted {leftover.name}\n"
    assert json.loads(run("catalog", "list", "--catalogs", out, "--json").stdout)[0]["live"] is True
    unknown = run("catalog", "activate", "20200101T000000Z-00000000", "--catalogs", out)
    assert unknown.returncode == 1
    assert "catalog list" in unknown.stderr


@pytest.mark.parametrize("words", [("build", "none"), ("search", "none"), ("catalog", "list"), ("doctor",)])
def test_an_unknown_setting_is_a_warning_of_every_command(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = run(*words, LOGO_CATALOGS=str(tmp_path / "none"), LOGO_PROT="8")
    warning = "logo-similarity: warning: LOGO_PROT is not a setting; did you mean LOGO_PORT?"
    assert done.stderr.splitlines()[0] == warning
    assert done.stderr.count("LOGO_PROT") == 1


def test_version_and_help() -> None:
    assert run("--version").stdout.strip() == __version__
    assert run("build", "--help").returncode == 0
    assert run("unknown").returncode == 2


Command = Any  # typer's own classes


def commands_of(command: Command, *path: str) -> Iterator[tuple[tuple[str, ...], Command]]:
    """Every command and group below `command`, with the words that call it, in the order of `--help`."""
    yield path, command
    for name in command.list_commands(None) if hasattr(command, "commands") else ():
        yield from commands_of(command.commands[name], *path, name)


COMMANDS = dict(commands_of(typer.main.get_command(app)))


def test_commands_are_listed_in_the_order_of_use() -> None:
    assert [path[0] for path in COMMANDS if len(path) == 1] == [
        "inspect", "build", "import", "compact", "search", "explain", "report", "serve", "evaluate", "plan",
        "doctor", "train", "export", "catalog", "codes", "keys", "images", "watch",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("keys create x --role root", "'--role': 'root' is not one of 'search', 'write', 'admin'"),
        ("search x.png --top-k ten", "'--top-k': 'ten' is not a whole number from 1 to 1000"),
        ("search x.png --top-k 0", "'--top-k': '0' is not a whole number from 1 to 1000"),
        ("search x.png --min-score 2", "'--min-score': '2' is not a number from -1 to 1"),
        ("catalog prune --keep 0", "'--keep': '0' is not a whole number of at least 1"),
        ("train x --out y --seed first", "'--seed': 'first' is not a whole number"),
    ],
)
def test_an_invalid_value_of_an_option_is_described_in_our_words(words: str, message: str) -> None:
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == f"Error: Invalid value for {message}"


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_fits_a_terminal_and_cuts_no_sentence(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80"}).stdout
    assert "Usage: " in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert not [line for line in shown.splitlines() if line.endswith("...") and not line.startswith("Usage")]


@pytest.mark.parametrize("path", [path for path, one in COMMANDS.items() if not hasattr(one, "commands")], ids=" ".join)
def test_every_command_has_an_example_that_it_accepts(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80"}).stdout.splitlines()
    program, *words = shown[shown.index("  Example:") + 1].split()
    assert (program, tuple(words[: len(path)])) == ("logo-similarity", path)
    COMMANDS[path].make_context("example", words[len(path) :])  # raises if an argument or an option is unknown


def test_nothing_heavy_is_loaded_for_help() -> None:
    heavy = "{'cv2', 'faiss', 'numpy', 'onnxruntime', 'fastapi', 'pyarrow', 'openpyxl', 'dateutil'}"
    code = f"import sys, logo_similarity.cli, logo_similarity.config; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("show_header", [True, False])
def test_a_table_in_a_pipe_is_lines_of_whole_values(capsys: pytest.CaptureFixture[str], show_header: bool) -> None:
    long = "[bold]not bold[/bold] :star: " + "long " * 3_000 + "end"
    table = Table("name", Column("text", max_width=5), show_header=show_header)
    table.add_row(Text("a", "red"), long)
    table.add_row("b\tc\x1b\nd", "")
    print_table(table)
    lines = ["name\ttext"] * show_header + [f"a\t{long}", "b c  d\t"]
    assert capsys.readouterr().out.splitlines() == lines


def test_commands_print_tables_by_lines_in_a_pipe(sample_catalog: SampleCatalog) -> None:
    (header, version) = run("catalog", "list", "--catalogs", sample_catalog.root).stdout.splitlines()
    assert header == "\tversion\tlogos\tMB\tencoder\tindex\trecall"
    (listed,) = json.loads(run("catalog", "list", "--catalogs", sample_catalog.root, "--json").stdout)
    live, name, logos, _, encoder, index, _ = version.split("\t")
    assert (live, name, logos, encoder) == ("live", listed["version"], "200", listed["encoder"])
    assert index == listed["precision"] == "float32"
    plan = run("plan", sample_catalog.root).stdout.splitlines()
    assert plan[0] == "logos\t200"
    checks = run("doctor", "--catalogs", sample_catalog.root).stdout.splitlines()
    assert [line.split("\t")[:2] for line in checks[:2]] == [["state", "check"], ["ok", "logo-similarity"]]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_on_a_terminal_and_elsewhere(terminal: bool) -> None:
    console = Console(force_terminal=terminal, record=True, width=100, file=Path(os.devnull).open("w"))  # noqa: SIM115
    with progress(console) as report:
        for done in range(0, 101, 20):
            report("logos embedded", done, 100)
        report("checking recall", 0, None)
    text = console.export_text()
    console.file.close()
    assert ("100/100" if terminal else "logos embedded: 100 of 100") in text
    assert "checking recall" in text
    assert "checking recall: 0" not in text  # it counts nothing
    assert "0/?" not in text


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_in_bytes_has_units(terminal: bool) -> None:
    console = Console(force_terminal=terminal, record=True, width=100, file=Path(os.devnull).open("w"))  # noqa: SIM115
    with progress(console, format_bytes) as report:
        report("verified", 0, 2_500_000)
        report("verified", 1_500_000, 2_500_000)
    text = console.export_text()
    console.file.close()
    assert ("1.5 MB/2.5 MB" if terminal else "verified: 1.5 MB of 2.5 MB") in text
    assert terminal or re.search(r", [\d.,]+ [kMGTPE]?B/s", text)


def test_counts_of_one_are_singular(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    (tmp_path / "marks.csv").write_text(f"filename,year\n{sample_catalog.files[0]},MMXX\n")
    words = ("build", tmp_path / "marks.csv", "--images", sample_catalog.images, "--out", tmp_path / "out")
    built = run(*words)
    assert "(share of the 1 nearest image that a search finds; 1 test query)" in built.stdout
    assert "1 logo with a value of year" in built.stderr
    checks = run("doctor", "--catalogs", tmp_path / "out", LOGO_WORKERS="1", LOGO_THREADS="1").stdout
    assert ": 1 logo, recall" in checks
    assert ": 1 worker with 1 search thread each" in checks


def test_a_build_says_which_fields_it_could_not_read(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    """Dates that are none, and bytes that are not in the named encoding: nothing is rejected, and nothing goes unsaid."""
    files = sample_catalog.files[:4]
    lines = ["filename,company,application_date", *(f"{file},Müller,soon" for file in files)]
    (tmp_path / "marks.csv").write_bytes("\n".join(lines).encode("latin-1"))
    words = ["build", str(tmp_path / "marks.csv"), "--images", str(sample_catalog.images)]
    words += ["--out", str(tmp_path / "out"), "--encoding", "utf-8"]
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert "4 indexed, 0 rejected" in done.stdout
    assert "4 logos with a value of application_date that cannot be parsed" in done.stderr
    assert "4 logos with a value of company that" in done.stderr
    answer = json.loads(run(*words, "--json").stdout)
    assert answer["unreadable"] == {"application_date": 4, "company": 4}
    words[1] = str(sample_catalog.root.parent / "marks.jsonl")
    assert json.loads(run(*words, "--json").stdout)["unreadable"] == {}


@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        (("serve", "--port", "70000"), {}, "--port: 70000 is not a whole number from 1 to 65535"),
        (("build", "marks.csv", "--device=tpu"), {}, "--device: 'tpu' is not one of auto, cpu, cuda"),
        (("serve",), {"LOGO_PORT": "70000"}, "LOGO_PORT: '70000' is not a whole number from 1 to 65535"),
        (
            ("serve", "--images", "/gone", "--port", "8000"),
            {"LOGO_S3_BUCKET": "marks"},
            "--images and LOGO_S3_BUCKET are both set",
        ),
    ],
)
def test_a_message_names_the_option_that_was_given(
    words: tuple[str, ...], settings: dict[str, str], message: str
) -> None:
    done = run(*words, **settings)
    assert done.returncode == 1
    assert message in " ".join((done.stderr + done.stdout).split())


def test_an_interrupted_build_says_that_it_resumes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a process in the background of a shell ignores it
    try:
        build = subprocess.Popen(command("build", str(SAMPLES), "--out", str(out)), stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    until(lambda: next(out.glob(".build-*/shards"), None) is not None)
    build.send_signal(signal.SIGINT)
    _, told = build.communicate(timeout=60)
    assert build.returncode == 130
    assert "logo-similarity: interrupted\nwhat is done so far is kept in" in told
    assert "the same command resumes there" in told


def test_a_build_that_fails_says_what_it_left(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in sample_catalog.files[:3]:
        (images / name).write_bytes((sample_catalog.images / name).read_bytes())
    build = ("build", images, "--out", tmp_path / "out")
    failed = run(*build, LOGO_TRIAL_SECONDS="0.001")
    (work,) = (tmp_path / "out").glob(".build-*")
    assert failed.returncode == 1
    assert f"what is done so far is kept in {work}: the same command resumes there" in failed.stderr
    done = run(*build)
    assert (done.returncode, work.exists()) == (0, False)
    assert "kept in" not in done.stderr

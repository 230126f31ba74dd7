"""Commands on a disk that is full: they say so, change nothing that anybody sees, and end well when there is room again."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.manifest import verify
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.versions import Catalog
from logo_similarity.engine import SearchEngine
from tests.samples import SampleCatalog
from tests.seaweedfs import S3Server
from tests.service import command, serving

ROOM = 10**12
ROWS = 60


def run(room: int, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that can write no file beyond so many bytes."""
    return subprocess.run(
        [sys.executable, "-m", "tests.faults.limited", str(room), *words],
        env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def message_of(done: subprocess.CompletedProcess[str]) -> str:
    """The error message of a command that failed; what it has done before may stand above, and what to do below it."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    (message,) = (line for line in done.stderr.splitlines() if line.startswith("logo-similarity: "))
    assert len(message) > 30
    return message


@pytest.fixture
def table(sample_catalog: SampleCatalog, tmp_path: Path) -> Path:
    return write_table(sample_catalog, tmp_path)


def write_table(sample_catalog: SampleCatalog, folder: Path) -> Path:
    rows = (sample_catalog.root.parent / "marks.jsonl").read_text().splitlines()
    path = folder / "marks.jsonl"
    path.write_text("\n".join(rows[:ROWS]))
    return path


@pytest.fixture(scope="module")
def sizes(sample_catalog: SampleCatalog, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Bytes of each file that a build of the table writes, by its name."""
    folder = tmp_path_factory.mktemp("sizes")
    table = write_table(sample_catalog, folder)
    made = build_catalog(open_source(table, images=sample_catalog.images), folder / "out", BuildOptions(threads=2))
    found = {path.name: path.stat().st_size for path in made.folder.rglob("*") if path.is_file()}
    with SearchEngine.open(folder / "out") as engine:
        dimension = engine.encoder.dimension
    return found | {"000000.npy": 128 + ROWS * 4 * dimension, "records.jsonl": 100}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("records.jsonl", "File too large"),
        ("000000.npy", "is the disk full?"),
        ("metadata.db", "is the disk full?"),
        ("patches.npy", "is the disk full?"),
        ("index.faiss", "is the disk full?"),
        ("model.onnx", "File too large"),
    ],
)
def test_a_build(
    sample_catalog: SampleCatalog, table: Path, tmp_path: Path, sizes: dict[str, int], name: str, reason: str
) -> None:
    room = sizes[name] - 1
    out = tmp_path / "catalogs"
    shutil.copytree(sample_catalog.root, out)
    before = Catalog(out).current()
    words = ["build", str(table), "--images", str(sample_catalog.images), "--out", str(out)]
    done = run(room, *words)
    assert message_of(done).endswith(reason)
    assert Catalog(out).current() == before
    assert Catalog(out).names() == [before.name]
    done = run(ROOM, *words)
    assert done.returncode == 0, done.stderr
    live = Catalog(out).current()
    assert live != before
    assert verify(live).count == ROWS


def test_a_pull(sample_catalog: SampleCatalog, s3_server: S3Server, tmp_path: Path) -> None:
    place = {
        "LOGO_S3_ENDPOINT": s3_server.endpoint,
        "LOGO_S3_ACCESS_KEY": s3_server.access_key,
        "LOGO_S3_SECRET_KEY": s3_server.secret_key,
        "LOGO_CATALOG_URL": f"s3://{s3_server.bucket}/{secrets.token_hex(8)}",
    }
    # A publisher writes nothing here, so a full disk is nothing to it.
    done = run(0, "catalog", "publish", "--catalogs", str(sample_catalog.root), **place)
    assert done.returncode == 0, done.stderr
    there = tmp_path / "replica"
    for room in (100, 3_000, 100_000, 3_000_000):
        assert message_of(run(room, "catalog", "pull", "--catalogs", str(there), **place))
        assert Catalog(there).names() == []
    done = run(ROOM, "catalog", "pull", "--catalogs", str(there), **place)
    assert done.returncode == 0, done.stderr
    verify(Catalog(there).current())


def test_the_keys(tmp_path: Path) -> None:
    place = tmp_path / "keys.json"
    assert run(ROOM, "keys", "create", "team", "--keys", str(place)).returncode == 0
    before = place.read_bytes()
    for words in (["create", "other"], ["revoke", "team"], ["rotate", "team"]):
        assert message_of(run(100, "keys", *words, "--keys", str(place)))
        assert place.read_bytes() == before
    assert run(ROOM, "keys", "revoke", "team", "--keys", str(place)).returncode == 0
    assert (
        json.loads(run(ROOM, "keys", "list", "--all", "--json", "--keys", str(place)).stdout)[0]["state"] == "revoked"
    )


def test_a_service_goes_on_answering(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    """It can't count requests, write metrics or log any more: it searches."""
    place = str(tmp_path / "keys.json")
    key = run(ROOM, "keys", "create", "team", "--quota", "100000", "--keys", place).stdout.strip()
    own = {"LOGO_KEYS": place, "LOGO_USAGE_DB": str(tmp_path / "usage.db"), "LOGO_WORKERS": "1"}
    picture = (sample_catalog.images / sample_catalog.files[0]).read_bytes()
    with serving(sample_catalog, tmp_path, **own) as server:
        (worker,) = server.workers()
        for size in ((tmp_path / "usage.db").stat().st_size, 0):
            subprocess.run(["prlimit", f"--pid={worker}", f"--fsize={size}"], check=True)
            for _ in range(200):
                answer = server.post("/v1/search", files={"file": picture}, headers={"X-API-Key": key})
                assert answer.status_code == 200
        assert server.workers() == [worker]


def test_commands_end_with_a_line_when_their_output_cannot_be_written(sample_catalog: SampleCatalog) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("catalog", "list", "--catalogs", str(sample_catalog.root)), stdout=full, stderr=subprocess.PIPE,
            text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr

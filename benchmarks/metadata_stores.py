"""The metadata of a page of hits from SQLite, as catalogs have it, and from PostgreSQL by asyncpg, side by side.

    python -m benchmarks.metadata_stores [LOGOS]

The rows are those of a register of that size (default: 770,000), in one table of PostgreSQL with the row as its key. Pages are of
100 random rows, as the hits of a search are. Each page is read from both, warm and by one client; the answers are compared.
Then the page cache of the machine is emptied and the server restarted, and each page of others is read once more. PostgreSQL is
Debian's; it runs as the user `postgres`, on this machine, so that no network is between.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import numpy as np

from benchmarks.machine import write_result
from benchmarks.make_register import register_catalog
from logo_similarity.catalog.manifest import METADATA
from logo_similarity.catalog.metadata import Metadata
from logo_similarity.catalog.versions import Catalog

PAGES, COLD_PAGES, HITS, WARM = 2_000, 50, 100, 200
COPIED = 10_000
"""Rows of one request to PostgreSQL while they are copied."""
SELECT = "SELECT id, logo_id, filename, metadata FROM logos WHERE id = ANY($1)"


async def measure(count: int) -> dict[str, object]:
    """Compare the two for one register."""
    path = Catalog(register_catalog(count)).current() / METADATA
    random = np.random.default_rng(0)
    pages = [np.sort(random.choice(count, HITS, replace=False)).tolist() for _ in range(WARM + PAGES + COLD_PAGES)]
    warm, cold = pages[: WARM + PAGES], pages[WARM + PAGES :]
    with postgresql() as server:
        started = time.perf_counter()
        connection = await asyncpg.connect(**server)
        size = await _copy(Metadata(path), connection, count)
        copy_seconds = time.perf_counter() - started
        both = await _read(Metadata(path), connection, warm)
        await connection.close()
        restart(server)
        _drop_page_cache()
        connection = await asyncpg.connect(**server)
        both_cold = await _read(Metadata(path), connection, cold)
        await connection.close()
    figures: dict[str, object] = {
        "logos": count,
        "hits_of_a_page": HITS,
        "sqlite_bytes_per_logo": round(path.stat().st_size / count),
        "postgresql_bytes_per_logo": round(size / count),
        "copied_per_second": round(count / copy_seconds),
    }
    for name, times in (("warm", both[:, WARM:]), ("cold", both_cold)):
        sqlite, postgres = (np.percentile(one, (50, 99)) for one in times)
        figures[name] = {
            "sqlite_p50_ms": round(sqlite[0], 3),
            "sqlite_p99_ms": round(sqlite[1], 3),
            "postgresql_p50_over_sqlite": round(postgres[0] / sqlite[0], 2),
            "postgresql_p99_over_sqlite": round(postgres[1] / sqlite[1], 2),
        }
    return write_result(f"metadata_stores_{count}", figures)


async def _copy(metadata: Metadata, connection: asyncpg.Connection, count: int) -> int:
    """Copy all rows into PostgreSQL. Returns their bytes there, with the index of the key."""
    await connection.execute(
        "CREATE TABLE logos (id integer PRIMARY KEY, logo_id text NOT NULL, filename text NOT NULL, metadata text NOT NULL)"
    )
    for first in range(0, count, COPIED):
        logos = metadata.fetch(list(range(first, min(first + COPIED, count))))
        rows = [(logo.id, logo.logo_id, logo.filename, logo.metadata_json) for logo in logos]
        await connection.copy_records_to_table("logos", records=rows)
    await connection.execute("VACUUM ANALYZE logos")
    return int(await connection.fetchval("SELECT pg_total_relation_size('logos')"))


async def _read(metadata: Metadata, connection: asyncpg.Connection, pages: list[list[int]]) -> np.ndarray:
    """Milliseconds of each page: (2, pages), SQLite and PostgreSQL."""
    times = np.empty((2, len(pages)))
    statement = await connection.prepare(SELECT)
    for number, page in enumerate(pages):
        started = time.perf_counter()
        logos = metadata.fetch(page)
        times[0, number] = 1000 * (time.perf_counter() - started)
        started = time.perf_counter()
        rows = await statement.fetch(page)
        found = {row["id"]: row for row in rows}
        ordered = [found[row] for row in page]
        times[1, number] = 1000 * (time.perf_counter() - started)
        if [(logo.logo_id, logo.metadata_json) for logo in logos] != [
            (row["logo_id"], row["metadata"]) for row in ordered
        ]:
            raise ValueError("the answers differ")
    return times


@contextmanager
def postgresql() -> Iterator[dict[str, str]]:
    """A new PostgreSQL server of this machine, as arguments of `asyncpg.connect`."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    shutil.chown(folder, "postgres", "postgres")
    server = {"host": str(folder), "user": "postgres", "database": "postgres"}
    _run("initdb", "--pgdata", folder / "data", "--auth=trust", "--no-sync")
    _control(folder, "start")
    try:
        yield server
    finally:
        _control(folder, "stop")
        shutil.rmtree(folder)


def restart(server: dict[str, str]) -> None:
    """Restart a server of `postgresql`."""
    _control(Path(server["host"]), "restart")


def _control(folder: Path, action: str) -> None:
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c shared_buffers=1GB"
    _run("pg_ctl", "--pgdata", folder / "data", "--log", folder / "log", "--options", options, "--wait", action)


def _run(program: str, *words: object) -> None:
    binaries = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True).stdout.strip()
    command = ["runuser", "-u", "postgres", "--", f"{binaries}/{program}", *map(str, words)]
    subprocess.run(command, cwd="/", stdout=subprocess.DEVNULL, check=True)


def _drop_page_cache() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(int(sys.argv[1]) if sys.argv[1:] else 770_000)), indent=2))

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings
from tests.milvus import MilvusServer, run_milvus, run_milvus_lite
from tests.samples import SampleCatalog, make_sample_catalog
from tests.seaweedfs import S3Server, run_seaweedfs
from tests.valkey import ValkeyServer, run_valkey

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_NAME = 60


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests that use Milvus run in one process, so that only one server is started."""
    for item in items:
        if {"milvus_server", "milvus_lite"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group("milvus"))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Keep file contents out of test names: some contain their creation time, so the names would differ between processes."""
    return argname if isinstance(val, bytes) and len(val) > LONGEST_NAME else None


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server for this test process. Each test uses its own key prefix."""
    with run_seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """A real Milvus server for all tests that use it. Each test uses its own database."""
    with run_milvus(tmp_path_factory.mktemp("milvus")) as server:
        yield server


@pytest.fixture(scope="session")
def milvus_lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Milvus Lite server for all tests that use it."""
    with run_milvus_lite(tmp_path_factory.mktemp("milvus-lite")) as url:
        yield url


@pytest.fixture(scope="session")
def valkey_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A real Valkey server for this test process; tests use `valkey`."""
    with run_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def valkey(valkey_process: ValkeyServer) -> ValkeyServer:
    """An empty Valkey server, which a test must leave running."""
    with valkey_process.client() as client:
        client.flushall()
    return valkey_process


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop of tests marked `anyio`."""
    return "asyncio"


@pytest.fixture(scope="session")
def sample_catalog(tmp_path_factory: pytest.TempPathFactory) -> SampleCatalog:
    """A catalog of 200 real logos, and their images."""
    return make_sample_catalog(tmp_path_factory.mktemp("samples"), 200)


@pytest.fixture
def settings(s3_server: S3Server) -> Settings:
    """Settings of the S3 server, with a new prefix for catalogs."""
    return Settings.model_validate(
        {
            "s3_endpoint": s3_server.endpoint,
            "s3_access_key": s3_server.access_key,
            "s3_secret_key": s3_server.secret_key,
            "catalog_url": f"s3://{s3_server.bucket}/{secrets.token_hex(8)}",
        }
    )


@pytest.fixture
def built(sample_catalog: SampleCatalog, tmp_path: Path) -> Catalog:
    """A catalog folder with two versions; the second is live."""
    rows = (sample_catalog.root.parent / "marks.jsonl").read_text().splitlines()
    for count in (30, 40):
        table = tmp_path / f"{count}.jsonl"
        table.write_text("\n".join(rows[:count]))
        build_catalog(open_source(table, images=sample_catalog.images), tmp_path / "built", BuildOptions(threads=2))
    return Catalog(tmp_path / "built")

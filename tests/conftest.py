from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.samples import SampleCatalog, make_sample_catalog
from tests.seaweedfs import S3Server, run_seaweedfs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server of this test process. Tests keep apart by a key prefix of their own."""
    with run_seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop of tests marked `anyio`."""
    return "asyncio"


@pytest.fixture(scope="session")
def sample_catalog(tmp_path_factory: pytest.TempPathFactory) -> SampleCatalog:
    """A catalog of 200 real logos, and their images."""
    return make_sample_catalog(tmp_path_factory.mktemp("samples"), 200)

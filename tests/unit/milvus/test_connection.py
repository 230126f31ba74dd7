"""The errors of a Milvus server, and of those that are none."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from logo_similarity.config import load_settings
from logo_similarity.errors import CatalogError, ConfigError, IndexUnavailableError
from logo_similarity.milvus.collections import find_collection, load_collection
from logo_similarity.milvus.connection import IndexServer, needed_server
from tests.milvus import MilvusServer
from tests.seaweedfs import free_ports


@pytest.fixture
def index(milvus_server: MilvusServer) -> IndexServer:
    return needed_server(load_settings(**milvus_server.settings()))


def test_the_server_of_the_settings(milvus_server: MilvusServer, index: IndexServer) -> None:
    assert index.version().startswith("v2.3.5")
    assert milvus_server.token not in repr(index)
    assert IndexServer.of(load_settings()) is None
    with pytest.raises(ConfigError, match="set LOGO_INDEX_URL to its address"):
        needed_server(load_settings())


def test_a_server_without_keys_and_tls(milvus_lite: str) -> None:
    assert needed_server(load_settings(index_url=milvus_lite)).version().startswith("milvus_lite")


def test_a_wrong_token_is_named_and_not_shown(index: IndexServer) -> None:
    with pytest.raises(ConfigError, match="refuses LOGO_INDEX_TOKEN") as raised:
        replace(index, token="root:secret").version()
    assert "secret" not in str(raised.value)
    with pytest.raises(ConfigError, match="demands a token; set LOGO_INDEX_TOKEN to `user:password`"):
        replace(index, token="").version()


def test_a_database_that_does_not_exist(index: IndexServer) -> None:
    with pytest.raises(ConfigError, match=r"no database 'other'; see LOGO_INDEX_DATABASE"):
        find_collection(replace(index, database="other"), "logos")


def test_a_certificate_that_is_not_trusted(index: IndexServer, tmp_path: Path) -> None:
    with pytest.raises(IndexUnavailableError, match="its certificate is not valid"):
        replace(index, ca=None).version()
    with pytest.raises(ConfigError, match=r"LOGO_INDEX_CA: .*missing.pem: No such file or directory"):
        replace(index, ca=tmp_path / "missing.pem").version()


def test_a_certificate_needs_tls(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="LOGO_INDEX_CA is set, but LOGO_INDEX_URL does not begin with https://"):
        load_settings(index_url="http://127.0.0.1:19530", index_ca=tmp_path)


def test_a_collection_that_does_not_exist(index: IndexServer) -> None:
    assert find_collection(index, "missing") is None
    with pytest.raises(CatalogError, match="lacks a collection of this catalog version; build it again"):
        load_collection(index, "missing", 1.0)


def test_no_server_is_at_the_address() -> None:
    (port,) = free_ports(1)
    with pytest.raises(
        IndexUnavailableError,
        match=f"http://127.0.0.1:{port}: the Milvus server is unavailable: no connection within 5 s; check LOGO_INDEX_URL",
    ) as raised:
        IndexServer(f"http://127.0.0.1:{port}").version()
    assert raised.value.retry_after > 0


def test_a_server_that_does_not_answer(milvus_server: MilvusServer, index: IndexServer) -> None:
    hasty = replace(index, seconds=0.5)
    assert find_collection(hasty, "missing") is None
    with milvus_server.paused(), pytest.raises(IndexUnavailableError, match=r"did not answer within 0.5 s"):
        find_collection(hasty, "missing")
    assert find_collection(index, "missing") is None


def test_pymilvus_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "logo_similarity.milvus.client", raising=False)
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[milvus\]'"):
        IndexServer("http://127.0.0.1:1").version()


def test_no_env_file_is_loaded(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOGO_INDEX_TOKEN=root:secret\n")
    names = ("LOGO_INDEX_TOKEN", "PYTHON_DOTENV_DISABLED")
    program = f"import os; import logo_similarity.milvus.client; print([os.getenv(name) for name in {names}])"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
    assert done.stdout == "[None, None]\n"

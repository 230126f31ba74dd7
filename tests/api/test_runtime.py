"""The parts of a worker, and the process in which the start is tried."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from logo_similarity.api.runtime import Runtime
from logo_similarity.catalog.signature import make_key as make_signing_key
from logo_similarity.config import Settings, load_settings
from logo_similarity.errors import CatalogError, ConfigError, NotReadyError
from logo_similarity.keys.store import open_key_store
from tests.keys import make_key
from tests.samples import SampleCatalog


@pytest.fixture
def settings(sample_catalog: SampleCatalog, tmp_path: Path) -> Settings:
    chosen = load_settings(
        catalogs=sample_catalog.root, threads=2, keys=str(tmp_path / "keys.json"), usage_db=tmp_path / "usage.db"
    )
    make_key(open_key_store(chosen), "team")
    return chosen


@dataclass(frozen=True, slots=True)
class Running:
    """Threads and child processes of this process; those of other tests' applications too."""

    threads: frozenset[threading.Thread]
    children: frozenset[int]

    @classmethod
    def now(cls) -> Running:
        own = {thread for thread in threading.enumerate() if thread.name.startswith(("search", "usage"))}
        return cls(frozenset(own), frozenset(child.pid for child in psutil.Process().children()))


def test_everything_that_is_opened_is_closed(settings: Settings) -> None:
    before = Running.now()
    runtime = Runtime.of(settings)
    assert Running.now() == before
    with runtime.opened():
        opened = Running.now()
        assert {thread.name for thread in opened.threads - before.threads} == {"search_0", "search_1", "usage"}
        assert len(opened.children - before.children) == 2  # a decoder for each search thread
        assert runtime.live.current.engine.manifest.count == 200
        assert len(runtime.keys.ring) == 1
    assert Running.now() == before
    with pytest.raises(NotReadyError):
        runtime.gate.check_open()


def test_a_start_that_fails_half_way_closes_what_it_had_opened(settings: Settings, tmp_path: Path) -> None:
    before = Running.now()
    empty = settings.model_copy(update={"catalogs": tmp_path})
    with pytest.raises(CatalogError), Runtime.of(empty).opened():
        pass
    assert Running.now() == before
    Path(str(settings.keys)).write_text("{ broken")
    with pytest.raises(ConfigError, match="LOGO_KEYS"), Runtime.of(settings).opened():
        pass
    assert Running.now() == before


def test_only_what_is_configured_is_followed(settings: Settings) -> None:
    keyless = settings.model_copy(update={"keys": None})
    published = settings.model_copy(update={"catalog_url": "s3://bucket/prefix"})
    assert [len(Runtime.of(one).followers()) for one in (keyless, settings, published)] == [5, 6, 8]


def in_child(job: str, then: str) -> subprocess.CompletedProcess[str]:
    """Runs a job in a child of a process that, as a master, has loaded no library."""
    code = (
        "import os, signal, sys\n"
        "from logo_similarity.api.server import in_child\n"
        "from logo_similarity.config import load_settings\n"
        "from logo_similarity.errors import CatalogError, ServiceError\n"
        f"def job(settings):\n    {job}\n"
        f"try:\n    in_child(job, load_settings())\n{then}\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code], env=dict(os.environ), capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("job", "then", "said"),
    [
        ("import faiss", "finally:\n    print('faiss' in sys.modules)", "False"),
        ("raise CatalogError('damaged')", "except CatalogError as error:\n    print(error)", "damaged"),
        ("open('/nowhere')", "except OSError as error:\n    print(error.filename, error.strerror)", "/nowhere No such"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "except ServiceError as error:\n    print(error)", "status -11"),
    ],
)
def test_a_child_hands_its_error_back_and_leaves_nothing(job: str, then: str, said: str) -> None:
    done = in_child(job, then)
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout


def test_a_service_publishes_only_what_others_accept(settings: Settings, tmp_path: Path) -> None:
    publishing = {**settings.model_dump(), "publish_url": "s3://bucket/catalogs"}
    with pytest.raises(ConfigError, match="LOGO_CATALOG_URL are both set"):
        Runtime.of(load_settings(**{**publishing, "catalog_url": "s3://bucket/catalogs"}))
    public_key = make_signing_key(tmp_path / "key.pem")
    with pytest.raises(ConfigError, match="LOGO_CATALOG_SIGNING_KEY"):
        Runtime.of(load_settings(**{**publishing, "catalog_public_key": public_key}))
    Runtime.of(
        load_settings(**{**publishing, "catalog_public_key": public_key, "catalog_signing_key": tmp_path / "key.pem"})
    )

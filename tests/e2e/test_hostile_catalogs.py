"""A service that follows a bucket into which somebody else writes: it answers with the good version, and starts again with it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from logo_similarity.catalog.manifest import MANIFEST, SIGNATURE, read_manifest
from logo_similarity.catalog.replica import publish_version, pull_version
from logo_similarity.catalog.trial import Trial
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings
from logo_similarity.errors import CatalogError, StoreError
from logo_similarity.storage.objects import ObjectFolder
from tests.hostile_catalogs import BAD_MANIFESTS, HOSTILE, rewrite_manifest
from tests.samples import SampleCatalog
from tests.service import Server, command, serving, until

WORKERS = 2
EVERY_KIND = os.environ.get("LOGO_TEST_HOSTILE") == "all"
KINDS = list(HOSTILE) if EVERY_KIND else ["endless loop", "endless view", "other patches", "gap"]
MANIFESTS = list(BAD_MANIFESTS) if EVERY_KIND else ["breadth of search", "size", "no index"]


@pytest.fixture
def remote(settings: Settings) -> ObjectFolder:
    return ObjectFolder(str(settings.catalog_url), settings)


def environment(settings: Settings, **more: str) -> dict[str, str]:
    assert settings.s3_access_key is not None
    assert settings.s3_secret_key is not None
    return {
        "LOGO_S3_ENDPOINT": str(settings.s3_endpoint),
        "LOGO_S3_ACCESS_KEY": settings.s3_access_key.get_secret_value(),
        "LOGO_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        "LOGO_CATALOG_URL": str(settings.catalog_url),
        "LOGO_WORKERS": str(WORKERS),
        "LOGO_API_KEYS": "",
        "LOGO_PULL_SECONDS": "0.3",
        "LOGO_POLL_SECONDS": "0.1",
        "LOGO_KEEP_VERSIONS": "1",
        "LOGO_TRIAL_SECONDS": "10",
        **more,
    }


def altered(good: Path, folder: Path, kind: str) -> Path:
    """A version like a good one, whose files were altered, in `folder`."""
    copy = folder / "copy"
    shutil.copytree(good, copy)
    HOSTILE[kind][0](copy)
    return rewrite_manifest(copy)


def publish_unchecked(remote: ObjectFolder, version: Path) -> None:
    """What somebody with the key of the bucket can write, and `catalog publish` would not."""
    for name, entry in read_entries(version).items():
        remote.write_file(f"objects/{entry}", version / name)
    remote.write(f"versions/{version.name}", (version / MANIFEST).read_bytes())
    remote.write("CURRENT", version.name.encode())


def read_entries(version: Path) -> dict[str, str]:
    from logo_similarity.catalog.publish import digest_files

    return {name: entry.sha256 for name, entry in digest_files(version).items()}


def all_answer(server: Server, picture: bytes, version: str) -> None:
    for _ in range(4 * WORKERS):  # enough new connections to meet every worker
        answer = server.post("/v1/search", files={"file": picture}, timeout=60)
        assert answer.status_code == 200, answer.text
        assert answer.json()["catalog"]["version"] == version


@pytest.mark.slow
def test_a_follower_stays_with_the_good_version_and_starts_again_with_it(
    sample_catalog: SampleCatalog, settings: Settings, remote: ObjectFolder, tmp_path: Path
) -> None:
    good = Catalog(sample_catalog.root).current()
    publish_version(good, remote)
    replica = SampleCatalog(tmp_path / "replica", sample_catalog.images, ())
    picture = (sample_catalog.images / sample_catalog.files[3]).read_bytes()
    own = environment(settings)
    with serving(replica, tmp_path, **own) as server:
        until(lambda: server.log.read_text().count('"event": "ready"') == WORKERS)
        for kind in KINDS:
            before = len(server.log.read_text())
            bad = altered(good, tmp_path, kind)
            publish_unchecked(remote, bad)
            # Every worker says it once, and not at every look.
            until(lambda name=bad.name, at=before: server.log.read_text()[at:].count(name) >= WORKERS)
            all_answer(server, picture, good.name)
            assert server.log.read_text()[before:].count('"catalog_not_pulled"') <= WORKERS + 1
        for kind in MANIFESTS:
            copy = tmp_path / "copy"
            shutil.copytree(good, copy)
            bad = rewrite_manifest(copy, BAD_MANIFESTS[kind][0])
            publish_unchecked(remote, bad)
            words = (bad.name, BAD_MANIFESTS[kind][1], '"catalog_not_pulled"')
            until(
                lambda words=words: any(all(w in line for w in words) for line in server.log.read_text().splitlines())
            )
            all_answer(server, picture, good.name)
        for content, said in ((b"a\0b", "x00b"), (b"../../etc", "../../etc"), (b"x" * 3_000_000, "larger than")):
            remote.write("CURRENT", content)
            until(lambda said=said: said in server.log.read_text())
            all_answer(server, picture, good.name)
        assert "Traceback" not in server.log.read_text()
        assert '"catalog_swapped"' not in server.log.read_text()
    assert Catalog(replica.root).names() == [good.name]
    with serving(replica, tmp_path, **own) as server:
        all_answer(server, picture, good.name)


def test_a_service_whose_live_version_cannot_be_opened_serves_the_one_that_was_opened_last(
    sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    root = tmp_path / "catalogs"
    shutil.copytree(sample_catalog.root, root)
    folder = Catalog(root)
    good = folder.current()
    bad = altered(good, tmp_path, "endless loop")
    shutil.move(bad, root)
    picture = (sample_catalog.images / sample_catalog.files[3]).read_bytes()
    own = {"LOGO_TRIAL_SECONDS": "5", "LOGO_API_KEYS": "", "LOGO_POLL_SECONDS": "0.1", "LOGO_WORKERS": str(WORKERS)}
    catalog = SampleCatalog(root, sample_catalog.images, ())
    with serving(catalog, tmp_path, **own) as server:
        until(lambda: server.log.read_text().count('"event": "ready"') == WORKERS)
        with folder.locked():
            folder.flip(bad.name)  # by hand: `catalog activate` would refuse it
        until(lambda: server.log.read_text().count('"catalog_refused"') == WORKERS)
        all_answer(server, picture, good.name)
        assert f'logo_catalog_swaps_total{{outcome="refused"}} {WORKERS}.0' in server.get("/metrics").text
    with serving(catalog, tmp_path, **own) as server:
        until(lambda: server.log.read_text().count('"event": "ready"') == WORKERS)
        log = server.log.read_text()
        assert log.count('"catalog_fell_back"') == 1
        assert log.count('"catalog_refused"') == WORKERS  # by each worker, and not by the trial of the start
        assert bad.name in log
        all_answer(server, picture, good.name)
        victim = server.workers()[0]
        os.kill(victim, 9)  # a worker that starts later falls back, too
        until(lambda: server.log.read_text().count('"event": "ready"') == WORKERS + 1)
        all_answer(server, picture, good.name)
    (root / "CURRENT").unlink()
    os.mkfifo(root / "CURRENT")
    with serving(catalog, tmp_path, **own) as server:
        assert '"catalog_fell_back"' in server.log.read_text()
        all_answer(server, picture, good.name)
        until(lambda: server.log.read_text().count('"event": "ready"') == WORKERS)
        # Made while it runs, too, it stops nobody from following.
        shutil.copytree(good, tmp_path / "copy")
        other = Path(shutil.move(rewrite_manifest(tmp_path / "copy", lambda m: m.update(software="other")), root))
        folder.activate(other.name)
        until(lambda: server.log.read_text().count('"catalog_swapped"') == WORKERS)
        (root / "CURRENT").unlink()
        os.mkfifo(root / "CURRENT")
        until(lambda: server.log.read_text().count("not a regular file") >= WORKERS + 1)
        all_answer(server, picture, other.name)
        folder.activate(good.name)
        until(lambda: server.log.read_text().count('"catalog_swapped"') == 2 * WORKERS)
        all_answer(server, picture, good.name)
    shutil.rmtree(good)
    shutil.rmtree(other)
    with folder.locked():
        folder.flip(bad.name)
    done = subprocess.run(
        command("serve"),
        env={**os.environ, **own, "LOGO_CATALOGS": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert bad.name in done.stderr
    assert "Traceback" not in done.stderr


def run(*words: str, **own: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), env={**os.environ, **own}, capture_output=True, text=True, check=False)


def test_only_signed_versions_are_pulled_and_served(
    sample_catalog: SampleCatalog, settings: Settings, remote: ObjectFolder, tmp_path: Path
) -> None:
    root = tmp_path / "builder"
    shutil.copytree(sample_catalog.root, root, ignore=shutil.ignore_patterns(".*"))
    good = Catalog(root).current()
    made = run("catalog", "keygen", str(tmp_path / "key"))
    public, own = made.stdout.strip(), environment(settings)
    pull = ("catalog", "pull", "--catalogs", str(tmp_path / "replica"))
    publisher = {**own, "LOGO_CATALOGS": str(root), "LOGO_CATALOG_SIGNING_KEY": str(tmp_path / "key")}
    follower = {**own, "LOGO_CATALOG_PUBLIC_KEY": public}
    there = Catalog(tmp_path / "replica")

    assert run("catalog", "publish", **{**publisher, "LOGO_CATALOG_SIGNING_KEY": ""}).returncode == 0
    done = run(*pull, **follower)
    assert done.returncode == 1
    assert "is not signed" in done.stderr
    assert there.names() == []
    assert not [path for path in there.root.rglob("*") if path.stat().st_size > 10_000]  # nothing large was fetched
    # Who does not ask for a signature gets it later all the same: the version is signed after it came.
    assert run(*pull, **own).returncode == 0
    assert run("catalog", "publish", **publisher).returncode == 0
    assert run("serve", **{**follower, "LOGO_CATALOGS": str(there.root), "LOGO_CATALOG_URL": ""}).returncode == 1
    assert run(*pull, **follower).returncode == 0
    assert there.current().name == good.name
    picture = (sample_catalog.images / sample_catalog.files[3]).read_bytes()
    with serving(SampleCatalog(there.root, sample_catalog.images, ()), tmp_path, **follower) as server:
        all_answer(server, picture, good.name)
        until(lambda: server.log.read_text().count('"event": "ready"') == WORKERS)
        # Another one, by somebody who has the bucket's key and not ours.
        copy = tmp_path / "copy"
        shutil.copytree(good, copy)
        other = rewrite_manifest(copy, lambda m: m.update(software="somebody else's"))
        publish_unchecked(remote, other)
        remote.write(f"versions/{other.name}.sig", (good / SIGNATURE).read_bytes())
        until(lambda: "has no valid signature by the key" in server.log.read_text())
        all_answer(server, picture, good.name)
        assert run("catalog", "publish", **publisher).returncode == 0
    # An unsigned version that was tried before a key was asked for is not opened either.
    shutil.move(other, there.root)
    there.activate(other.name)
    with serving(
        SampleCatalog(there.root, sample_catalog.images, ()), tmp_path, **{**follower, "LOGO_CATALOG_URL": ""}
    ) as server:
        assert '"catalog_fell_back"' in server.log.read_text()
        all_answer(server, picture, good.name)


def test_a_build_says_at_once_that_its_version_would_be_refused(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    table = str(sample_catalog.root.parent / "marks.jsonl")
    public = run("catalog", "keygen", str(tmp_path / "key")).stdout.strip()
    words = ("build", table, "--images", str(sample_catalog.images), "--out", str(tmp_path / "out"))
    done = run(*words, LOGO_CATALOG_PUBLIC_KEY=public)
    assert done.returncode == 1
    assert "LOGO_CATALOG_SIGNING_KEY" in done.stderr
    assert not (tmp_path / "out").exists()
    done = run(*words, LOGO_CATALOG_PUBLIC_KEY=public, LOGO_CATALOG_SIGNING_KEY=str(tmp_path / "key"))
    assert done.returncode == 0, done.stderr
    Trial(public_key=public)(Catalog(tmp_path / "out").current())
    # A version of the same inputs that has no signature gets one.
    (Catalog(tmp_path / "out").current() / SIGNATURE).unlink()
    done = run(*words, LOGO_CATALOG_PUBLIC_KEY=public, LOGO_CATALOG_SIGNING_KEY=str(tmp_path / "key"))
    assert "is already up to date" in done.stdout
    Trial(public_key=public)(Catalog(tmp_path / "out").current())


class Flood(BaseHTTPRequestHandler):
    """A bucket whose objects have 3 GB, and send them."""

    stated: int | None = 3_000_000_000
    sent = 0

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("ETag", '"x"')
        self.send_header("Last-Modified", "Wed, 25 Nov 2026 12:00:00 GMT")
        self.send_header("Content-Length", str(self.stated))
        self.end_headers()
        try:
            while Flood.sent < 3_000_000_000:
                self.wfile.write(bytes(1 << 20))
                Flood.sent += 1 << 20
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def flood() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Flood) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def test_an_object_of_gigabytes_is_not_read(settings: Settings) -> None:
    with flood() as endpoint:
        remote = ObjectFolder(str(settings.catalog_url), settings.model_copy(update={"s3_endpoint": endpoint}))
        for read in (
            lambda: remote.read("CURRENT", 1_000),
            lambda: remote.read_tagged("keys.json", None),
            lambda: pull_version(remote, Catalog(Path("nowhere"))),
        ):
            with pytest.raises(StoreError, match="larger than"):
                read()
        assert Flood.sent < 100_000_000


def test_a_pull_for_which_there_is_no_room_says_so_before_it_begins(
    built: Catalog, remote: ObjectFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Catalog(tmp_path / "replica")
    publish_version(built.current(), remote)
    disk = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("logo_similarity.catalog.replica.RESERVED_PART", 1)
    monkeypatch.setattr("logo_similarity.catalog.replica.RESERVED_BYTES", disk.free + 10**9)
    with pytest.raises(CatalogError, match="catalog prune"):
        pull_version(remote, there)
    assert not list(there.root.rglob("*.partial"))
    assert not list(there.root.rglob("index.faiss"))
    monkeypatch.undo()
    assert pull_version(remote, there) == built.current().name
    assert read_manifest(there.current()).count == 40


def test_names_in_a_bucket_stay_below_the_folder_of_versions(remote: ObjectFolder, tmp_path: Path) -> None:
    there = Catalog(tmp_path / "replica")
    for name in ("../x", "/etc", ".hidden", "a/b", "a\0b", "a\nb", secrets.token_hex(100), ""):
        remote.write("CURRENT", name.encode())
        with pytest.raises(CatalogError, match="CURRENT"):
            pull_version(remote, there)
    assert not there.root.exists()

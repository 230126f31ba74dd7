"""Changes of a primary that reach two replicas through a real bucket, while its processes are killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Self

import httpx2
import pytest

from logo_similarity.catalog.live_folder import LIVE, LIVE_JSON, PUBLISHING
from logo_similarity.catalog.signature import make_key as make_signing_key
from logo_similarity.catalog.signature import sign, signing_key_of
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings, load_settings
from logo_similarity.keys.store import open_key_store
from logo_similarity.storage.objects import ObjectFolder
from tests.e2e.test_replica import environment
from tests.keys import make_key
from tests.samples import SAMPLES, SampleCatalog
from tests.service import Server, command, serving, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("live_replicas")]
IMAGES = sorted((SAMPLES / "images").iterdir())[200:]


class Cluster:
    """A primary and two replicas, which share nothing but a bucket and the images."""

    def __init__(self, stack: ExitStack, folder: Path, settings: Settings, sample_catalog: SampleCatalog) -> None:
        self.stack, self.folder = stack, folder
        self.remote = ObjectFolder(str(settings.catalog_url), settings)
        self.catalog = replace(sample_catalog, root=folder / "catalogs", images=folder / "images")
        shutil.copytree(sample_catalog.root, self.catalog.root)
        shutil.copytree(sample_catalog.images, self.catalog.images)
        keys, signing_key = str(folder / "keys.json"), folder / "signing-key.pem"
        self.headers = {"X-API-Key": make_key(open_key_store(load_settings(keys=keys)), "loader", role="write")}
        public_key = make_signing_key(signing_key)
        version = Catalog(self.catalog.root).current()
        key = signing_key_of(load_settings(catalog_signing_key=signing_key))
        assert key is not None
        sign(version, version.name, key)
        bucket = environment(settings)
        url = bucket.pop("LOGO_CATALOG_URL")
        common = {
            **bucket,
            "LOGO_API_KEYS": "",
            "LOGO_KEYS": keys,
            "LOGO_PULL_SECONDS": "0.5",
            "LOGO_CATALOG_PUBLIC_KEY": public_key,
        }
        self.publishing = {**common, "LOGO_PUBLISH_URL": url, "LOGO_CATALOG_SIGNING_KEY": str(signing_key)}
        self.primary = self.start_primary()
        until(lambda: self.remote.size("CURRENT"))
        following = {
            **common,
            "LOGO_CATALOG_URL": url,
            "LOGO_PULL_CHANGES_SECONDS": "0.3",
            "LOGO_PRIMARY_URL": self.primary.url,
            "LOGO_WORKERS": "1",
        }
        self.replicas = [
            self._start(name, replace(self.catalog, root=folder / f"catalogs-{name}"), following)
            for name in ("one", "two")
        ]

    def start_primary(self) -> Server:
        return self._start("primary", self.catalog, self.publishing)

    def _start(self, name: str, catalog: SampleCatalog, settings: dict[str, str]) -> Server:
        (self.folder / name).mkdir(exist_ok=True)
        return self.stack.enter_context(serving(catalog, self.folder / name, **settings))

    def kill_primary(self) -> None:
        for process in (self.primary.process.pid, *self.primary.workers()):
            os.kill(process, signal.SIGKILL)
        self.primary.process.wait()

    def add(self, number: int, server: Server | None = None) -> httpx2.Response:
        """Add a logo; again while a new version is being opened."""
        url = (server or self.primary).url + "/v1/logos"
        image = IMAGES[number % len(IMAGES)].read_bytes()
        data = {"record": json.dumps({"logo_id": f"NEW-{number}"})}
        return self._settled(
            lambda: httpx2.post(url, headers=self.headers, files={"image": image}, data=data, timeout=60)
        )

    def delete(self, number: int) -> None:
        url = f"{self.primary.url}/v1/logos/NEW-{number}"
        answer = self._settled(lambda: httpx2.delete(url, headers=self.headers, timeout=60))
        assert answer.status_code == 204

    def _settled(self, send: Callable[[], httpx2.Response]) -> httpx2.Response:
        answers: list[httpx2.Response] = []

        def answered() -> bool:
            answers.append(send())
            return answers[-1].status_code != 503

        until(answered)
        return answers[-1]

    def compact(self) -> None:
        settings = {**os.environ, **self.publishing, "LOGO_IMAGES_DIR": str(self.catalog.images)}
        subprocess.run(command("compact", "--catalogs", str(self.catalog.root)), env=settings, check=True)

    def new(self, server: Server) -> set[str]:
        """The ids of the added logos that a service lists, each once."""
        answer = server.get("/v1/logos?limit=1000", headers=self.headers, timeout=60).raise_for_status().json()
        ids = [logo["id"] for logo in answer["logos"]]
        assert len(ids) == len(set(ids)) == answer["passed"]
        return {logo_id for logo_id in ids if logo_id.startswith("NEW-")}

    def found(self, server: Server, number: int) -> list[str]:
        """The added logos among the hits of a search for the image of one."""
        picture = IMAGES[number % len(IMAGES)].read_bytes()
        answer = server.post("/v1/search?top_k=50", headers=self.headers, files={"file": picture}, timeout=60)
        hits = answer.raise_for_status().json()["results"]
        return [hit["id"] for hit in hits if hit["id"].startswith("NEW-")]


class Watching:
    """Lists the logos of a service again and again: none may be there twice, or disappear before it is deleted."""

    def __init__(self, cluster: Cluster, server: Server) -> None:
        self._cluster, self._server = cluster, server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.deleted: set[str] = set()
        """Filled before the deletions are sent."""
        self.looks = 0
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        assert self.problems == []
        assert self.looks > 0

    def _watch(self) -> None:
        before = set[str]()
        while not self._over.is_set():
            try:
                now = self._cluster.new(self._server)
            except (AssertionError, httpx2.HTTPError) as error:
                self.problems.append(repr(error))
                return
            if lost := before - now - self.deleted:
                self.problems.append(f"lost: {lost}")
            before, self.looks = now, self.looks + 1


@pytest.fixture
def cluster(tmp_path: Path, settings: Settings, sample_catalog: SampleCatalog) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(stack, tmp_path, settings, sample_catalog)


def test_replicas_show_every_change_once(cluster: Cluster) -> None:
    one, two = cluster.replicas
    live = set[str]()
    with Watching(cluster, one) as first, Watching(cluster, two) as second:
        for number in range(24):
            assert cluster.add(number).status_code == 201
            live.add(f"NEW-{number}")
            if number % 6 == 3:
                for watching in (first, second):
                    watching.deleted.add(f"NEW-{number - 1}")
                live.discard(f"NEW-{number - 1}")
                cluster.delete(number - 1)
            if number == 11:
                cluster.compact()
        for server in (one, two, cluster.primary):
            until(lambda server=server: cluster.new(server) == live)
    version = Catalog(cluster.catalog.root).current().name
    for server in (one, two):
        assert server.events("catalog_swapped")[-1]["catalog"] == version
        assert cluster.found(server, 23) == cluster.found(cluster.primary, 23)
        assert cluster.found(server, 23)[0] == "NEW-23"
        assert cluster.found(server, 20)[0] != "NEW-20"  # deleted
        refused = cluster.add(100, server)
        assert refused.status_code == 409
        assert cluster.primary.url in refused.json()["detail"]


def test_a_publisher_that_is_killed_and_altered_changes_do_no_harm(cluster: Cluster) -> None:
    publishing = cluster.catalog.root / LIVE / PUBLISHING
    number = 0
    with ExitStack() as watches:
        for server in cluster.replicas:
            watches.enter_context(Watching(cluster, server))
        for _ in range(2):
            number += 1
            assert cluster.add(number).status_code == 201
            until(publishing.exists)
            cluster.kill_primary()
            cluster.primary = cluster.start_primary()
        live = {f"NEW-{each}" for each in range(1, number + 1)}
        for server in cluster.replicas:
            until(lambda server=server: cluster.new(server) == live)
    cluster.kill_primary()
    key = f"{LIVE}/{Catalog(cluster.catalog.root).current().name}/{LIVE_JSON}"
    document, signature, _ = cluster.remote.read(key).split(b"\n")
    altered = {**json.loads(document), "format": 1}
    altered["state"]["hidden_counts"] = [0] * len(altered["state"]["hidden_counts"])
    cluster.remote.write(key, json.dumps(altered).encode() + b"\n" + signature + b"\n")
    for server in cluster.replicas:
        until(lambda server=server: server.events("changes_not_pulled"))
        assert "signature" in server.events("changes_not_pulled")[-1]["error"]
        metrics = server.get("/metrics").text
        assert re.search(r'^logo_changes_pulled_total\{outcome="failed"\} [1-9]', metrics, re.MULTILINE)
        assert cluster.new(server) == live

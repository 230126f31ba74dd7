"""Changes of logos under gunicorn, with two workers, one of which is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Self

import httpx2
import pytest

from logo_similarity.config import load_settings
from logo_similarity.keys.store import open_key_store
from tests.keys import make_key
from tests.samples import SAMPLES, SampleCatalog
from tests.service import Server, serving, until

pytestmark = pytest.mark.slow
IMAGES = sorted((SAMPLES / "images").iterdir())[200:]
CONNECTIONS = 20
"""Requests on connections of their own, of which each worker answers some."""


class Sender:
    """Adds logos until it is stopped, and remembers those that were acknowledged."""

    def __init__(self, server: Server, key: str) -> None:
        self._server = server
        self._headers = {"X-API-Key": key}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.acknowledged: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _send(self) -> None:
        number = 0
        while not self._over.is_set():
            logo_id = f"US-{number}"
            image = IMAGES[number % len(IMAGES)].read_bytes()
            number += 1
            try:
                answer = self._server.post(
                    "/v1/logos",
                    headers=self._headers,
                    files={"image": image},
                    data={"record": json.dumps({"logo_id": logo_id})},
                    timeout=60,
                )
            except httpx2.TransportError:
                continue
            assert answer.status_code in (201, 503), answer.text
            if answer.status_code == 201:
                self.acknowledged.append(logo_id)


def all_seen(server: Server, key: str, logo_ids: list[str]) -> bool:
    headers = {"X-API-Key": key}
    return all(
        server.get(f"/v1/logos/{logo_id}", headers=headers).status_code == 200
        for logo_id in logo_ids
        for _ in range(CONNECTIONS)
    )


def test_every_worker_has_every_change_and_none_is_lost(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    catalog = replace(sample_catalog, root=tmp_path / "catalogs", images=tmp_path / "images")
    shutil.copytree(sample_catalog.root, catalog.root)
    shutil.copytree(sample_catalog.images, catalog.images)
    keys = str(tmp_path / "keys.json")
    key = make_key(open_key_store(load_settings(keys=keys)), "loader", role="write")
    with serving(catalog, tmp_path, LOGO_KEYS=keys) as server, Sender(server, key) as sender:
        until(lambda: len(sender.acknowledged) >= 4)
        before = list(sender.acknowledged)
        until(lambda: all_seen(server, key, before[-1:]))
        os.kill(server.workers()[0], signal.SIGKILL)
        until(lambda: len(sender.acknowledged) >= len(before) + 4)
        for process in (server.process.pid, *server.workers()):  # at the same moment as changes are stored
            os.kill(process, signal.SIGKILL)
        server.process.wait()
    acknowledged = sender.acknowledged
    with serving(catalog, tmp_path, LOGO_KEYS=keys) as server:
        assert all_seen(server, key, [acknowledged[0], acknowledged[-1]])
        headers = {"X-API-Key": key}
        for logo_id in acknowledged:
            assert server.get(f"/v1/logos/{logo_id}", headers=headers).status_code == 200
        picture = IMAGES[(len(acknowledged) - 1) % len(IMAGES)].read_bytes()
        hits = server.post("/v1/search?top_k=3", headers=headers, files={"file": picture}).json()["results"]
        assert any(hit["id"].startswith("US-") and hit["score"] > 0.99 for hit in hits)
        assert server.events("changes_not_shown") == []

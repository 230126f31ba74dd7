"""Many clients at once, for tests of a service in trouble."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Self

import httpx2

from tests.samples import SampleCatalog

CLIENTS = 6


class Clients:
    """Some clients that search with one picture after another, and count the outcomes."""

    def __init__(self, url: str, catalog: SampleCatalog, key: str = "") -> None:
        self._url = url
        self._key = key
        self._pictures = [(catalog.images / file).read_bytes() for file in catalog.files[:40]]
        self._over = threading.Event()
        self.outcomes: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._search, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _search(self, number: int) -> None:
        with httpx2.Client(base_url=self._url, headers={"X-API-Key": self._key}, timeout=60) as client:
            while not self._over.is_set():
                number = (number + 1) % len(self._pictures)
                try:
                    answer = client.post("/v1/search?top_k=5", files={"file": self._pictures[number]})
                    best = answer.json()["results"][0] if answer.status_code == 200 else {"id": answer.text}
                    self.outcomes["good" if best["id"] == f"EM/{number:06}" else best["id"]] += 1
                except httpx2.TransportError:
                    self.outcomes["cut off"] += 1

"""Watches over HTTP: who sees what, and what a running service does when the catalog changes."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from lxml import etree

from logo_similarity.api.app import create_app
from logo_similarity.api.live_watches import LiveWatches
from logo_similarity.config import load_settings
from logo_similarity.keys.store import open_key_store
from tests.importing import FILES
from tests.keys import make_key
from tests.watching import NEW, WatchedDesk
from tests.webhooks import Receiver, receiving

ATOM = {"a": "http://www.w3.org/2005/Atom"}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    WatchedDesk(folder).fill()
    return folder


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@dataclass(frozen=True, slots=True)
class Service:
    desk: WatchedDesk
    app: FastAPI
    client: TestClient
    keys: dict[str, str]
    """Secrets by name."""

    def call(self, key: str, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = {"X-API-Key": self.keys[key]} if key else {}
        return self.client.request(method, path, headers=headers, **options)

    def add(self, key: str, image: int | None = NEW, **form: Any) -> httpx2.Response:
        files = None if image is None else {"file": FILES[image].read_bytes()}
        return self.call(key, "POST", "/v1/watches", data={"name": "Ours", **form}, files=files)

    def ids(self, key: str, path: str = "/v1/watches") -> list[str]:
        return [watch["id"] for watch in self.call(key, "GET", path).json()["watches"]]

    def look(self) -> None:
        """What the followers of a worker do."""
        assert self.client.portal is not None
        runtime = self.app.state.runtime
        for follower in (runtime.keys, runtime.live, runtime.watches):
            self.client.portal.call(follower.look)

    def revoke(self, key: str) -> None:
        now = dt.datetime.now(dt.UTC)
        open_key_store(self.app.state.runtime.settings).change(
            lambda document: document.revoked(key, by="test", now=now)
        )


@pytest.fixture(params=[True])
def service(request: pytest.FixtureRequest, filled: Path, tmp_path: Path, receiver: Receiver) -> Iterator[Service]:
    """With three keys, or with none if the parameter is False."""
    for name in ("catalogs", "store"):
        shutil.copytree(filled / name, tmp_path / name)
    settings = load_settings(
        catalogs=tmp_path / "catalogs",
        images_dir=tmp_path / "store",
        watches_dir=tmp_path / "watches",
        keys=str(tmp_path / "keys.json") if request.param else None,
        webhook_hosts=receiver.authority,
        webhook_http=True,
        webhook_private=True,
        most_watches=3,
        poll_seconds=3600,  # it looks when it is told to
        log_level="error",
    )
    roles = {"ann": "search", "bob": "search", "boss": "admin"} if request.param else {}
    keys = {name: make_key(open_key_store(settings), name, role=role) for name, role in roles.items()}  # type: ignore[arg-type]
    app = create_app(settings)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Service(WatchedDesk(tmp_path), app, client, keys)


def test_a_watch_reports_what_is_new(service: Service) -> None:
    answer = service.add("ann", words="Kranich", mark=["US-3", "US-4"], status="-ended", max_expect="0.5")
    assert answer.status_code == 201
    watch = answer.json()
    assert (watch["pictures"], watch["marks"], watch["secret"]) == (1, ["US-3", "US-4"], None)
    assert watch["parameters"] == {"words": "Kranich", "max_expect": 0.5}
    assert watch["filter"] == {"not": {"field": "status", "is": ["ended"]}}
    path = f"/v1/watches/{watch['id']}"
    assert service.call("ann", "GET", path).json() == {name: value for name, value in watch.items() if name != "secret"}
    service.look()
    service.desk.add(service.desk.mark(NEW), service.desk.mark(4, 2, status="registered"))
    service.look()
    service.look()
    answer = service.call("ann", "GET", f"{path}/alerts")
    similar, changed = answer.json()["alerts"]
    assert (similar["kind"], similar["logo_id"], similar["reason"]) == ("similar", f"US-{NEW}", "new")
    assert similar["band"] == "near-identical"
    assert service.client.get(urlsplit(similar["image_url"])._replace(scheme="", netloc="").geturl()).status_code == 200
    assert (changed["kind"], changed["own"], changed["after"]["status"]) == ("changed", True, "registered")
    assert answer.json()["next"] is None
    assert service.call("ann", "DELETE", path).status_code == 204
    assert [service.call("ann", "GET", one).status_code for one in (path, f"{path}/alerts")] == [404, 404]


def test_a_key_sees_its_own_watches_and_an_admin_all(service: Service) -> None:
    mine, theirs = (service.add(key).json()["id"] for key in ("ann", "bob"))
    assert (service.ids("ann"), service.ids("bob"), service.ids("boss")) == ([mine], [theirs], [mine, theirs])
    for method, path in (("GET", ""), ("GET", "/alerts"), ("DELETE", "")):
        assert service.call("bob", method, f"/v1/watches/{mine}{path}").status_code == 404
    assert service.call("boss", "GET", f"/v1/watches/{mine}").json()["owner"] == service_key_id(service, "ann")
    assert service.call("boss", "DELETE", f"/v1/watches/{theirs}").status_code == 204
    assert service.ids("boss") == [mine]


def service_key_id(service: Service, name: str) -> str:
    return open_key_store(service.app.state.runtime.settings).read().find(name).id


def test_a_key_may_have_so_many_watches(service: Service) -> None:
    assert [service.add("ann").status_code for _ in range(4)] == [201, 201, 201, 409]
    assert service.add("ann").json()["code"] == "watches_spent"
    assert service.add("bob").status_code == 201
    assert [service.add("boss").status_code for _ in range(4)] == [201] * 4


def test_pages(service: Service) -> None:
    ids = [service.add("ann").json()["id"] for _ in range(3)]
    first = service.call("ann", "GET", "/v1/watches?limit=2").json()
    assert [watch["id"] for watch in first["watches"]] == ids[:2]
    assert service.ids("ann", f"/v1/watches?limit=2&cursor={first['next']}") == ids[2:]
    assert service.call("ann", "GET", "/v1/watches?cursor=unknown").status_code == 404
    service.desk.add(*(service.desk.record(f"EM-{number}", 1, NEW) for number in range(5)))
    service.look()
    path, seen = f"/v1/watches/{ids[0]}/alerts", []
    cursor: str | None = ""
    while cursor is not None:
        page = service.call("ann", "GET", f"{path}?limit=2{cursor and f'&cursor={cursor}'}").json()
        seen += [alert["logo_id"] for alert in page["alerts"]]
        cursor = page["next"]
    assert sorted(seen) == [f"EM-{number}" for number in range(5)]
    assert service.call("ann", "GET", f"{path}?cursor=x").status_code == 422


@pytest.mark.parametrize(
    ("image", "form", "status", "detail"),
    [
        (None, {}, 422, "file: is missing"),
        (NEW, {"name": ""}, 422, "name"),
        (NEW, {"name": "a\nb"}, 422, "printable"),
        (NEW, {"mark": "US-none"}, 404, "US-none"),
        (NEW, {"mark": ["US-1"] * 101}, 422, "mark"),
        (NEW, {"webhook": "https://evil.example/"}, 422, "LOGO_WEBHOOK_HOSTS"),
        (NEW, {"webhook": "x" * 3000}, 422, "webhook"),
        (NEW, {"unknown": "1"}, 422, "unknown parameter"),
        (NEW, {"propose": "true"}, 422, "propose"),
        (NEW, {"office": "EM"}, 422, "no office"),
        (None, {"words": "!"}, 422, "no letter"),
        (None, {"logo_id": "US-none"}, 404, "US-none"),
    ],
)
def test_watches_that_are_refused(
    service: Service, image: int | None, form: dict[str, Any], status: int, detail: str
) -> None:
    answer = service.add("ann", image, **form)
    assert (answer.status_code, service.ids("ann")) == (status, [])
    assert detail in answer.json()["detail"]


def test_a_file_that_is_no_picture(service: Service) -> None:
    answer = service.call("ann", "POST", "/v1/watches", data={"name": "x"}, files={"file": b"no picture"})
    assert (answer.status_code, answer.json()["code"]) == (422, "image_undecodable")
    assert service.ids("ann") == []


def test_the_watches_of_a_revoked_key_rest(service: Service) -> None:
    ids = [service.add(key).json()["id"] for key in ("ann", "bob")]
    url = service.call("ann", "POST", "/v1/watches/feed").json()["url"]
    assert service.client.get(urlsplit(url).path).status_code == 200
    service.revoke("ann")
    service.desk.add(service.desk.mark(NEW))
    service.look()
    assert [service.call("boss", "GET", f"/v1/watches/{one}").json()["alerts"] for one in ids] == [0, 1]
    assert service.client.get(urlsplit(url).path).status_code == 404


def test_a_feed_has_the_alerts_of_its_key_alone(service: Service) -> None:
    for key in ("ann", "bob"):
        service.add(key, name=f"Watch of {key}")
    urls = {key: service.call(key, "POST", "/v1/watches/feed").json()["url"] for key in ("ann", "bob")}
    service.desk.add(service.desk.mark(NEW, text="bell \x07 & <b>bold</b>"))
    service.look()
    answer = service.client.get(urlsplit(urls["ann"]).path)
    assert answer.headers["Content-Type"] == "application/atom+xml"
    feed = etree.fromstring(answer.content)
    (entry,) = feed.findall("a:entry", ATOM)
    title = entry.findtext("a:title", "", ATOM)
    assert title.startswith(f"Watch of ann: US-{NEW} (bell")
    assert title.endswith("& <b>bold</b>) is similar")
    assert "Watch of bob" not in answer.text
    for name in ("id", "title", "updated"):
        assert len(feed.findall(f"a:{name}", ATOM)) == 1
    renewed = service.call("ann", "POST", "/v1/watches/feed").json()["url"]
    assert [service.client.get(urlsplit(url).path).status_code for url in (urls["ann"], renewed)] == [404, 200]
    assert service.call("ann", "DELETE", "/v1/watches/feed").status_code == 204
    assert [service.client.get(urlsplit(url).path).status_code for url in (renewed, urls["bob"])] == [404, 200]


def test_an_alert_is_sent_to_the_webhook(service: Service, receiver: Receiver) -> None:
    added = service.add("ann", webhook=f"http://{receiver.authority}/hook").json()
    assert added["secret"].startswith("whsec_")
    assert "secret" not in service.call("ann", "GET", f"/v1/watches/{added['id']}").json()
    service.desk.add(service.desk.mark(NEW))
    service.look()
    service.look()
    (alert,) = receiver.alerts()
    assert (alert["logo_id"], alert["watch"]["id"]) == (f"US-{NEW}", added["id"])
    (shown,) = service.call("ann", "GET", f"/v1/watches/{added['id']}/alerts").json()["alerts"]
    assert shown["delivery"] == "delivered"


def test_a_worker_that_stops_sends_nothing_and_loses_nothing(service: Service, receiver: Receiver) -> None:
    service.add("ann", webhook=f"http://{receiver.authority}/hook")
    service.desk.add(service.desk.mark(NEW))
    service.app.state.runtime.watches.stop()
    service.look()
    assert (service.desk.alerts(), receiver.received) == ([("similar", f"US-{NEW}")], [])
    assert len(service.desk.watches.due_deliveries(0)) == 1


@pytest.mark.parametrize("service", [False], indirect=True)
def test_without_keys_the_watches_are_those_of_everybody(service: Service) -> None:
    assert service.add("").json()["owner"] == "anonymous"
    url = service.call("", "POST", "/v1/watches/feed").json()["url"]
    assert len(service.ids("")) == 1
    service.desk.watch(NEW, owner="key-of-another-time")
    assert len(service.ids("")) == 1
    assert service.client.get(urlsplit(url).path).status_code == 200


def test_without_watches_nothing_is_written(service: Service) -> None:
    service.look()
    assert (service.ids("ann"), service.call("ann", "DELETE", "/v1/watches/feed").status_code) == ([], 204)
    assert not service.desk.watches.path.exists()


def test_a_worker_with_an_older_version_waits_for_the_live_one(service: Service) -> None:
    service.add("ann")
    runtime = service.app.state.runtime
    service.desk.add(service.desk.mark(NEW))
    watches: LiveWatches = runtime.watches
    assert service.client.portal is not None
    service.client.portal.call(watches.look)  # the worker has not opened the new version yet
    assert service.desk.alerts() == []
    service.desk.run()  # another worker has
    service.client.portal.call(watches.look)
    assert service.desk.alerts() == [("similar", f"US-{NEW}")]
    assert service.desk.watches.watched_version() != runtime.live.current.engine.version

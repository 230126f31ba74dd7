"""Changes of logos and watches by the client, against a real service and one that refuses."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from logo_similarity.client import AsyncClient, Client
from logo_similarity.client.answers import DETAILS
from logo_similarity.config import load_settings
from logo_similarity.domain import Outcome, PartsMode, Query
from logo_similarity.errors import (
    BadImageError,
    ForbiddenError,
    InvalidRequestError,
    LogoExistsError,
    NotFoundError,
    ServiceError,
    SupersededError,
    WatchLimitError,
)
from logo_similarity.filters import Filter
from logo_similarity.keys.store import open_key_store
from logo_similarity.watch.model import Kind
from tests.commands import run
from tests.keys import make_key
from tests.moody import CUT_OFF, Moody, MoodyAnswer, problem
from tests.samples import SAMPLES, SampleCatalog
from tests.service import KEY, serving, until

NEW, OTHER = (
    (SAMPLES / "images" / row["file"]).read_bytes()
    for row in json.loads((SAMPLES / "results.json").read_text())[300:302]  # which the catalog has not
)
HOOK = "https://hooks.example/alerts"


@dataclass(frozen=True, slots=True)
class Desk:
    """A service that accepts changes."""

    url: str
    key: str
    settings: dict[str, str]

    def client(self) -> Client:
        return Client(self.url, api_key=self.key)


@pytest.fixture(scope="module")
def desk(sample_catalog: SampleCatalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    catalog = replace(sample_catalog, root=folder / "catalogs", images=folder / "images")
    shutil.copytree(sample_catalog.root, catalog.root)
    shutil.copytree(sample_catalog.images, catalog.images)
    keys = str(folder / "keys.json")
    key = make_key(open_key_store(load_settings(keys=keys)), "loader", role="write")
    own = {"LOGO_KEYS": keys, "LOGO_MOST_WATCHES": "3", "LOGO_WEBHOOK_HOSTS": "hooks.example", "LOGO_WORKERS": "1"}
    with serving(catalog, folder, **own) as server:
        yield Desk(server.url, key, {**own, "LOGO_CATALOGS": str(catalog.root), "LOGO_IMAGES_DIR": str(catalog.images)})


def test_a_logo_is_added_updated_replaced_and_deleted(desk: Desk) -> None:
    with desk.client() as client:
        record = {"logo_id": "US/1", "text": "Zanzibar", "nice_classes": [9], "application_date": dt.date(2024, 5, 6)}
        added = client.add_logo(NEW, {**record, "extra": {"colour": "red"}})
        assert (added.outcome, added.logo.logo_id, added.logo.record.text) == (Outcome.CREATED, "US/1", "Zanzibar")
        assert added.logo.record.application_date == dt.date(2024, 5, 6)
        assert added.logo.record.extra == {"colour": "red"}
        assert added.image_url is not None
        with pytest.raises(LogoExistsError):
            client.add_logo(NEW, record)
        updated = client.update_logo("US/1", {"company": "New Ltd"})
        assert (updated.outcome, updated.logo.record.company) == (Outcome.CHANGED, "New Ltd")
        assert updated.logo.record.text == "Zanzibar"
        assert client.update_logo("US/1", {"company": "New Ltd"}).outcome is Outcome.UNCHANGED
        assert client.update_logo("US/1", image=OTHER).image_url != added.image_url
        query = Query(image=OTHER, top_k=1, parts=PartsMode.OFF)
        until(lambda: client.search(query).result.hits[0].logo.logo_id == "US/1")
        replaced = client.replace_logo("US/1", NEW, {"text": "Other"})
        assert (replaced.logo.record.text, replaced.logo.record.company) == ("Other", None)
        assert client.replace_logo("A/B", NEW, {}).outcome is Outcome.CREATED
        for logo_id in ("US/1", "A/B"):
            client.delete_logo(logo_id)
            with pytest.raises(NotFoundError):
                client.delete_logo(logo_id)


def test_the_date_of_a_change_is_sent(desk: Desk) -> None:
    with desk.client() as client:
        late, early = dt.date(2025, 3, 1), dt.date(2025, 2, 1)
        added = client.add_logo(NEW, {"logo_id": "US/7", "text": "Late"}, transaction_date=late)
        assert added.logo.record.transaction_date == late
        assert client.update_logo("US/7", {"text": "Early"}, transaction_date=early).outcome is Outcome.UNCHANGED
        assert client.replace_logo("US/7", NEW, {"text": "Early"}, transaction_date=early).outcome is Outcome.UNCHANGED
        with pytest.raises(SupersededError):
            client.delete_logo("US/7", transaction_date=early)
        client.delete_logo("US/7", transaction_date=dt.date(2025, 4, 1))
        with pytest.raises(InvalidRequestError, match="give it once"):
            client.update_logo("EM/000008", {"transaction_date": "2025-01-01"}, transaction_date=late)


def test_a_change_that_is_refused_has_the_error_of_the_service(desk: Desk) -> None:
    with desk.client() as client:
        with pytest.raises(BadImageError, match="not an image"):
            client.add_logo(b"no image", {"logo_id": "US/2"})
        with pytest.raises(InvalidRequestError, match="color"):
            client.update_logo("EM/000008", {"color": "red"})
        for value in (object(), float("nan")):
            with pytest.raises(InvalidRequestError, match="the record is not valid"):
                client.update_logo("EM/000008", {"text": value})
        with pytest.raises(NotFoundError):
            client.update_logo("EM/none", {"text": "x"})
    with Client(desk.url, api_key=KEY) as client, pytest.raises(ForbiddenError):
        client.delete_logo("EM/000008")


def test_watches_are_added_listed_and_removed(desk: Desk) -> None:
    query = Query(image=OTHER, words="kranich", filter=Filter.where(status="pending"))
    with desk.client() as client:
        added = client.add_watch("First", query, marks=["EM/000001", "EM/000002"], webhook=HOOK)
        watch = added.watch
        assert (watch.name, watch.marks, watch.webhook, watch.pictures) == (
            "First",
            ("EM/000001", "EM/000002"),
            HOOK,
            1,
        )
        assert watch.query["parameters"] == {"words": "kranich", "max_expect": 1.0}
        assert watch.query["filter"] == Filter.where(status="pending").to_json()
        assert added.secret is not None
        second = client.add_watch("Second", Query(logo_id="EM/000003"))
        assert (second.secret, second.watch.alerts, second.watch.problem) == (None, 0, None)
        third = client.add_watch("Third", Query(image=NEW, more_images=(OTHER,)))
        assert third.watch.pictures == 2
        with pytest.raises(WatchLimitError):
            client.add_watch("Fourth", Query(words="x"))
        with pytest.raises(InvalidRequestError, match="name"):
            client.add_watch("", Query(words="x"))
        first = client.watches(limit=2)
        others = client.watches(limit=2, cursor=first.next)
        assert (*first.watches, *others.watches) == (watch, second.watch, third.watch)
        assert others.next is None
        for one in (watch, second.watch, third.watch):
            client.remove_watch(one.id)
        assert client.watches().watches == ()
        for call in (client.remove_watch, client.alerts):
            with pytest.raises(NotFoundError):
                call(watch.id)


def test_alerts_are_those_of_the_command(desk: Desk) -> None:
    with desk.client() as client:
        watch = client.add_watch("Alerts", Query(image=NEW), marks=["EM/000009"]).watch
        client.add_logo(NEW, {"logo_id": "US/9", "text": "Nine"})
        client.update_logo("EM/000009", {"status": "ended"})
        until(lambda: client.logo("US/9"))
        until(lambda: run("watch", "run", **desk.settings).returncode == 0)  # the service may be running them, too
        newest = client.alerts(watch.id, limit=1)
        page = client.alerts(watch.id, limit=1, cursor=newest.next)
        assert page.next is None
        alerts = {one.alert.kind: one for one in (*newest.alerts, *page.alerts)}
        similar, changed = alerts[Kind.SIMILAR], alerts[Kind.CHANGED]
        assert (similar.alert.logo_id, similar.alert.watch, similar.alert.watch_name) == ("US/9", watch.id, "Alerts")
        assert similar.alert.detail["metadata"]["text"] == "Nine"
        assert (similar.alert.detail["reason"], similar.delivery) == ("new", None)
        assert similar.image_url is not None
        assert changed.alert.detail["after"]["status"] == "ended"
        shown = json.loads(run("watch", "alerts", "--json", **desk.settings).stdout)
        assert {one["kind"]: set(DETAILS[Kind(one["kind"])]) <= set(one) for one in shown} == {
            "similar": True,
            "changed": True,
        }
        assert next(one for one in client.watches().watches if one.id == watch.id).alerts == 2
        client.remove_watch(watch.id)
        client.delete_logo("US/9")


@pytest.mark.anyio
async def test_the_same_for_asyncio(desk: Desk) -> None:
    async with AsyncClient(desk.url, api_key=desk.key) as client:
        assert (await client.add_logo(OTHER, {"logo_id": "US/3"})).outcome is Outcome.CREATED
        assert (await client.update_logo("US/3", {"text": "Three"})).logo.record.text == "Three"
        assert (await client.replace_logo("US/3", NEW, {"text": "3"})).logo.record.text == "3"
        await client.delete_logo("US/3")
        added = await client.add_watch("Async", Query(words="x"), marks=["EM/000001"])
        assert added.watch in (await client.watches()).watches
        assert (await client.alerts(added.watch.id)).alerts == ()
        await client.remove_watch(added.watch.id)


CHANGED: MoodyAnswer = (
    200,
    {},
    json.dumps({"id": "a", "image_url": None, "metadata": {}, "outcome": "changed"}).encode(),
)
DELETED: MoodyAnswer = 204, {}, b""


@pytest.mark.parametrize(
    ("send", "good"),
    [
        (lambda client: client.add_logo(b"image", {"logo_id": "a"}), CHANGED),
        (lambda client: client.replace_logo("a", b"image", {}), CHANGED),
        (lambda client: client.update_logo("a", {}), CHANGED),
        (lambda client: client.delete_logo("a"), DELETED),
    ],
)
def test_a_change_that_is_sent_again_has_the_same_key(send: Callable[[Client], object], good: MoodyAnswer) -> None:
    with Moody([problem(503, "overloaded"), CUT_OFF, good]) as server, Client(server.url) as client:
        send(client)
        send(client)
        first, *repeated, other = (headers["Idempotency-Key"] for headers in server.headers)
        assert repeated == [first, first]
        assert other != first


WATCH = {
    "id": "w", "owner": "anonymous", "name": "x", "created": "2026-01-01T00:00:00+00:00", "pictures": 0, "parameters": {},
    "filter": None, "marks": [], "webhook": None, "alerts": 0, "problem": None, "secret": None,
}  # fmt: skip
ADDED: MoodyAnswer = 201, {}, json.dumps(WATCH).encode()


def test_a_watch_is_not_added_twice() -> None:
    with Moody([problem(503, "overloaded"), ADDED]) as server, Client(server.url) as client:
        assert client.add_watch("x", Query(words="x")).watch.id == "w"
        assert server.asked == 2  # the first one was refused
    with Moody([CUT_OFF, ADDED]) as server, Client(server.url) as client:
        with pytest.raises(ServiceError, match="is not reachable"):
            client.add_watch("x", Query(words="x"))
        assert server.asked == 1


@pytest.mark.parametrize("answer", [(200, {}, b"{}"), (307, {"Location": "http://127.0.0.1:1/"}, b""), (200, {}, b"")])
def test_only_204_is_the_answer_to_a_deletion(answer: MoodyAnswer) -> None:
    with (
        Moody([answer]) as server,
        Client(server.url) as client,
        pytest.raises(ServiceError, match="responds, but not as logo-similarity does"),
    ):
        client.delete_logo("a")

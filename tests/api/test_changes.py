"""Changes of logos over HTTP, in two workers of one catalog."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from logo_similarity.api.app import create_app
from logo_similarity.build.compacting import compact
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.overlay import OVERLAY, Overlay
from logo_similarity.config import Settings, load_settings
from logo_similarity.keys.store import open_key_store
from tests.keys import make_key
from tests.samples import SAMPLES, SampleCatalog
from tests.service import until

NEW = max((SAMPLES / "images").iterdir())
"""An image that the catalog does not have."""
LOGO = "/v1/logos/EM/000001"


@dataclass(frozen=True, slots=True)
class Office:
    settings: Settings
    workers: tuple[TestClient, TestClient]
    keys: dict[str, str]

    def send(self, method: str, path: str, *, role: str = "write", worker: int = 0, **options: Any) -> httpx2.Response:
        headers = {"X-API-Key": self.keys[role], **options.pop("headers", {})}
        return self.workers[worker].request(method, path, headers=headers, **options)

    def post(self, record: object, image: bytes | None = None, **options: Any) -> httpx2.Response:
        return self.form("POST", "/v1/logos", record, NEW.read_bytes() if image is None else image, **options)

    def form(self, method: str, path: str, record: object, image: bytes, **options: Any) -> httpx2.Response:
        text = record if isinstance(record, str) else json.dumps(record)
        return self.send(method, path, files={"image": image}, data={"record": text}, **options)

    def until_seen(self, logo_id: str, text: str | None) -> None:
        """Wait until every worker has the logo with this text; None: has no such logo."""
        for worker in range(len(self.workers)):
            until(lambda worker=worker: self._text(logo_id, worker) == text)

    def _text(self, logo_id: str, worker: int) -> str | None:
        answer = self.send("GET", f"/v1/logos/{logo_id}", worker=worker)
        return None if answer.status_code == 404 else str(answer.json()["metadata"]["text"])

    def found(self, image: bytes, worker: int) -> list[str]:
        answer = self.send("POST", "/v1/search?top_k=3", worker=worker, files={"file": image})
        return [hit["id"] for hit in answer.json()["results"]]


@pytest.fixture(scope="module")
def folder(sample_catalog: SampleCatalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("office")
    shutil.copytree(sample_catalog.root, folder / "catalogs")
    shutil.copytree(sample_catalog.images, folder / "images")
    return folder


def settings_of(folder: Path, **others: object) -> Settings:
    return load_settings(
        catalogs=folder / "catalogs",
        usage_db=folder / "usage.db",
        poll_seconds=3600,
        threads=1,
        log_level="error",
        **{"images_dir": folder / "images", "keys": str(folder / "keys.json"), **others},
    )


@pytest.fixture(scope="module")
def office(folder: Path) -> Iterator[Office]:
    settings = settings_of(folder)
    keys = {role: make_key(open_key_store(settings), role, role=role) for role in ("search", "write", "admin")}
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(TestClient(create_app(settings), raise_server_exceptions=False)) for _ in range(2)
        )
        yield Office(settings, (first, second), keys)


def test_a_new_logo_is_seen_in_every_worker(office: Office) -> None:
    answer = office.post({"logo_id": "US-1", "text": "Zanzibar", "nice_classes": [9], "extra": {"colour": "red"}})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["id"], made["outcome"]) == ("US-1", "created")
    assert (made["metadata"]["text"], made["metadata"]["extra"]) == ("Zanzibar", {"colour": "red"})
    office.until_seen("US-1", "Zanzibar")
    for worker in (0, 1):
        got = office.send("GET", "/v1/logos/US-1", worker=worker).json()
        assert got["metadata"] == made["metadata"]
        image = office.send("GET", got["image_url"], worker=worker)
        assert image.content == NEW.read_bytes()
        assert office.found(NEW.read_bytes(), worker)[0] == "US-1"
    assert office.post({"logo_id": "US-1"}).json()["code"] == "logo_exists"


def test_a_logo_is_updated_replaced_and_deleted(office: Office) -> None:
    answer = office.send("PATCH", LOGO, json={"company": "New Ltd"})
    assert (answer.status_code, answer.json()["outcome"]) == (200, "changed")
    assert answer.json()["metadata"]["vienna_codes"] == ["26.01.01", "27.05.01"]
    assert office.send("PATCH", LOGO, json={"company": "New Ltd"}).json()["outcome"] == "unchanged"
    answer = office.send("PATCH", LOGO, files={"image": NEW.read_bytes()}, data={"record": '{"text": "Patched"}'})
    assert (answer.json()["metadata"]["company"], answer.json()["metadata"]["text"]) == ("New Ltd", "Patched")
    office.until_seen("EM/000001", "Patched")
    assert "EM/000001" in office.found(NEW.read_bytes(), 1)
    answer = office.form("PUT", LOGO, {"text": "Other"}, NEW.read_bytes())
    assert (answer.status_code, answer.json()["metadata"]["company"]) == (200, None)
    assert office.form("PUT", "/v1/logos/A/B", {}, NEW.read_bytes()).status_code == 201
    for path in (LOGO, "/v1/logos/A/B"):
        assert office.send("DELETE", path).status_code == 204
        assert office.send("DELETE", path).status_code == 404
    office.until_seen("EM/000001", None)
    for worker in (0, 1):
        assert "EM/000001" not in office.found(NEW.read_bytes(), worker)


def test_a_request_that_is_sent_again_has_no_effect(office: Office) -> None:
    headers = {"Idempotency-Key": "one"}
    first = office.post({"logo_id": "US-2"}, headers=headers)
    again = office.post({"logo_id": "US-2"}, headers=headers, worker=1)
    assert (first.status_code, again.status_code) == (201, 201)
    assert (again.json()["id"], again.json()["outcome"]) == ("US-2", "created")
    assert office.post({"logo_id": "US-3"}, headers=headers).json()["code"] == "idempotency_key_reused"
    assert office.post({"logo_id": "US-2"}, headers=headers, role="admin").json()["code"] == "logo_exists"
    assert office.post({"logo_id": "US-3"}, headers={"Idempotency-Key": "two words"}).status_code == 422


def test_an_older_change_is_answered_with_what_is_known(office: Office) -> None:
    path = "/v1/logos/EM/000002"
    assert office.send("PATCH", path, json={"text": "May", "transaction_date": "2024-05-01"}).status_code == 200
    older = office.send("PATCH", path, json={"text": "April", "transaction_date": "2024-04-01"})
    assert (older.status_code, older.json()["metadata"]["text"]) == (200, "May")
    office.form("PUT", path, {"text": "June", "transaction_date": "2024-06-01"}, NEW.read_bytes())
    older = office.send("DELETE", path + "?transaction_date=2024-04-01")
    assert (older.status_code, older.json()["code"]) == (409, "superseded")
    assert office.send("DELETE", path + "?transaction_date=soon").status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("POST", "/v1/logos", {"json": {}}, 415, "media_type_unsupported"),
        ("POST", "/v1/logos", {"files": {"image": b"x"}}, 422, "invalid_request"),
        ("POST", "/v1/logos", {"data": {"record": "{}"}}, 415, "media_type_unsupported"),
        ("POST", "/v1/logos", {"files": {"image": b"x"}, "data": {"record": "{}"}}, 422, "invalid_request"),
        ("POST", "/v1/logos", {"files": {"image": b"x"}, "data": {"record": "{"}}, 422, "invalid_request"),
        ("POST", "/v1/logos", {"files": {"image": b"x"}, "data": {"record": '{"logo_id": "N"}'}}, 422, "image_undecodable"),
        ("POST", "/v1/logos?x=1", {"files": {"image": b"x"}, "data": {"record": "{}"}}, 422, "invalid_request"),
        ("POST", "/v1/logos", {"files": {"image": b"x", "file": b"y"}, "data": {"record": "{}"}}, 400, "malformed_request"),
        ("POST", "/v1/logos", {"files": {"image": b"x"}, "data": {"record": " " * 110_000}}, 400, "malformed_request"),
        ("PATCH", LOGO, {"content": b"{", "headers": {"Content-Type": "application/json"}}, 422, "invalid_request"),
        ("PATCH", LOGO, {"content": b" " * 110_000, "headers": {"Content-Type": "application/json"}}, 422, "invalid_request"),
        ("PATCH", LOGO, {"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415, "media_type_unsupported"),
        ("PATCH", LOGO, {"json": {"txet": "x"}}, 422, "invalid_request"),
        ("PATCH", LOGO, {"files": {"file": b"x"}}, 422, "invalid_request"),
        ("PATCH", LOGO, {"files": {"record": b"x"}}, 422, "invalid_request"),
        ("PATCH", "/v1/logos/none", {"json": {"text": "x"}}, 404, "not_found"),
        ("PUT", LOGO, {"json": {}}, 415, "media_type_unsupported"),
        ("DELETE", "/v1/logos", {}, 405, "method_not_allowed"),
        ("POST", LOGO, {}, 405, "method_not_allowed"),
    ],
)  # fmt: skip
def test_a_bad_request_changes_nothing(
    office: Office, method: str, path: str, options: dict[str, Any], status: int, code: str
) -> None:
    overlay = Overlay(office.settings.catalogs)
    before = overlay.last()
    answer = office.send(method, path, role="admin", **options)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert overlay.last() == before
    overlay.close()


def test_roles(office: Office) -> None:
    assert office.send("DELETE", "/v1/logos/none", role="search").status_code == 403
    assert office.send("DELETE", "/v1/logos/none", role="admin").status_code == 404
    assert office.send("GET", "/v1/keys", role="write").status_code == 403
    assert office.workers[0].delete("/v1/logos/none").status_code == 401


def test_a_service_without_keys_accepts_no_changes(folder: Path) -> None:
    with TestClient(create_app(settings_of(folder).model_copy(update={"keys": None}))) as client:
        answer = client.delete(LOGO)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_a_service_that_cannot_store_an_image_says_so(office: Office, folder: Path) -> None:
    with TestClient(create_app(settings_of(folder, images_dir=None, s3_bucket=None))) as client:
        one = Office(office.settings, (client, client), office.keys)
        answer = one.post({"logo_id": "US-8"})
        assert (answer.status_code, answer.json()["code"]) == (409, "not_writable")
        assert "LOGO_IMAGES_DIR" in answer.json()["detail"]
        assert one.send("PATCH", "/v1/logos/EM/000005", json={"text": "x"}).status_code == 200


@pytest.mark.parametrize("primary", [None, "https://primary.example"])
def test_a_replica_names_the_primary(office: Office, folder: Path, primary: str | None) -> None:
    settings = settings_of(folder, catalog_url="s3://bucket/x", primary_url=primary, pull_seconds=3600)
    with TestClient(create_app(settings)) as client:
        answer = Office(settings, (client, client), office.keys).send("DELETE", LOGO)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_writable")
    assert (primary or "LOGO_PRIMARY_URL") in answer.json()["detail"]


def test_changes_outlive_the_service(office: Office, sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    shutil.copytree(sample_catalog.root, tmp_path / "catalogs")
    settings = settings_of(tmp_path, keys=office.settings.keys)
    for segments in ("missing", "whole", "none"):
        with TestClient(create_app(settings)) as client:
            one = Office(settings, (client, client), office.keys)
            if segments == "missing":
                assert one.post({"logo_id": "US-7", "text": "kept"}).status_code == 201
            else:  # seen at once
                assert one.send("GET", "/v1/logos/US-7").json()["metadata"]["text"] == "kept"
        if segments == "whole":
            shutil.rmtree(tmp_path / "catalogs" / "live")
    assert (tmp_path / "catalogs" / OVERLAY).exists()


def test_a_version_that_replaces_another_has_the_changes_at_once(
    office: Office, sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    shutil.copytree(sample_catalog.root, tmp_path / "catalogs")
    settings = settings_of(tmp_path, keys=office.settings.keys)
    with TestClient(create_app(settings)) as client:
        one = Office(settings, (client, client), office.keys)
        one.post({"logo_id": "US-7", "text": "kept"})
        one.send("DELETE", LOGO)
        one.until_seen("EM/000001", None)
        result = compact(settings.catalogs, BuildOptions(threads=1), None)
        assert result.manifest.count == 200
        one.send("DELETE", "/v1/logos/EM/000002")  # the old version is still open
        app: Any = client.app
        assert client.portal is not None
        client.portal.call(app.state.runtime.live.look)
        assert one.send("GET", "/v1/catalog").json()["version"] == result.folder.name
        assert one.send("GET", LOGO).status_code == 404
        assert one.send("GET", "/v1/logos/US-7").status_code == 200
        assert one.send("DELETE", "/v1/logos/EM/000002").status_code in (204, 404)
        one.until_seen("EM/000002", None)

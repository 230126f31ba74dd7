"""Keys of LOGO_KEYS: what each role opens, how often, and how a running service takes a change."""

from __future__ import annotations

import datetime as dt
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY

from logo_similarity.api import live_keys
from logo_similarity.api.app import create_app
from logo_similarity.api.paths import POLICIES, UNMATCHED, WRITES, Policy, policy_of
from logo_similarity.config import Settings, load_settings
from logo_similarity.errors import ConfigError
from logo_similarity.keys.store import open_key_store
from logo_similarity.keys.usage import Usage
from tests.keys import make_key
from tests.samples import SampleCatalog

# Written out a second time on purpose: to open a path to more people must be a decision.
OPEN = {"/", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/v1/files/{token}/{name}"}
OPEN |= {"/docs/assets/{digest}/{name}", "/web/{digest}/{name}", "/v1/watches/feed/{token}"}
SEARCH = {
    "/v1/search", "/v1/search/batch", "/v1/explain", "/v1/catalog", "/v1/facets", "/v1/logos", "/v1/logos/{logo_id:path}",
    "/v1/image/{image_id:path}", "/v1/classification/vienna", "/v1/classification/nice", "/v1/report", "/v1/watches",
    "/v1/watches/feed", "/v1/watches/{watch_id}", "/v1/watches/{watch_id}/alerts",
}  # fmt: skip
ADMIN = {"/v1/keys"}
WRITE = {
    ("POST", "/v1/logos"), ("PUT", "/v1/logos/{logo_id:path}"), ("PATCH", "/v1/logos/{logo_id:path}"),
    ("DELETE", "/v1/logos/{logo_id:path}"),
}  # fmt: skip
PROBES = {"/healthz", "/readyz", "/metrics"}
UNTRACED = {
    "/v1/files/{token}/{name}",
    "/docs/assets/{digest}/{name}",
    "/web/{digest}/{name}",
    "/v1/watches/feed/{token}",
    UNMATCHED,
}
UNKNOWN = {"/v1/unknown", "/v1/searches", "/v1/search/", "/V1/SEARCH", "/v1/admin/keys", "/healthz/x", "/v1/files/x"}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
LOGO = "/v1/logos/EM/000001"


@dataclass(frozen=True, slots=True)
class Service:
    settings: Settings
    app: FastAPI
    client: TestClient

    def status(self, key: str, path: str = LOGO) -> int:
        return self.client.get(path, headers={"X-API-Key": key}).status_code

    def key(self, name: str, **facts: object) -> str:
        """A key that the service has not seen yet."""
        return make_key(open_key_store(self.settings), name, **facts)  # type: ignore[arg-type]

    def look(self) -> None:
        assert self.client.portal is not None
        keys = self.app.state.runtime.keys
        for look in (keys.look, keys.usage.look):
            self.client.portal.call(look)


@pytest.fixture
def service(sample_catalog: SampleCatalog, tmp_path: Path) -> Iterator[Service]:
    settings = load_settings(
        catalogs=sample_catalog.root,
        images_dir=sample_catalog.images,
        keys=str(tmp_path / "keys.json"),
        usage_db=tmp_path / "usage.db",
        watches_dir=tmp_path / "watches",
        poll_seconds=3600,  # it looks when it is told to
        log_level="error",
    )
    app = create_app(settings)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Service(settings, app, client)


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.msg["event"] for record in caplog.records if isinstance(record.msg, dict)]


def test_every_route_for_every_role(service: Service) -> None:
    keys = {role: service.key(role, role=role) for role in ("search", "write", "admin")}
    keys |= {"none": "", "wrong": "lsk_wrong"}
    keys["revoked"], keys["expired"] = service.key("revoked"), service.key("expired", lives=dt.timedelta(seconds=-1))
    place = open_key_store(service.settings)
    place.change(lambda document: document.revoked("revoked", by="test", now=dt.datetime.now(dt.UTC)))
    service.look()
    paths = {context.path for context in iter_route_contexts(create_app(service.settings).routes) if context.path}
    assert paths == OPEN | SEARCH | ADMIN, "add the new route to the set of those who may use it"
    with TestClient(create_app(service.settings.model_copy(update={"keys": None}))) as unlocked:
        for path in sorted(paths | UNKNOWN):
            for method in METHODS:
                without_keys = unlocked.request(method, path, follow_redirects=False).status_code
                for who, key in keys.items():
                    status = service.client.request(
                        method, path, headers={"X-API-Key": key}, follow_redirects=False
                    ).status_code
                    if (method, path) in WRITE:
                        assert without_keys == 403, "without keys, nobody may change a logo"
                        refused = {"search": 403, "write": 0, "admin": 0}.get(who, 401)
                        assert status == refused or (not refused and status not in (401, 403)), f"{who} {method} {path}"
                        continue
                    allowed = path in OPEN or who == "admin" or (path in SEARCH and who in ("search", "write"))
                    refused = (404 if path in UNKNOWN else 403) if who in ("search", "write") else 401
                    expected = without_keys if allowed else refused
                    assert status == expected, f"{who} {method} {path}"


def test_a_service_without_a_key_lets_nobody_in_and_says_so(
    sample_catalog: SampleCatalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings(
        catalogs=sample_catalog.root, keys=str(tmp_path / "keys.json"), usage_db=tmp_path / "usage.db"
    )
    with TestClient(create_app(settings)) as client:
        assert client.get(LOGO).status_code == 401
    assert '"event": "no_keys"' in capsys.readouterr().err


def test_a_change_is_taken_and_a_revoked_key_is_refused(service: Service) -> None:
    secret = service.key("team")
    assert service.status(secret) == 401
    service.look()
    assert service.status(secret) == 200
    place = open_key_store(service.settings)
    place.change(lambda document: document.revoked("team", by="test", now=dt.datetime.now(dt.UTC)))
    service.look()
    answer = service.client.get(LOGO, headers={"X-API-Key": secret})
    assert answer.status_code == 401
    assert "revoked" in answer.json()["detail"]
    assert "X-API-Key" in answer.headers["WWW-Authenticate"]


def test_both_secrets_of_a_rotated_key_open_until_the_old_one_ends(service: Service) -> None:
    old = service.key("team")

    def rotated(overlap: dt.timedelta) -> str:
        now = dt.datetime.now(dt.UTC)

        def change(document: object) -> object:
            changed, _, secret = document.rotated("team", overlap=overlap, expires=None, by="test", now=now)  # type: ignore[attr-defined]
            return changed, secret

        return str(open_key_store(service.settings).change(change))  # type: ignore[arg-type]

    new = rotated(dt.timedelta(hours=1))
    service.look()
    assert [service.status(key) for key in (old, new)] == [200, 200]
    newest = rotated(dt.timedelta())
    service.look()
    assert [service.status(key) for key in (old, new, newest)] == [401, 401, 200]


def test_a_key_ends_when_its_time_is_over(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    class InAnHour(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Self:
            return super().now(tz) + dt.timedelta(hours=1)

    secret = service.key("team", lives=dt.timedelta(minutes=59))
    service.look()
    assert service.status(secret) == 200
    monkeypatch.setattr(live_keys, "dt", SimpleNamespace(datetime=InAnHour, UTC=dt.UTC))
    answer = service.client.get(LOGO, headers={"X-API-Key": secret})
    assert answer.status_code == 401
    assert "this key expired at" in answer.json()["detail"]


@pytest.mark.parametrize(("bound", "code"), [({"rate": "3/minute"}, "rate_limited"), ({"quota": 3}, "quota_spent")])
def test_who_asks_too_often_is_told_when_to_come_back(service: Service, bound: dict[str, object], code: str) -> None:
    secret, other = service.key("team", **bound), service.key("other")
    service.look()
    assert [service.status(secret) for _ in range(3)] == [200] * 3
    read: list[int] = []

    def body() -> Iterator[bytes]:
        read.append(1)
        yield bytes(1000)

    answer = service.client.post("/v1/search", content=body(), headers={"X-API-Key": secret})
    assert (answer.status_code, answer.json()["code"]) == (429, code)
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert read == []
    assert service.status(other) == 200
    assert service.client.get("/readyz").status_code == 200


def test_an_admin_sees_the_keys_and_no_secret(service: Service) -> None:
    admin, secret = service.key("boss", role="admin"), service.key("team", rate="5/second", quota=10)
    service.look()
    for _ in range(3):
        service.status(secret)
    answer = service.client.get("/v1/keys", headers={"X-API-Key": admin})
    boss, team = answer.json()["keys"]
    assert (boss["name"], boss["role"], boss["state"]) == ("boss", "admin", "active")
    assert (team["rate"], team["quota"], team["requests_today"], team["expires"]) == ("5/second", 10, 3, None)
    document = open_key_store(service.settings).read()
    for text in (admin, secret, *(one.sha256 for key in document.keys for one in key.secrets)):
        assert text not in answer.text


def test_metrics_and_log_name_the_key_by_its_id(service: Service) -> None:
    secret = service.key("team", rate="1/hour")
    service.look()
    ident = open_key_store(service.settings).read().find("team").id
    assert [service.status(secret), service.status(secret), service.status(secret, "/v1/keys")] == [200, 429, 403]
    page = service.client.get("/metrics").text
    for outcome in ("admitted", "rate_limited", "forbidden"):
        assert f'logo_key_requests_total{{key="{ident}",outcome="{outcome}"}} 1.0' in page
    assert secret not in page
    assert f'"{open_key_store(service.settings).read().find(ident).name}"' not in page


def test_keys_that_cannot_be_read_any_more_leave_those_that_were_known(service: Service) -> None:
    secret = service.key("team")
    service.look()
    path = Path(str(service.settings.keys))
    path.write_text("{ broken")
    for _ in range(2):
        with pytest.raises(ConfigError, match="LOGO_KEYS"):
            service.look()
    assert service.status(secret) == 200


def test_keys_that_cannot_be_read_at_the_start_stop_it(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{ broken")
    settings = load_settings(
        catalogs=sample_catalog.root, keys=str(tmp_path / "keys.json"), usage_db=tmp_path / "usage.db"
    )
    with pytest.raises(ConfigError, match="LOGO_KEYS"), TestClient(create_app(settings)):
        pass


def test_what_cannot_be_counted_is_let_in_and_said(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk: more than the bound is let in, nobody is turned away."""
    secret = service.key("team", quota=1)
    service.look()

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Usage, "admit", full)
    before = REGISTRY.get_sample_value("logo_usage_lost_total") or 0
    assert [service.status(secret) for _ in range(5)] == [200] * 5
    assert events(caplog) == ["usage_not_counted"]
    assert f"logo_usage_lost_total {before + 5}" in service.client.get("/metrics").text


def test_a_count_that_is_damaged_while_it_runs_is_begun_anew(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    secret, admin = service.key("team", quota=2), service.key("boss", role="admin")
    service.look()
    assert service.status(secret) == 200
    usage = service.settings.usage_db
    assert usage is not None
    for path in usage.parent.glob("usage.db*"):
        path.write_bytes(b"garbage" * 2_000)
    assert [service.status(secret) for _ in range(5)] == [200] * 5
    answer = service.client.get("/v1/keys", headers={"X-API-Key": admin})
    assert answer.status_code == 200
    assert "usage_not_counted" in events(caplog)
    service.look()
    assert [service.status(secret) for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("trouble", ["damaged", "a folder"])
def test_a_count_that_cannot_be_opened_stops_no_start(
    sample_catalog: SampleCatalog, tmp_path: Path, trouble: str
) -> None:
    usage = tmp_path / "usage.db"
    if trouble == "damaged":
        usage.write_bytes(b"garbage" * 2_000)
    else:
        usage.mkdir()
    settings = load_settings(
        catalogs=sample_catalog.root, keys=str(tmp_path / "keys.json"), usage_db=usage, poll_seconds=3600
    )
    secret = make_key(open_key_store(settings), "team", quota=1)
    with TestClient(create_app(settings)) as client:
        statuses = [client.get(LOGO, headers={"X-API-Key": secret}).status_code for _ in range(2)]
    assert statuses == ([200, 429] if trouble == "damaged" else [200, 200])


def test_the_table_names_every_route_and_no_other(service: Service) -> None:
    paths = {context.path for context in iter_route_contexts(service.app.routes) if context.path}
    assert set(POLICIES) == paths | {UNMATCHED}
    for template, policy in POLICIES.items():
        role = None if template in OPEN else "search" if template in SEARCH else "admin"
        assert policy.role == role, template
        admitted = {"/v1/search", "/v1/search/batch", "/v1/explain", "/v1/report"}
        assert policy.admission == (template in admitted), template
        assert policy.log_level == (logging.DEBUG if template in PROBES else logging.INFO), template
        assert policy.traced == (template not in PROBES | UNTRACED), template
    assert policy_of("/v1/new") == Policy("admin")
    assert set(WRITES) == WRITE
    assert {(policy.role, policy.admission) for policy in WRITES.values()} == {("write", True)}


def test_a_route_that_is_not_in_the_table_is_closed(service: Service) -> None:
    @service.app.get("/v1/new")
    async def new() -> str:
        return "new"

    search, admin = service.key("team"), service.key("boss", role="admin")
    service.look()
    assert policy_of("/v1/new").role == "admin"
    assert [service.status(key, "/v1/new") for key in ("lsk_wrong", search, admin)] == [401, 403, 200]

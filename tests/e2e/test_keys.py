"""`logo-similarity keys` beside a running service with two workers, and keys that replicas share in a bucket."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.samples import SampleCatalog
from tests.seaweedfs import S3Server
from tests.service import Server, command, serving, until
from tests.valkey import run_valkey

LOGO = "/v1/logos/EM/000001"
WORKERS = 2


def keys(place: str, *words: str, **environment: str) -> str:
    done = subprocess.run(
        command("keys", *words),
        env={**os.environ, "LOGO_KEYS": place, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def statuses(server: Server, key: str, times: int = 12) -> list[int]:
    """Of one request on each of so many connections, which the workers share."""
    return [server.get(LOGO, headers={"X-API-Key": key}).status_code for _ in range(times)]


def until_ready(server: Server) -> None:
    """Wait for every worker: one that starts later reads the keys as the test has changed them."""
    until(lambda: len(server.events("ready")) == WORKERS)


def until_taken(server: Server, changes: int) -> None:
    """Wait until every worker has taken the keys after this number of changes."""
    until(lambda: [line["changes"] for line in server.events("keys_changed")].count(changes) == WORKERS)


def test_a_key_from_its_making_to_its_end(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    place = str(tmp_path / "keys.json")
    own = {"LOGO_USAGE_DB": str(tmp_path / "usage.db")}
    first = keys(place, "create", "team-a", "--quota", "1000", "--days", "30")
    with serving(sample_catalog, tmp_path, LOGO_KEYS=place, **own) as server:
        until_ready(server)
        assert set(statuses(server, first)) == {200}
        second = keys(place, "create", "team-b", "--rate", "7/hour")
        until_taken(server, changes=2)
        # Counted once for both workers.
        assert sorted(statuses(server, second, 30)) == [200] * 7 + [429] * 23
        rotated = keys(place, "rotate", "team-a", "--overlap-hours", "1")
        until_taken(server, changes=3)
        assert set(statuses(server, rotated)) == {200}
        assert set(statuses(server, first)) == {200}
        keys(place, "revoke", "team-a")
        until_taken(server, changes=4)
        assert set(statuses(server, first)) == {401}
        assert set(statuses(server, rotated)) == {401}
        listed = json.loads(keys(place, "list", "--all", "--json", **own))
        assert [(key["name"], key["state"]) for key in listed] == [("team-a", "revoked"), ("team-b", "active")]
        assert listed[1]["requests_today"] == 7
        log = server.log.read_text()
    for text in (first, second, rotated):
        assert text not in log
        assert text not in keys(place, "audit", "--json") + keys(place, "list", "--all", "--json")
    changes = json.loads(keys(place, "audit", "--json"))
    assert [change["action"] for change in changes] == ["create", "create", "rotate", "revoke"]
    assert all("@" in change["by"] for change in changes)


def test_what_cannot_be_is_said_and_changes_nothing(tmp_path: Path) -> None:
    place = tmp_path / "keys.json"
    keys(str(place), "create", "team")
    before = place.read_bytes()
    for words, message in [
        (["create", "team"], "already"),
        (["create", "a b"], "letters"),
        (["create", "new", "--rate", "fast"], "10/second"),
        (["revoke", "nobody"], "keys list"),
        (["rotate", "nobody"], "keys list"),
        (["list", "--keys", "http://x/y"], "s3://bucket/prefix"),
        (["create", "new", "--keys", str(tmp_path / "mistyped" / "keys.json")], "mistyped does not exist"),
    ]:
        done = subprocess.run(
            command("keys", *words),
            env={"LOGO_KEYS": str(place), **os.environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, words
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert place.read_bytes() == before
    assert not (tmp_path / "mistyped").exists()


def test_a_count_that_is_looked_for_elsewhere_is_unknown_and_not_zero(tmp_path: Path) -> None:
    place = str(tmp_path / "keys.json")
    keys(place, "create", "team")
    elsewhere = {"LOGO_CATALOGS": str(tmp_path / "elsewhere")}
    done = subprocess.run(
        command("keys", "list"), env={**os.environ, "LOGO_KEYS": place, **elsewhere},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "unknown" in done.stdout
    assert f"{tmp_path / 'elsewhere' / '.usage.db'} does not exist; set LOGO_USAGE_DB or LOGO_CATALOGS" in done.stderr
    assert json.loads(keys(place, "list", "--json", **elsewhere))[0]["requests_today"] is None


def test_a_count_that_another_process_holds_delays_no_request(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    """Requests are let in uncounted, and are counted again afterwards."""
    place, usage = str(tmp_path / "keys.json"), tmp_path / "usage.db"
    secret = keys(place, "create", "team", "--quota", "5")
    with serving(sample_catalog, tmp_path, LOGO_KEYS=place, LOGO_USAGE_DB=str(usage)) as server:
        other = sqlite3.connect(usage, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert set(statuses(server, secret, 30)) == {200}
        assert '"usage_not_counted"' in server.log.read_text()
        other.execute("ROLLBACK")
        other.close()
        until(lambda: 429 in statuses(server, secret))


def test_two_services_count_together_and_each_for_itself_while_their_server_is_down(
    sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    place = str(tmp_path / "keys.json")
    secret = keys(place, "create", "team", "--quota", "4")
    folders = [tmp_path / name for name in ("one", "other", "valkey")]
    for folder in folders:
        folder.mkdir()
    with run_valkey(folders.pop()) as valkey, ExitStack() as stack:
        shared = {"LOGO_KEYS": place, "LOGO_USAGE_URL": valkey.patient_url, "LOGO_WORKERS": "1"}
        services = [
            stack.enter_context(serving(sample_catalog, folder, LOGO_USAGE_DB=str(folder / "usage.db"), **shared))
            for folder in folders
        ]
        assert [statuses(service, secret, 3) for service in services] == [[200, 200, 200], [200, 429, 429]]
        assert json.loads(keys(place, "list", "--json", **shared))[0]["requests_today"] == 4
        valkey.stop()
        assert [statuses(service, secret, 5).count(200) for service in services] == [4, 4]
        until(lambda: all(service.events("usage_not_shared") for service in services))
        valkey.start()  # with no counts
        until(lambda: all(service.events("usage_shared") for service in services))
        assert [statuses(service, secret, 3) for service in services] == [[200, 200, 200], [200, 429, 429]]
        for service in services:
            assert len(service.events("usage_not_shared")) == 1
            metrics = service.get("/metrics").text
            assert "logo_usage_lost_total 0.0" in metrics
            assert "logo_usage_server_failures_total 0.0" not in metrics
            assert valkey.password not in service.log.read_text()


@pytest.mark.parametrize("content", [b"", b"{}"])
def test_an_empty_keys_file_revokes_no_key_and_starts_no_service(
    sample_catalog: SampleCatalog, tmp_path: Path, content: bytes
) -> None:
    place = tmp_path / "keys.json"
    secret = keys(str(place), "create", "team")
    settings = {"LOGO_KEYS": str(place), "LOGO_USAGE_DB": str(tmp_path / "usage.db")}
    with serving(sample_catalog, tmp_path, **settings) as server:
        until_ready(server)
        place.write_bytes(content)
        until(lambda: len(server.events("keys_not_read")) == WORKERS)
        assert set(statuses(server, secret)) == {200}
        assert "logo_keys_unread_total 0.0" not in server.get("/metrics").text
    done = subprocess.run(
        command("serve"), env={**os.environ, **settings, "LOGO_CATALOGS": str(sample_catalog.root)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"{place} is not a valid keys file" in done.stderr


def test_tables_are_for_reading(tmp_path: Path) -> None:
    place = str(tmp_path / "keys.json")
    secret = keys(place, "create", "team", "--role", "admin", "--rate", "10/second")
    shown = keys(place, "list")
    assert all(word in shown for word in ("team", "admin", "active", "10/second"))
    assert secret not in shown
    assert "create" in keys(place, "audit")


@pytest.fixture
def bucket(s3_server: S3Server) -> dict[str, str]:
    return {
        "LOGO_S3_ENDPOINT": s3_server.endpoint,
        "LOGO_S3_ACCESS_KEY": s3_server.access_key,
        "LOGO_S3_SECRET_KEY": s3_server.secret_key,
        "LOGO_KEYS": f"s3://{s3_server.bucket}/{secrets.token_hex(8)}",
    }


def test_replicas_share_the_keys_of_a_bucket_and_outlive_it(
    sample_catalog: SampleCatalog, tmp_path: Path, bucket: dict[str, str]
) -> None:
    place = bucket.pop("LOGO_KEYS")
    secret, other = (keys(place, "create", name, **bucket) for name in ("team", "other"))
    folders = [tmp_path / name for name in ("a", "b")]
    catalogs = []
    for folder in folders:
        folder.mkdir()
        own = folder / "own"
        own.mkdir()
        for path in sample_catalog.root.iterdir():
            if path.name[0] != ".":
                (own / path.name).symlink_to(path)
        catalogs.append(SampleCatalog(own, sample_catalog.images, sample_catalog.files))
    settings = {**bucket, "LOGO_KEYS": place, "LOGO_API_KEYS": "", "LOGO_S3_BUCKET": ""}
    with (
        serving(catalogs[0], folders[0], **settings) as first,
        serving(catalogs[1], folders[1], **settings) as second,
    ):
        for server in (first, second):
            until_ready(server)
            assert set(statuses(server, secret)) == {200}
        keys(place, "revoke", "team", **bucket)
        for server in (first, second):
            until_taken(server, changes=3)
            assert set(statuses(server, secret)) == {401}
            assert set(statuses(server, other)) == {200}
    # Nothing can be written here: what the bucket says holds all the same.
    own_copy = catalogs[0].root / ".keys.json"
    kept = own_copy.read_bytes()
    own_copy.unlink()
    own_copy.mkdir()
    with serving(catalogs[0], folders[0], **settings) as server:
        assert set(statuses(server, other)) == {200}
        assert '"keys_not_copied"' in server.log.read_text()
    own_copy.rmdir()
    own_copy.write_bytes(kept)
    # The bucket is gone: what was known last holds.
    gone = {**settings, "LOGO_S3_ENDPOINT": "http://127.0.0.1:9"}
    with serving(catalogs[0], folders[0], **gone) as server:
        assert set(statuses(server, other)) == {200}
        assert set(statuses(server, secret)) == {401}


def test_two_who_change_the_keys_of_a_bucket_at_once_lose_nothing(bucket: dict[str, str]) -> None:
    running = [
        subprocess.Popen(
            command("keys", "create", f"team-{number}"), env={**os.environ, **bucket},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for number in range(6)
    ]  # fmt: skip
    messages = [process.communicate()[1] for process in running]
    made = {f"team-{number}" for number, process in enumerate(running) if process.returncode == 0}
    assert made
    for process, message in zip(running, messages, strict=True):
        assert process.returncode == 0 or "modified concurrently" in message
    listed = json.loads(keys(bucket["LOGO_KEYS"], "list", "--json", **bucket))
    assert {key["name"] for key in listed} == made

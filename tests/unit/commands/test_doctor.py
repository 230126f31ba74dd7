from __future__ import annotations

import json
from pathlib import Path

from logo_similarity import doctor
from logo_similarity.config import load_settings
from logo_similarity.doctor import Finding, attempt
from tests.commands import run, run_on_terminal
from tests.samples import SampleCatalog
from tests.valkey import ValkeyServer


def states(*words: object, **settings: str) -> tuple[int, dict[str, str]]:
    done = run("doctor", "--json", *words, **settings)
    findings = json.loads(done.stdout)
    assert all(finding["ok"] == (finding["state"] != "failed") for finding in findings)
    return done.returncode, {finding["what"]: finding["state"] for finding in findings}


def test_a_sound_installation(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    own = {"LOGO_IMAGES_DIR": str(sample_catalog.images), "LOGO_API_KEYS": "key"}
    status, found = states("--catalogs", sample_catalog.root, **own)
    assert (status, set(found.values())) == (0, {"ok"})
    lines = run_on_terminal("doctor", "--catalogs", sample_catalog.root, width=200)
    (catalog,) = (line for line in lines if line.split()[:2] == ["ok", "catalog"])
    assert "200 logos" in catalog


def test_the_options_are_those_of_serve(sample_catalog: SampleCatalog) -> None:
    words = ("--catalogs", sample_catalog.root, "--images", sample_catalog.images, "--port", 8123)
    status, found = states(*words, LOGO_API_KEYS="key")
    assert (status, set(found.values())) == (0, {"ok"})
    shown = run("doctor", *words).stdout
    assert ":8123" in shown
    assert str(sample_catalog.images) in shown
    assert states(*words[:2], "--images", "/gone")[1]["image store"] == "failed"
    refused = run("doctor", "--url", "http://127.0.0.1:9", "--port", 8123)
    assert (refused.returncode, "cannot be combined with the options of serve" in refused.stderr) == (2, True)


def test_no_authentication_and_no_image_store_are_warnings(sample_catalog: SampleCatalog) -> None:
    status, found = states("--catalogs", sample_catalog.root)
    assert status == 0
    assert {what for what, state in found.items() if state != "ok"} == {"API keys", "image store"}
    assert found["API keys"] == found["image store"] == "warning"
    assert "anyone who can connect can search" in run("doctor", "--catalogs", sample_catalog.root).stdout


def test_failures_end_with_status_1(tmp_path: Path) -> None:
    status, found = states(LOGO_CATALOGS=str(tmp_path), LOGO_IMAGES_DIR=str(tmp_path / "gone"), LOGO_WORKERS="1000")
    assert status == 1
    assert {what for what, state in found.items() if state == "failed"} == {"catalog", "image store", "threads"}
    status, found = states(LOGO_PORT="http")
    assert (status, found["settings"]) == (1, "failed")


def test_findings_name_the_options_that_were_given(sample_catalog: SampleCatalog) -> None:
    def details(*words: object, **settings: str) -> dict[str, str]:
        return {one["what"]: one["detail"] for one in json.loads(run("doctor", "--json", *words, **settings).stdout)}

    assert details("--port", 0)["settings"].startswith("--port: ")
    assert details(LOGO_PORT="0")["settings"].startswith("LOGO_PORT: ")
    words = ("--catalogs", sample_catalog.root, "--workers=1000")
    assert "lower --workers or LOGO_THREADS" in details(*words)["threads"]


def test_an_unknown_setting_is_a_warning(sample_catalog: SampleCatalog) -> None:
    status, found = states("--catalogs", sample_catalog.root, LOGO_PROT="8")
    assert (status, found["environment"]) == (0, "warning")


def test_a_folder_and_an_address_exclude_each_other(tmp_path: Path) -> None:
    done = run("doctor", "--catalogs", tmp_path, "--url", "http://127.0.0.1:9")
    assert done.returncode == 2
    assert "--url" in done.stderr


def test_the_server_of_request_counts_is_tried(valkey: ValkeyServer) -> None:
    def finding(url: str) -> Finding:
        return attempt("request counts", lambda: doctor._usage(load_settings(usage_url=url)))

    place = f"127.0.0.1:{valkey.port}"
    assert finding(valkey.patient_url) == Finding("request counts", "ok", f"on {place}, of all replicas")
    refused = finding(f"redis://{place}?socket_timeout=60")
    assert (refused.ok, refused.detail) == (
        False, f"LOGO_USAGE_URL: {place} cannot be used: Authentication required."
    )  # fmt: skip

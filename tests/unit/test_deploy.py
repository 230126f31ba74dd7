"""The deployment files, as far as they can be checked without an engine that runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from logo_similarity.catalog.replica import published_version
from logo_similarity.config import Settings
from logo_similarity.storage.objects import ObjectFolder
from tests.samples import SAMPLES, SampleCatalog
from tests.service import serving

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
SETTINGS = {f"LOGO_{name.upper()}" for name in Settings.model_fields}
METRIC = re.compile(r"\b(?:logo|process)_[a-z_]+\b")
# What an image of others would tell its maker or fetch unasked.
SILENCED = {
    "minio": {"MINIO_UPDATE": "off", "MINIO_CALLHOME_ENABLE": "off"},
    "grafana": {
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_NEWS_NEWS_FEED_ENABLED": "false",
        "GF_PLUGINS_PREINSTALL_DISABLED": "true",
        "GF_SECURITY_DISABLE_GRAVATAR": "true",
    },
}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_the_dockerfile_has_no_lint() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_takes_only_what_is_there() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copied = [
        word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    ]
    assert copied
    assert [name for name in copied if not (ROOT / name).exists()] == []
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == set(copied)


def test_what_builds_the_package_is_pinned_with_digests() -> None:
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    locked = (ROOT / "requirements-build.lock").read_text()
    pinned = {line.split()[0] for line in locked.splitlines() if not line.startswith(" ")}
    assert set(required) <= pinned
    assert locked.count("--hash=sha256:") >= len(pinned)


@pytest.mark.parametrize(
    "path",
    [DEPLOY / "compose.yaml", DEPLOY / "Dockerfile", *DEPLOY.rglob("*.service"), *DEPLOY.rglob("*.tpl")],
    ids=str,
)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    assert set(re.findall(r"\bLOGO_[A-Z0-9_]+\b", path.read_text())) <= SETTINGS


def composition() -> dict[str, Any]:
    services: dict[str, Any] = load(DEPLOY / "compose.yaml")["services"]
    return services


def test_the_composition_is_whole() -> None:
    services = composition()
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        image = service["image"]
        assert re.search(r":(?!latest$)[\w.\-]+$", image), f"{name}: {image} has no version"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists(), f"{name}: {source}"
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}, name
        assert service["cap_drop"] == ["ALL"], name
        once = "restart" not in service
        assert once or "healthcheck" in service or name == "api", name  # the image of api has one
    for name in ("api", "publish"):
        assert services[name]["read_only"] is True
    # The catalog that is published is the one that is served.
    assert services["api"]["environment"]["LOGO_CATALOG_URL"] == services["publish"]["environment"]["LOGO_CATALOG_URL"]


def test_the_composition_is_reached_from_its_machine_only_and_tells_nobody() -> None:
    services = composition()
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    assert load(DEPLOY / "compose.yaml")["networks"]["inside"]["internal"] is True
    for name, service in services.items():
        # Only what has a published port is in a network that leads out.
        assert (service["networks"] == ["inside"]) == ("ports" not in service), name
        assert service.get("environment", {}).items() >= SILENCED.get(name, {}).items(), name
    assert services["grafana"]["environment"]["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


def test_no_password_of_the_composition_has_a_default(tmp_path: Path) -> None:
    path = tmp_path / "env"
    words = [sys.executable, str(DEPLOY / "make_env.py"), str(path)]
    subprocess.run(words, check=True)
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    made = dict(line.split("=", 1) for line in lines)
    required = set(re.findall(r"\$\{(\w+):\?run deploy/make_env.py\}", (DEPLOY / "compose.yaml").read_text()))
    assert set(made) == required
    assert {"MINIO_ROOT_PASSWORD", "S3_SECRET_KEY", "API_KEY", "GRAFANA_PASSWORD"} <= required
    optional = set(re.findall(r"\$\{(\w+):?-", (DEPLOY / "compose.yaml").read_text()))
    assert optional == {"S3_PUBLIC_ENDPOINT", "VARIANT", "API_CPUS", "API_MEMORY", "PRIMARY_URL", "TRUSTED_PROXIES"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(set(made.values())) == len(made)
    # A second run replaces nothing, and another one draws other passwords.
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "left as it is" in again.stderr
    assert path.read_text().splitlines()[-len(made) :] == lines
    subprocess.run([*words[:-1], str(tmp_path / "other")], check=True)
    assert not set(lines) & set((tmp_path / "other").read_text().splitlines())


def test_the_account_of_the_service_is_bounded_to_its_bucket() -> None:
    statements = load(DEPLOY / "minio" / "policy.json")["Statement"]
    assert {resource for one in statements for resource in one["Resource"]} == {
        "arn:aws:s3:::logos", "arn:aws:s3:::logos/*",
    }  # fmt: skip
    assert all("*" not in action and action.startswith("s3:") for one in statements for action in one["Action"])
    services = composition()
    for name in ("api", "publish"):
        assert not {key for key in services[name]["environment"] if "ROOT" in key}
        assert services[name]["environment"]["LOGO_S3_BUCKET"] == "logos"


def test_the_samples_are_published_only_where_no_catalog_is(settings: Settings, tmp_path: Path) -> None:
    assert settings.s3_access_key is not None
    assert settings.s3_secret_key is not None
    environment = {
        **os.environ,
        "PATH": sysconfig.get_path("scripts") + os.pathsep + os.environ["PATH"],
        "LOGO_S3_ENDPOINT": str(settings.s3_endpoint),
        "LOGO_S3_ACCESS_KEY": settings.s3_access_key.get_secret_value(),
        "LOGO_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        "LOGO_S3_BUCKET": str(settings.catalog_url).split("/")[2],
        "LOGO_CATALOG_URL": str(settings.catalog_url),
        "LOGO_CATALOGS": str(tmp_path / "catalogs"),
    }
    samples = tmp_path / "samples"
    (samples / "images").mkdir(parents=True)
    rows = json.loads((SAMPLES / "results.json").read_text())[:5]
    (samples / "results.json").write_text(json.dumps(rows))
    for row in rows:
        (samples / "images" / row["file"]).write_bytes((SAMPLES / "images" / row["file"]).read_bytes())
    words = [sys.executable, str(DEPLOY / "publish_samples.py"), str(samples)]
    subprocess.run(words, env=environment, check=True)
    version = published_version(ObjectFolder(str(settings.catalog_url), settings))
    # A machine that knows nothing of it, with other samples.
    (samples / "results.json").write_text(json.dumps(rows[:3]))
    environment["LOGO_CATALOGS"] = str(tmp_path / "elsewhere")
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert version in done.stdout
    assert published_version(ObjectFolder(str(settings.catalog_url), settings)) == version
    assert not (tmp_path / "elsewhere").exists()


def test_alerts_and_dashboard_ask_for_metrics_that_a_service_exports(
    sample_catalog: SampleCatalog, tmp_path: Path
) -> None:
    with serving(sample_catalog, tmp_path) as server, server.client() as client:
        picture = (sample_catalog.images / sample_catalog.files[0]).read_bytes()
        assert client.post("/v1/search", files={"file": picture}).status_code == 200
        page = client.get("/metrics").text
    exported = {sample.name for family in text_string_to_metric_families(page) for sample in family.samples}
    rules = [rule for group in load(DEPLOY / "prometheus/alerts.yml")["groups"] for rule in group["rules"]]
    asked = [rule["expr"] for rule in rules]
    asked += [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    assert len(asked) > 12
    (rule,) = load(DEPLOY / "prometheus/adapter.yaml")["rules"]["custom"]
    asked.append(rule["seriesQuery"])
    for expression in asked:
        named = set(METRIC.findall(expression))
        assert named <= exported, expression
        assert named or "up{" in expression


def test_every_alert_is_explained() -> None:
    rules = [rule["alert"] for group in load(DEPLOY / "prometheus/alerts.yml")["groups"] for rule in group["rules"]]
    explained = re.findall(r"^\| `(LogoSimilarity\w+)` \|", (ROOT / "docs" / "operate.md").read_text(), re.MULTILINE)
    assert explained == rules


def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((DEPLOY / "grafana/dashboards/logo-similarity.json").read_text())
    return document


def test_every_panel_shows_the_chosen_instances() -> None:
    (variable,) = dashboard()["templating"]["list"]
    assert (variable["name"], variable["type"], variable["multi"], variable["includeAll"]) == (
        "instance",
        "query",
        True,
        True,
    )
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        for target in panel["targets"]:
            series = re.findall(r"(?:logo|process)_[a-z_]+(\{[^}]*\})?", target["expr"])
            assert series, panel["title"]
            assert all('instance=~"$instance"' in selector for selector in series), panel["title"]


def test_the_scrape_names_the_service_of_the_composition() -> None:
    (job,) = load(DEPLOY / "prometheus/prometheus.yml")["scrape_configs"]
    ((target,),) = (config["targets"] for config in job["static_configs"])
    assert target.split(":")[0] in load(DEPLOY / "compose.yaml")["services"]


def test_the_chart_gives_its_templates_the_values_that_they_ask_for() -> None:
    values = load(DEPLOY / "helm/logo-similarity/values.yaml")
    chart = load(DEPLOY / "helm/logo-similarity/Chart.yaml")
    assert chart["name"] == "logo-similarity"
    templates = [path.read_text() for path in (DEPLOY / "helm/logo-similarity/templates").iterdir()]
    asked = {name for text in templates for name in re.findall(r"\.Values\.([A-Za-z0-9.]+)", text)}
    assert len(asked) > 20
    for name in asked:
        value: Any = values
        for part in name.split("."):
            assert part in value, name
            value = value[part]

"""The deployment files, as far as they can be checked without an engine that runs them."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

from logo_similarity import metrics
from logo_similarity.config import Settings

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
SETTINGS = {f"LOGO_{name.upper()}" for name in Settings.model_fields}
METRIC = re.compile(r"\blogo_[a-z_]+\b")


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


@pytest.mark.parametrize(
    "path",
    [DEPLOY / "compose.yaml", DEPLOY / "Dockerfile", *DEPLOY.rglob("*.service"), *DEPLOY.rglob("*.tpl")],
    ids=str,
)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    assert set(re.findall(r"\bLOGO_[A-Z0-9_]+\b", path.read_text())) <= SETTINGS


def test_the_composition_is_whole() -> None:
    services = load(DEPLOY / "compose.yaml")["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        image = service["image"]
        assert re.search(r":(?!latest$)[\w.\-]+$", image), f"{name}: {image} has no version"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists(), f"{name}: {source}"
    for name in ("api", "publish"):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
    # The catalog that is published is the one that is served.
    assert services["api"]["environment"]["LOGO_CATALOG_URL"] == services["publish"]["environment"]["LOGO_CATALOG_URL"]


def known_metrics() -> set[str]:
    """Names as Prometheus sees them."""
    found = set()
    for metric in vars(metrics).values():
        name = getattr(metric, "_name", None)
        if isinstance(name, str):
            kind = type(metric).__name__
            endings = {"Counter": ("_total",), "Histogram": ("_bucket", "_sum", "_count")}.get(kind, ("",))
            found |= {name + ending for ending in endings}
    return found


def test_alerts_and_dashboard_ask_for_metrics_that_there_are() -> None:
    rules = [rule for group in load(DEPLOY / "prometheus/alerts.yml")["groups"] for rule in group["rules"]]
    dashboard = json.loads((DEPLOY / "grafana/dashboards/logo-similarity.json").read_text())
    asked = [rule["expr"] for rule in rules]
    asked += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(asked) > 12
    for expression in asked:
        named = set(METRIC.findall(expression))
        assert named <= known_metrics(), expression
        assert named or "up{" in expression


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

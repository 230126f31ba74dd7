"""The Helm chart, rendered by Go's own templates and held against the schemas of Kubernetes.

Needs Go and sprig (`apt-get install golang-go golang-github-masterminds-sprig-dev golang-gopkg-yaml.v3-dev`) and the way to PyPI;
`make faults` runs it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from logo_similarity.config import Settings

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "deploy" / "helm" / "logo-similarity"
KUBERNETES = ("1.28", "1.37")
KEYS = {"keys": {"url": "s3://logos/access"}}
EVERYTHING = {
    "keys": {"secretName": "keys"},
    "replicas": 3,
    "catalog": {"logos": 10_000_000},
    "workers": 8,
    "cores": 8,
    "s3": {"endpoint": "http://minio:9000", "publicEndpoint": "https://images.example"},
    "gpu": {"enabled": True},
    "autoscaling": {"enabled": True},
    "settings": {"LOGO_MAX_QUEUE": 64, "LOGO_LOG_LEVEL": "debug"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
}


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the renderer, and with the schemas of Kubernetes for Python."""
    folder = tmp_path_factory.mktemp("tools")
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(folder / "cache")}
    source = Path(__file__).parent / "chart" / "render.go"
    subprocess.run(["go", "build", "-o", folder / "render", source], env=environment, check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder / "python")]
    subprocess.run([*pip, "kubernetes-validate"], check=True)
    return folder


def render(tools: Path, folder: Path, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    words = [tools / "render", CHART, CHART / "values.yaml", folder / "values.yaml"]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def objects(tools: Path, folder: Path, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    done = render(tools, folder, values)
    assert done.returncode == 0, done.stderr
    return {found["kind"]: found for found in yaml.safe_load_all(done.stdout) if found}


@pytest.mark.parametrize("values", [KEYS, EVERYTHING], ids=["keys", "everything"])
def test_what_is_rendered_is_what_kubernetes_takes(tools: Path, tmp_path: Path, values: dict[str, Any]) -> None:
    found = objects(tools, tmp_path, values)
    assert {"Deployment", "Service", "PodDisruptionBudget"} <= set(found)
    code = (
        "import json, sys, kubernetes_validate\n"
        "for version in sys.argv[1:]:\n"
        "    for one in json.load(open('objects.json')):\n"
        "        kubernetes_validate.validate(one, version, strict=True)\n"
    )
    (tmp_path / "objects.json").write_text(json.dumps(list(found.values())))
    environment = {**os.environ, "PYTHONPATH": str(tools / "python")}
    subprocess.run([sys.executable, "-c", code, *KUBERNETES], env=environment, cwd=tmp_path, check=True)


def test_the_values_arrive(tools: Path, tmp_path: Path) -> None:
    plain, all_of_it = objects(tools, tmp_path, KEYS), objects(tools, tmp_path, EVERYTHING)
    pod = plain["Deployment"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    told = {one["name"]: one.get("value") for one in container["env"]}
    assert set(told) <= {f"LOGO_{name.upper()}" for name in Settings.model_fields}
    assert told["LOGO_KEYS"] == "s3://logos/access"
    assert "LOGO_ALLOW_ANONYMOUS" not in told
    assert pod["initContainers"][0]["args"] == ["catalog", "pull"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert "HorizontalPodAutoscaler" not in plain
    large = all_of_it["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert "replicas" not in all_of_it["Deployment"]["spec"]
    assert all_of_it["HorizontalPodAutoscaler"]["spec"]["minReplicas"] == 3
    assert large["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert int(large["resources"]["requests"]["memory"].rstrip("M")) > 27_000  # ten million logos
    assert {one["name"] for one in large["env"]} >= {"LOGO_MAX_QUEUE", "LOGO_API_KEYS_FILE", "LOGO_S3_PUBLIC_ENDPOINT"}


def test_a_chart_without_keys_is_refused_unless_that_is_meant(tools: Path, tmp_path: Path) -> None:
    done = render(tools, tmp_path, {})
    assert done.returncode != 0
    assert "keys.anonymous=true" in done.stderr
    found = objects(tools, tmp_path, {"keys": {"anonymous": True}})
    environment = found["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "LOGO_ALLOW_ANONYMOUS", "value": "true"} in environment

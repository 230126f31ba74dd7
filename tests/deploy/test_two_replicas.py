"""Two replicas behind one nginx on one bucket, with `deploy/nginx/nginx.conf`: the same answers, and one may die.

Needs nginx (`make faults-tools`), so `make faults` runs it and `make test` does not.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil

from tests.clients import CLIENTS, Clients
from tests.nginx import Nginx, balancing
from tests.samples import SampleCatalog
from tests.seaweedfs import S3Server
from tests.service import KEY, Server, command, serving, until


@contextmanager
def two_replicas(catalog: SampleCatalog, s3: S3Server, folder: Path) -> Iterator[tuple[Server, Server]]:
    """Each with a folder of its own, filled from the bucket, where the keys lie too."""
    place = f"s3://{s3.bucket}/{secrets.token_hex(8)}"
    shared = {
        "LOGO_S3_ENDPOINT": s3.endpoint,
        "LOGO_S3_ACCESS_KEY": s3.access_key,
        "LOGO_S3_SECRET_KEY": s3.secret_key,
        "LOGO_S3_BUCKET": s3.bucket,
        "LOGO_CATALOG_URL": f"{place}/catalogs",
        "LOGO_IMAGES_DIR": "",
        "LOGO_POLL_SECONDS": "0.3",
    }
    environment = {**os.environ, **shared}
    subprocess.run(command("catalog", "publish", "--catalogs", str(catalog.root)), env=environment, check=True)
    folders = [folder / name for name in ("a", "b")]
    for each in folders:
        each.mkdir()
    one, other = (SampleCatalog(each / "catalogs", catalog.images, catalog.files) for each in folders)
    with serving(one, folders[0], **shared) as first, serving(other, folders[1], **shared) as second:
        yield first, second


@contextmanager
def balanced(folder: Path, replicas: tuple[Server, Server]) -> Iterator[Nginx]:
    """An nginx in front of the replicas, that answers."""
    one, other = (replica.url.removeprefix("http://") for replica in replicas)
    with balancing(folder, (one, other)) as nginx:
        until(lambda: httpx2.get(nginx.url + "/healthz").status_code == 200)
        yield nginx


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what is its own: id, times, signatures."""
    hits = [{**hit, "image_url": hit["image_url"].split("?")[0]} for hit in answer["results"]]
    return {"results": hits, "catalog": answer["catalog"], "reranked": answer["reranked"]}


def test_both_give_the_same_answers_and_one_may_die(
    sample_catalog: SampleCatalog, s3_server: S3Server, tmp_path: Path
) -> None:
    with (
        two_replicas(sample_catalog, s3_server, tmp_path) as replicas,
        balanced(tmp_path, replicas) as nginx,
    ):
        url = nginx.url
        for number in range(20):
            picture = (sample_catalog.images / sample_catalog.files[number]).read_bytes()
            answers = []
            for address in (url, *(replica.url for replica in replicas)):
                answer = httpx2.post(f"{address}/v1/search", files={"file": picture}, headers={"X-API-Key": KEY})
                answers.append(told(answer.json()))
            assert answers[0] == answers[1] == answers[2]
        # What nobody outside should see.
        assert [httpx2.get(url + path).status_code for path in ("/metrics", "/readyz", "/healthz")] == [404, 404, 200]
        assert httpx2.get(url + "/v1/logos/EM/000001").status_code == 401
        # What is too large ends at the proxy: no replica is taken for dead.
        for _ in range(6):
            refusal = httpx2.post(url + "/v1/search", content=bytes(9_990_000))
            assert (refusal.status_code, refusal.json()["code"]) == (413, "body_too_large")
        assert httpx2.get(url + "/v1/logos/EM/000001", headers={"X-API-Key": KEY}).status_code == 200
        for _ in range(6):  # nor by who has no key
            assert httpx2.post(url + "/v1/search", content=bytes(9_800_000)).status_code == 401
        assert httpx2.get(url + "/v1/logos/EM/000001", headers={"X-API-Key": KEY}).status_code == 200
        assert httpx2.get(url + "/v1/files/a-token/logo.jpg").status_code == 404  # an S3 store
        assert "a-token" not in nginx.access_log
        seen = subprocess.run(
            command("doctor", "--url", url, "--json"),
            env={**os.environ, "LOGO_API_KEYS": KEY},
            capture_output=True,
            check=False,
        )
        assert {line["what"]: line["ok"] for line in json.loads(seen.stdout)} == {
            "service": True, "search": True, "keys": True, "metrics": True,
            "image link": False,  # no picture was uploaded
        }  # fmt: skip
        # The replica's log has the client's address: that of its connection to nginx, not the one that it claims.
        with httpx2.Client(transport=httpx2.HTTPTransport(local_address="127.0.0.2")) as client:
            client.get(url + "/v1/logos/EM/000001", headers={"X-API-Key": KEY, "X-Forwarded-For": "203.0.113.7"})

        def logs() -> str:
            return "".join(replica.log.read_text() for replica in replicas)

        until(lambda: '"client": "127.0.0.2"' in logs())  # a request is logged once it has been answered
        assert "203.0.113.7" not in logs()
        with Clients(url, sample_catalog, KEY) as clients:
            until(lambda: clients.outcomes["good"] > 200)
            victim = replicas[1]
            for process in [*psutil.Process(victim.process.pid).children(), psutil.Process(victim.process.pid)]:
                os.kill(process.pid, signal.SIGKILL)
            asked = clients.outcomes["good"]
            until(lambda: clients.outcomes["good"] > asked + 300)
        lost = {outcome: count for outcome, count in clients.outcomes.items() if outcome != "good"}
        assert "buffered to a temporary file" not in nginx.error_log
        # At most what was on it at that moment.
        assert sum(lost.values()) <= CLIENTS, lost
        served = Counter(line.split()[-1] for line in nginx.access_log.splitlines())
        assert all(served[replica.url.removeprefix("http://")] > 20 for replica in replicas), served


def test_a_replica_that_is_taken_out_and_stopped_loses_nothing(
    sample_catalog: SampleCatalog, s3_server: S3Server, tmp_path: Path
) -> None:
    with (
        two_replicas(sample_catalog, s3_server, tmp_path) as replicas,
        balanced(tmp_path, replicas) as nginx,
    ):
        with Clients(nginx.url, sample_catalog, KEY) as clients:
            until(lambda: clients.outcomes["good"] > 100)
            nginx.take_out(replicas[1].url.removeprefix("http://"))
            asked = clients.outcomes["good"]
            until(lambda: clients.outcomes["good"] > asked + 100)
            # nginx closes idle connections as it reloads: a request that is sent at that moment is lost, at most one of
            # each client.
            cut = clients.outcomes["cut off"]
            assert cut <= CLIENTS
            replicas[1].process.terminate()
            until(lambda: replicas[1].process.poll() is not None)
            asked = clients.outcomes["good"]
            until(lambda: clients.outcomes["good"] > asked + 100)
        assert clients.outcomes.keys() <= {"good", "cut off"}
        assert clients.outcomes["cut off"] == cut


def test_a_replica_that_only_stops_loses_what_arrives_as_its_port_closes(
    sample_catalog: SampleCatalog, s3_server: S3Server, tmp_path: Path
) -> None:
    with (
        two_replicas(sample_catalog, s3_server, tmp_path) as replicas,
        balanced(tmp_path, replicas) as nginx,
    ):
        with Clients(nginx.url, sample_catalog, KEY) as clients:
            until(lambda: clients.outcomes["good"] > 100)
            replicas[1].process.terminate()
            until(lambda: replicas[1].process.poll() is not None)
            asked = clients.outcomes["good"]
            until(lambda: clients.outcomes["good"] > asked + 100)
        lost = {outcome: count for outcome, count in clients.outcomes.items() if outcome != "good"}
        assert sum(lost.values()) <= CLIENTS, lost
        assert all("not_ready" in outcome for outcome in lost), lost

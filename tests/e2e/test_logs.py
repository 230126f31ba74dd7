"""What must never be in a log, looked for in the log of a whole run at its most talkative."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from pathlib import Path

from tests.samples import SampleCatalog
from tests.seaweedfs import S3Server
from tests.service import KEY, command, serving, until


def test_no_key_no_signature_and_no_credential(
    sample_catalog: SampleCatalog, s3_server: S3Server, tmp_path: Path
) -> None:
    place = {
        "LOGO_S3_ENDPOINT": s3_server.endpoint,
        "LOGO_S3_ACCESS_KEY": s3_server.access_key,
        "LOGO_S3_SECRET_KEY": s3_server.secret_key,
        "LOGO_KEYS": f"s3://{s3_server.bucket}/{secrets.token_hex(8)}",
    }
    made = subprocess.run(
        command("keys", "create", "team", "--rate", "20/minute"),
        env={**os.environ, **place}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    key = made.stdout.strip()
    settings = {**place, "LOGO_IMAGES_DIR": "", "LOGO_S3_BUCKET": s3_server.bucket, "LOGO_LOG_LEVEL": "debug"}
    hidden = {key, KEY, "lsk_wrong", s3_server.access_key, s3_server.secret_key, "X-Amz-Signature", "a-link-secret"}
    with serving(sample_catalog, tmp_path, **settings, LOGO_LINK_SECRET="a-link-secret") as server:
        for header in (key, KEY, "lsk_wrong"):
            headers = {"X-API-Key": header, "X-Request-ID": "mine"}
            for number in range(10):
                picture = (sample_catalog.images / sample_catalog.files[number]).read_bytes()
                answer = server.post("/v1/search", files={"file": picture}, headers=headers)
                if answer.status_code == 200:
                    url = answer.json()["results"][0]["image_url"]
                    hidden.add(url.partition("X-Amz-Signature=")[2])
                    server.get("/v1/image/EM/000001", headers=headers)
                    # Somebody pastes a link, or a key, where it does not belong.
                    server.get("/v1/logos/" + url, headers=headers)
                    server.get("/v1/logos/x", params={"key": header}, headers=headers)
        server.post("/v1/search", content=b"broken", headers={"X-API-Key": KEY})
        server.get("/v1/files/altered/x.jpg")
        until(lambda: '"status": 404' in server.log.read_text())  # written after the answer was sent
        (worker, _) = server.workers()
        os.kill(worker, 9)
    log = server.log.read_text()
    assert len(hidden) > 10
    assert [text for text in hidden if text in log] == []
    told = [json.loads(line) for line in log.splitlines() if '"event": "request"' in line]
    assert {line["status"] for line in told} >= {200, 307, 401, 404, 429}
    assert all(line["request_id"] for line in told)
    assert sum(line["request_id"] == "mine" for line in told) > 20
    assert len({line["key"] for line in told if "key" in line}) == 2

"""What one user of the load test does, and the record of every answer. Run by `benchmarks.load`, which sets the variables.

PERIOD 0: each user asks again as soon as it has its answer (closed loop). Else each user asks every PERIOD seconds on average,
however long its last answer took, as long as that is less (open loop: the rate does not follow what the service can do).
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import psutil
from locust import FastHttpUser, events, task

IMAGES, RECORD = Path(os.environ["IMAGES"]), Path(os.environ["RECORD"])
PERIOD = float(os.environ["PERIOD"])
QUERIES = int(os.environ["QUERIES"])
TOP_K = 100
BOUNDARY = "----logo-similarity"
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

answers: list[tuple[float, float, str]] = []
"""When it was asked (seconds since the epoch), how long it took (ms), and "ok", "refused", or what was wrong."""
started = (time.time(), psutil.Process().cpu_times())


def _body(path: Path) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="query.jpg"\r\n\r\n'
    return head.encode() + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()


BODIES = {path.stem: _body(path) for path in sorted(IMAGES.glob("*.jpg"))[:QUERIES]}
NAMES = list(BODIES)


def _verdict(status: int, headers: Any, content: bytes, name: str) -> str:  # noqa: ANN401 - the client's own type
    """Ok for the right answer, refused for a proper refusal, else what is wrong."""
    if status == 503:
        return "refused" if headers.get("Retry-After", "").isdigit() else "503 without Retry-After"
    if status != 200:
        return f"status {status}"
    answer = json.loads(content)
    hits = answer["results"]
    if len(hits) != TOP_K or hits[0]["id"] != name or hits[0]["score"] < 0.999 or answer["cached"]:
        return f"the wrong answer for {name}"
    return "ok"


class Examiner(FastHttpUser):  # type: ignore[misc] # locust ships no types
    """Looks for one sample after the other."""

    network_timeout = connection_timeout = 60.0
    due = 0.0

    def on_start(self) -> None:
        """Users of an open loop begin spread over the period: locust starts them all at once."""
        self.due = time.time() + random.uniform(0, PERIOD)
        time.sleep(max(0.0, self.due - time.time()))

    def wait_time(self) -> float:
        """Seconds until the next search is due: on average PERIOD after the last one was, whenever that was answered."""
        self.due += random.uniform(0.5, 1.5) * PERIOD
        return max(0.0, self.due - time.time())

    @task
    def search(self) -> None:
        """One search."""
        name = random.choice(NAMES)
        asked, clock = time.time(), time.perf_counter()
        with self.client.post("/v1/search", data=BODIES[name], headers=HEADERS, catch_response=True) as response:
            content = response.content or b""
            took = (time.perf_counter() - clock) * 1000
            verdict = _verdict(response.status_code, response.headers or {}, content, name)
            response.success()
        answers.append((asked, took, verdict))


@events.quitting.add_listener
def write_record(**_: object) -> None:
    """Keep everything for `benchmarks.load`."""
    used = psutil.Process().cpu_times()
    seconds = time.time() - started[0]
    share = (used.user + used.system - started[1].user - started[1].system) / seconds
    RECORD.write_text(json.dumps({"answers": answers, "client_cpu_share": round(share, 3)}))

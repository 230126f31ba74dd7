"""One user of the load test, and the record of every answer. Run by `benchmarks.load`, which sets the variables.

PERIOD 0 is a closed loop: each user searches again as soon as it has its answer. Any other PERIOD is an open loop: each user
starts a search every PERIOD seconds on average, unless the last one is still running, so that the rate does not depend on
the speed of the service.
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

from benchmarks.answers import check_hits

IMAGES, RECORD = Path(os.environ["IMAGES"]), Path(os.environ["RECORD"])
PERIOD = float(os.environ["PERIOD"])
PATH = os.environ["SEARCH"]
QUERIES = int(os.environ["QUERIES"])
TOP_K = 100
BOUNDARY = "----logo-similarity"
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

answers: list[tuple[float, float, str]] = []
"""Start (seconds since the epoch) and duration (ms) of each search, and "ok", "refused" or the mistake in its answer."""
started = (time.time(), psutil.Process().cpu_times())


def _body(path: Path) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="query.jpg"\r\n\r\n'
    return head.encode() + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()


BODIES = {path.stem: _body(path) for path in sorted(IMAGES.glob("*.jpg"))[:QUERIES]}
NAMES = list(BODIES)


def _verdict(status: int, headers: Any, content: bytes, name: str) -> str:  # noqa: ANN401 - the client's own type
    """Judge an answer: "ok", "refused" for a 503 with Retry-After, or its mistake."""
    if status == 503:
        return "refused" if headers.get("Retry-After", "").isdigit() else "503 without Retry-After"
    if status != 200:
        return f"status {status}"
    answer = json.loads(content)
    if answer["cached"]:
        return f"{name}: answered from the cache"
    try:
        check_hits(answer["results"], name, TOP_K)
    except ValueError as error:
        return str(error)
    return "ok"


class SearchUser(FastHttpUser):  # type: ignore[misc] # locust ships no types
    """Searches with random samples."""

    network_timeout = connection_timeout = 60.0
    due = 0.0

    def on_start(self) -> None:
        """Spread the users of an open loop over the period: locust starts them all at once."""
        self.due = time.time() + random.uniform(0, PERIOD)
        time.sleep(max(0.0, self.due - time.time()))

    def wait_time(self) -> float:
        """Seconds until the next search is due: on average PERIOD after the last one was due."""
        self.due += random.uniform(0.5, 1.5) * PERIOD
        return max(0.0, self.due - time.time())

    @task
    def search(self) -> None:
        """One search."""
        name = random.choice(NAMES)
        start, clock = time.time(), time.perf_counter()
        with self.client.post(PATH, data=BODIES[name], headers=HEADERS, catch_response=True) as response:
            content = response.content or b""
            milliseconds = (time.perf_counter() - clock) * 1000
            verdict = _verdict(response.status_code, response.headers or {}, content, name)
            response.success()
        answers.append((start, milliseconds, verdict))


@events.quitting.add_listener
def write_record(**_: object) -> None:
    """Write everything for `benchmarks.load`."""
    cpu = psutil.Process().cpu_times()
    seconds = time.time() - started[0]
    share = (cpu.user + cpu.system - started[1].user - started[1].system) / seconds
    RECORD.write_text(json.dumps({"answers": answers, "client_cpu_share": round(share, 3)}))

"""Memory and rate of reading 770,000 records in L3D's layout. The images are empty files: only their names are read.

Not part of `make bench`: it first writes 770,000 files into a temporary folder.
"""

from __future__ import annotations

import json
import os
import random
import resource
import tempfile
import time
import uuid
from pathlib import Path

from benchmarks.machine import write_result
from logo_similarity.build.records import count_lines, write_records
from logo_similarity.catalog.sources import open_source

RECORDS = 770_000


def make_source(folder: Path) -> None:
    """Write records with differences in case, texts and codes like those of the real set."""
    numbers = random.Random(0)
    (folder / "images").mkdir()
    with (folder / "results.json").open("w") as file:
        for position in range(RECORDS):
            name = str(uuid.UUID(int=numbers.getrandbits(128)))
            os.close(os.open(folder / "images" / f"{name}.jpg", os.O_CREAT))
            codes = [f"{numbers.randint(1, 29):02}.{numbers.randint(1, 20):02}.01" for _ in range(3)]
            row = {"file": f"{name}.JPG", "text": f"Mark {position}", "vienna_codes": codes, "year": "2016"}
            file.write(("," if position else "[") + json.dumps(row))
        file.write("]")


def measure() -> dict[str, object]:
    """Write the records, and read them."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        make_source(folder)
        started = time.perf_counter()
        write_records(open_source(folder), folder / "records", folder / "rejects")
        seconds = time.perf_counter() - started
        if count_lines(folder / "records") != RECORDS:
            raise ValueError("records were lost")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return write_result(
        "source_memory",
        {"records": RECORDS, "peak_mb": round(peak), "records_per_second": round(RECORDS / seconds)},
    )


if __name__ == "__main__":
    print(measure())

"""Rate and memory of reading a register: a synthetic daily file of the USPTO, with case files like the real ones.

Usage: python -m benchmarks.register_readers [megabytes, default 200]
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe_machine, write_result
from logo_similarity.build.records import count_lines, write_records
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.sources.images import NamesAsWritten

MEGABYTES = 200
HEAD = "<trademark-applications-daily><application-information><file-segments><action-keys>\n"
TAIL = "</action-keys></file-segments></application-information></trademark-applications-daily>\n"
FLAGS = "".join(f"<flag-{number}-in>F</flag-{number}-in>\n" for number in range(45))


def make_register(path: Path, megabytes: int) -> int:
    """Write a file of this size. Returns the number of case files; a real one has about 10 KB, most of it events."""
    numbers = random.Random(0)
    written = 0
    with path.open("w") as file:
        file.write(HEAD)
        while file.tell() < megabytes * 1_000_000:
            file.write(case_file(90_000_000 + written, numbers))
            written += 1
        file.write(TAIL)
    return written


def case_file(serial: int, numbers: random.Random) -> str:
    """A case file like the real ones."""
    events = "".join(
        f"<case-file-event-statement>\n<code>ABCD</code>\n<type>I</type>\n<description-text>EVENT {numbers.random()} OF "
        f"THE CASE</description-text>\n<date>20240101</date>\n<number>{number}</number>\n</case-file-event-statement>\n"
        for number in range(numbers.randint(5, 60))
    )
    codes = "".join(
        f"<design-search><code>{numbers.randint(1, 29):02}0101</code></design-search>\n"
        for _ in range(numbers.randint(0, 6))
    )
    return (
        f"<case-file>\n<serial-number>{serial}</serial-number>\n<registration-number>0000000</registration-number>\n"
        "<transaction-date>20240102</transaction-date>\n<case-file-header>\n<filing-date>20230101</filing-date>\n"
        f"<status-code>700</status-code>\n<mark-identification>MARK {numbers.random()}</mark-identification>\n"
        f"<mark-drawing-code>3000</mark-drawing-code>\n{FLAGS}</case-file-header>\n<case-file-statements>\n"
        f"<case-file-statement>\n<type-code>GS0091</type-code>\n<text>{'Computer software; ' * numbers.randint(1, 30)}</text>\n"
        f"</case-file-statement>\n</case-file-statements>\n<case-file-event-statements>\n{events}"
        "</case-file-event-statements>\n<classifications>\n<classification>\n<international-code>009</international-code>\n"
        "</classification>\n</classifications>\n<case-file-owners>\n<case-file-owner>\n<entry-number>1</entry-number>\n"
        f"<party-type>30</party-type>\n<party-name>OWNER {numbers.random()}</party-name>\n</case-file-owner>\n"
        f"</case-file-owners>\n<design-searches>\n{codes}</design-searches>\n</case-file>\n"
    )


def measure(megabytes: int) -> dict[str, object]:
    """Read the file alone, and read it and merge its records as a build does."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        path = folder / "apc.xml"
        case_files = make_register(path, megabytes)
        size = path.stat().st_size / 1e6
        started = time.process_time()
        rows = sum(1 for _ in open_source(path, names=NamesAsWritten).rows())
        reading = time.process_time() - started
        started = time.process_time()
        write_records(open_source(path, names=NamesAsWritten), folder / "records", folder / "rejects")
        merging = time.process_time() - started
        if rows != case_files or count_lines(folder / "records") != case_files:
            raise ValueError("records were lost")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    figures: dict[str, object] = {
        "megabytes": round(size),
        "case_files": case_files,
        "read_mb_per_cpu_second": round(size / reading, 1),
        "read_and_merge_mb_per_cpu_second": round(size / merging, 1),
        "peak_mb": round(peak),
    }
    return write_result("register_readers", figures)


if __name__ == "__main__":
    print(measure(int(sys.argv[1]) if len(sys.argv) > 1 else MEGABYTES))
    print(describe_machine()["processor"], "with", describe_machine()["usable_cores"], "usable cores")

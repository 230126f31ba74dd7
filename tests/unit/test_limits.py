"""Each limit is set in a process of its own."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys

import psutil
import pytest

from logo_similarity.limits import raise_descriptors

START = "import os, resource, signal, sys\nfrom pathlib import Path\nfrom logo_similarity.limits import *\n"


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", START + code], stdout=subprocess.PIPE, text=True, check=False, timeout=60
    )


def test_memory_is_limited_to_what_is_mapped_and_the_extra_bytes() -> None:
    done = run(
        "mapped = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "limit_memory(200_000_000)\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_AS)\n"
        "print(soft == hard, abs(soft - mapped - 200_000_000) < 10_000_000)\n"
        "bytearray(100_000_000)\n"
        "try:\n"
        "    bytearray(250_000_000)\n"
        "except MemoryError:\n"
        "    print('refused')"
    )
    assert done.stdout.split() == ["True", "True", "refused"]


def test_cpu_time_is_limited_from_now_on() -> None:
    done = run(
        "while sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) < 1.2: pass\n"
        "limit_cpu(7)\n"
        "print(*resource.getrlimit(resource.RLIMIT_CPU))"
    )
    soft, hard = map(int, done.stdout.split())
    assert soft == hard
    assert 9 <= soft <= 10  # the whole seconds used, rounded up, and 7


@pytest.mark.parametrize(
    ("soft", "hard", "count", "limit"),
    [(100, 300, 200, 200), (100, 300, 400, 300), (200, 300, 100, 200), (200, 300, 200, 200), (300, 300, 400, 300)],
)
def test_descriptors_are_raised_up_to_the_hard_limit(soft: int, hard: int, count: int, limit: int) -> None:
    done = run(
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        f"print(raise_descriptors({count}), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    assert done.stdout.split() == [str(limit), str(limit), str(hard)]


@pytest.mark.parametrize("soft", [100, resource.RLIM_INFINITY])
def test_an_unlimited_number_of_descriptors(monkeypatch: pytest.MonkeyPatch, soft: int) -> None:
    """The kernel grants none, so `getrlimit` is replaced."""
    limits = [(soft, resource.RLIM_INFINITY)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    assert raise_descriptors(200) == 200
    assert limits[1:] == ([(200, resource.RLIM_INFINITY)] if soft == 100 else [])


def test_a_process_dies_with_its_parent() -> None:
    child = START + "die_with_parent(int(sys.argv[1])); print(os.getpid(), flush=True); sys.stdin.read()"
    code = f"import subprocess; subprocess.run([sys.executable, '-c', {child!r}, str(os.getpid())])"
    with subprocess.Popen(
        [sys.executable, "-c", START + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        process = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        process.wait(60)  # its input is still open


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_parent_that_has_ended_already_ends_the_process(sign: signal.Signals) -> None:
    assert run(f"die_with_parent(os.getppid() + 1, signal.{sign.name}); os._exit(0)").returncode == -sign
    assert run(f"die_with_parent(os.getppid(), signal.{sign.name}); os._exit(0)").returncode == 0

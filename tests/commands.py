"""Commands as processes that end, with their output in a pipe or on a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess

from tests.service import command

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def run(*words: object, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **settings}
    return subprocess.run(command(*map(str, words)), env=environment, capture_output=True, text=True, check=False)


def run_on_terminal(*words: object, width: int) -> list[str]:
    """The lines of stdout on a terminal of that width, without escape sequences."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "TERM": "xterm"}
    process = subprocess.Popen(
        command(*map(str, words)), env=environment, stdout=theirs, stderr=subprocess.PIPE, text=True
    )
    os.close(theirs)
    output = bytearray()
    try:
        while chunk := os.read(ours, 4096):
            output += chunk
    except OSError:  # EIO: the process has closed the terminal
        pass
    os.close(ours)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return ESCAPES.sub("", output.decode()).splitlines()

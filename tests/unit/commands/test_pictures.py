"""The images of hits, on terminals of three kinds."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
import time

import pytest

from tests.samples import SampleCatalog
from tests.service import command

SIXEL, KITTY = b"\x1bP", b"\x1b_G"
CELL_SIZE = {b"\x1b[16t": b"\x1b[6;20;10t"}
WITH_SIXEL = {**CELL_SIZE, b"\x1b[c": b"\x1b[?62;4c"}
WITH_KITTY = {**CELL_SIZE, b"\x1b[c": b"\x1b[?62c", KITTY: b"\x1b_Gi=1;OK\x1b\\"}
WITH_NEITHER = {**CELL_SIZE, b"\x1b[c": b"\x1b[?62c"}
PATIENCE = 60.0


def run_on_terminal(words: list[str], answers: dict[bytes, bytes], size: tuple[int, int] = (40, 150)) -> bytes:
    """What a command prints on a terminal of so many rows and columns that answers these questions."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, size)
    process = subprocess.Popen(words, stdin=theirs, stdout=theirs, env={**os.environ, "TERM": "xterm-256color"})
    os.close(theirs)
    printed, deadline = b"", time.monotonic() + PATIENCE
    try:
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 0.1)[0]:
                if process.poll() is not None:
                    break
                continue
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # the command has ended
                break
            for question, answer in answers.items():
                if question in piece:
                    os.write(ours, answer)
            printed += piece
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        os.close(ours)
    return printed


@pytest.mark.parametrize(("answers", "size", "sixel", "kitty"), [
    (WITH_SIXEL, (40, 150), 3, False),
    (WITH_KITTY, (40, 150), 0, True),
    (WITH_NEITHER, (40, 150), 0, False),
    (WITH_SIXEL, (0, 0), 0, False),
])  # fmt: skip
def test_images_are_shown_where_the_terminal_can(
    sample_catalog: SampleCatalog, answers: dict[bytes, bytes], size: tuple[int, int], sixel: int, kitty: bool
) -> None:
    picture = str(sample_catalog.images / sample_catalog.files[3])
    words = command("search", picture, "--catalogs", str(sample_catalog.root), "--top-k", "3", "--columns", "id")
    printed = run_on_terminal([*words, "--images", str(sample_catalog.images)], answers, size)
    assert b"EM/000003" in printed
    assert printed.count(SIXEL) == sixel
    assert (printed.count(KITTY) > 3) == kitty


@pytest.mark.parametrize("words", [["--json", "--images", "."], []])
def test_nothing_is_asked_of_a_terminal_without_images(sample_catalog: SampleCatalog, words: list[str]) -> None:
    picture = str(sample_catalog.images / sample_catalog.files[3])
    printed = run_on_terminal(command("search", picture, "--catalogs", str(sample_catalog.root), *words), WITH_SIXEL)
    assert b"EM/000003" in printed
    assert b"\x1b[c" not in printed
    assert KITTY not in printed

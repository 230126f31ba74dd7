"""What the typesetter and its parent agree on: files, formats and limits."""

from __future__ import annotations

from typing import Literal

TEMPLATE = "report.typ"
DATA = "data.json"
FONTS = "fonts"
"""Folder of links to the fonts that a report needs, so that nothing else is searched for fonts."""
PDF, PNG = "pdf", "png"
OUTPUT = {PDF: "report.pdf", PNG: "page-{p}.png"}
"""Names of the files that the typesetter writes; a page has a number."""
STANDARDS: tuple[Literal["a-2a"], Literal["ua-1"]] = ("a-2a", "ua-1")
"""PDF/A-2a, for archives, and PDF/UA-1, for screen readers."""
CPU_SECONDS = 20
MEMORY_BYTES = 1_000_000_000
"""The largest case that is accepted takes 7 s and 600 MB on a core of a server; a usual one 0.2 s and 100 MB."""
FAILED = 3
"""Exit status if Typst reports an error, which is then on stderr."""

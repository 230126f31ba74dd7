"""What the typesetter and its parent agree on: files, formats and limits."""

from __future__ import annotations

TEMPLATE = "report.typ"
DATA = "data.json"
PDF, PNG = "pdf", "png"
OUTPUT = {PDF: "report.pdf", PNG: "page-{p}.png"}
"""Names of the files that the typesetter writes; a page has a number."""
CPU_SECONDS = 20
MEMORY_BYTES = 1_000_000_000
"""The largest case that is accepted takes 7 s and 600 MB on a core of a server; a usual one 0.2 s and 100 MB."""
FAILED = 3
"""Exit status if Typst reports an error, which is then on stderr."""

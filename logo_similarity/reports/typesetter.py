"""The process that sets one report with Typst: `python -m logo_similarity.reports.typesetter ...`; `main` lists its arguments.

It reads the template, its data and its pictures from the folder, and writes the file there. Typst allocates what a document
needs and keeps it, so a service does not run it in its own process. The kernel kills this one if it takes too much CPU
time or if its parent ends; allocations beyond its memory end it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import typst

from logo_similarity.limits import die_with_parent, limit_cpu, limit_memory
from logo_similarity.reports.exchange import FAILED, FONTS, OUTPUT, PNG, STANDARDS, TEMPLATE


def main(arguments: list[str]) -> int:
    """Set one report. Returns the exit status.

    Args:
        arguments: the folder, the format, the process id of the parent, and the limits in seconds of CPU time and in
            bytes.
    """
    folder, form = Path(arguments[0]), arguments[1]
    parent, seconds, memory = map(int, arguments[2:])
    die_with_parent(parent)
    fonts = typst.Fonts(include_system_fonts=False, font_paths=[folder / FONTS])
    limit_cpu(seconds)
    limit_memory(memory)
    # No package is imported, and a path that does not exist keeps Typst from looking for any.
    nowhere = folder / "packages"
    compiler = typst.Compiler(
        folder / TEMPLATE, root=folder, font_paths=fonts, package_path=nowhere, package_cache_path=nowhere
    )
    try:
        if form == PNG:
            compiler.compile(output=folder / OUTPUT[form], format="png")
        else:
            compiler.compile(output=folder / OUTPUT[form], format="pdf", pdf_standards=[*STANDARDS])
    except typst.TypstError as error:
        sys.stderr.write(error.diagnostic)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

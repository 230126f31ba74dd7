"""Runs a command of logo-similarity that can write no file larger than some bytes, as on a disk that is full from there on.

    python -m tests.faults.limited BYTES COMMAND...

A real full disk gives ENOSPC, this limit EFBIG; both come from the very write, in Python, SQLite and FAISS alike.
"""

from __future__ import annotations

import resource
import sys

from logo_similarity.cli import main

if __name__ == "__main__":
    size = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    sys.argv = ["logo-similarity", *sys.argv[2:]]
    main()

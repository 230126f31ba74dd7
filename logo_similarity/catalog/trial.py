"""The trial of a catalog version: it is opened and searched in a process with limits before any service opens it.

A version that comes from elsewhere can crash, hang or use up the memory of what opens it. Here that is a child process.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

from logo_similarity.catalog.manifest import Manifest, check_sizes, read_manifest
from logo_similarity.catalog.signature import check_signature
from logo_similarity.config import Settings
from logo_similarity.errors import CatalogError

SECONDS = 120.0
LONGEST_REASON = 1_000
_PROGRAM = "logo_similarity.trial"
_SECRETS = ("LOGO_", "AWS_")
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Trial:
    """Tries versions, one at a time. What it takes to pass is the same for a build, an activation, a pull and a service."""

    def __init__(self, *, seconds: float = SECONDS, public_key: str | None = None) -> None:
        """Set the conditions.

        Args:
            seconds: a trial that takes longer has failed.
            public_key: whose signature a version must have, in base64; None: it need not be signed.
        """
        self._seconds = seconds
        self._public_key = public_key
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped = False

    @classmethod
    def of(cls, settings: Settings) -> Trial:
        """With the conditions of the settings."""
        return cls(seconds=settings.trial_seconds, public_key=settings.catalog_public_key)

    def __call__(self, folder: Path) -> None:
        """Open a version in a child process and search all parts of it.

        Raises:
            CatalogError: names the version and says why it failed.
        """
        self.check(folder)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}
        child = subprocess.Popen(  # noqa: S603 - our own program
            [
                *(sys.executable, "-P", "-m", _PROGRAM),
                *(str(folder.absolute()), str(os.getpid()), str(math.ceil(self._seconds))),
            ],
            env={**environment, **_THREADS},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._child = child
        if self._stopped:
            child.kill()
        try:
            output, _ = child.communicate(timeout=self._seconds)
        except subprocess.TimeoutExpired:
            raise _refused(folder, f"it took more than {self._seconds:g} s (LOGO_TRIAL_SECONDS)") from None
        finally:
            self._child = None
            child.kill()
            child.communicate()
        if child.returncode == 1 and output:
            raise _refused(folder, output.decode(errors="replace")[:LONGEST_REASON])
        if child.returncode < 0:
            raise _refused(folder, f"the process that opened it ended by {signal.Signals(-child.returncode).name}")
        if child.returncode != 0:
            raise _refused(folder, f"the process that opened it ended with status {child.returncode}")

    def check(self, folder: Path) -> None:
        """The quick part, which opens nothing but the manifest: its bounds, the signature, the sizes of the files.

        Raises:
            CatalogError: a file is missing or of another size, or the version is not signed with the key.
        """
        check_sizes(folder, self.check_manifest(folder))

    def check_manifest(self, folder: Path) -> Manifest:
        """The manifest of a version whose files need not be there yet, with its bounds and its signature checked.

        Raises:
            CatalogError: it is out of its bounds, or not signed with the key.
        """
        manifest = read_manifest(folder)
        if self._public_key is not None:
            check_signature(folder, self._public_key)
        return manifest

    def stop(self) -> None:
        """End a trial that runs in another thread, and every later one at once: they fail."""
        self._stopped = True
        if (child := self._child) is not None:
            child.kill()


def _refused(folder: Path, reason: str) -> CatalogError:
    return CatalogError(f"version {folder.name!r} failed its trial: {reason}")

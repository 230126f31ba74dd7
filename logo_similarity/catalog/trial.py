"""The trial of a catalog version: a child process with resource limits opens and searches it before a service does.

Live changes from a bucket are tried, too, if they are not signed. A damaged or malicious version can crash or hang the
process that opens it, or exhaust its memory.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from logo_similarity.catalog.manifest import Manifest, check_sizes, read_manifest
from logo_similarity.catalog.signature import check_signature
from logo_similarity.config import Settings
from logo_similarity.errors import CatalogError, ConfigError, IndexUnavailableError

SECONDS = 120.0
LONGEST_REASON = 1_000
UNAVAILABLE = 75
"""Exit status of the program if the Milvus server does not answer: sysexits' EX_TEMPFAIL."""
MISCONFIGURED = 78
"""Exit status of the program if the settings of the Milvus server are missing or wrong: sysexits' EX_CONFIG."""
_PROGRAM = "logo_similarity.trial"
_SECRETS = ("LOGO_", "AWS_")
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Trial:
    """Tries versions, one at a time. Builds, activations, pulls and services use the same conditions."""

    def __init__(
        self, *, seconds: float = SECONDS, public_key: str | None = None, index: Mapping[str, str] | None = None
    ) -> None:
        """Set the conditions.

        Args:
            seconds: a trial that takes longer fails.
            public_key: Ed25519 public key in base64; a version must have a valid signature by it. None: no signature is
                required.
            index: the settings of the Milvus server, see `Settings.index_settings`; None: there is none.
        """
        self._seconds = seconds
        self._index = json.dumps(dict(index or {})).encode()
        self._public_key = public_key
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped = False

    @classmethod
    def of(cls, settings: Settings) -> Trial:
        """A trial with the conditions in the settings."""
        return cls(
            seconds=settings.trial_seconds, public_key=settings.catalog_public_key, index=settings.index_settings()
        )

    @property
    def public_key(self) -> str | None:
        """The key by which everything must be signed; None: no signature is required."""
        return self._public_key

    def __call__(self, folder: Path) -> None:
        """Try a version: check it, then open and search it in a child process.

        Raises:
            CatalogError: the version failed; the message names it and the reason.
            ConfigError: the settings of the Milvus server with its index are missing or wrong. The version did not fail.
            IndexUnavailableError: that server does not answer. The version did not fail.
        """
        self.check(folder)
        self._run(folder)

    def try_changes(self, folder: Path, state: Path) -> None:
        """Try live changes of a version, whose state is in a file beside their segments, in a child process.

        Raises:
            CatalogError: the changes failed; the message names their version and the reason.
        """
        self._run(folder, state)

    def _run(self, folder: Path, *changes: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}
        child = subprocess.Popen(  # noqa: S603 - our own program
            [
                *(sys.executable, "-P", "-m", _PROGRAM),
                *(str(folder.absolute()), str(os.getpid()), str(math.ceil(self._seconds))),
                *(str(state.absolute()) for state in changes),
            ],
            env={**environment, **_THREADS},  # without keys and other secrets
            stdin=subprocess.PIPE,  # the token of the Milvus server must not be in the environment
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._child = child
        if self._stopped:
            child.kill()
        try:
            output, _ = child.communicate(self._index, timeout=self._seconds)
        except subprocess.TimeoutExpired:
            raise _failure(folder, f"it took more than {self._seconds:g} s (LOGO_TRIAL_SECONDS)") from None
        finally:
            self._child = None
            child.kill()
            child.communicate()
        reason = output.decode(errors="replace")[:LONGEST_REASON]
        if child.returncode == UNAVAILABLE:
            raise IndexUnavailableError(f"version {folder.name!r} cannot be tried now: {reason}", retry_after=5)
        if child.returncode == MISCONFIGURED:
            raise ConfigError(f"version {folder.name!r} cannot be tried: {reason}")
        if child.returncode == 1 and reason:
            raise _failure(folder, reason)
        if child.returncode < 0:
            raise _failure(folder, f"the process that opened it was killed by {signal.Signals(-child.returncode).name}")
        if child.returncode != 0:
            raise _failure(folder, f"the process that opened it exited with status {child.returncode}")

    def check(self, folder: Path) -> None:
        """Check a version quickly, without opening its data: the manifest, the signature, and the sizes of the files.

        Raises:
            CatalogError: the manifest or the signature is not valid, or a file is missing or has another size.
        """
        check_sizes(folder, self.check_manifest(folder))

    def check_manifest(self, folder: Path) -> Manifest:
        """Read the manifest of a version and check its signature. Other files need not exist yet.

        Raises:
            CatalogError: the manifest or its signature is not valid.
        """
        manifest = read_manifest(folder)
        if self._public_key is not None:
            check_signature(folder, self._public_key)
        return manifest

    def stop(self) -> None:
        """Stop the trial that runs in another thread, if any; it fails, and so does every later one."""
        self._stopped = True
        if (child := self._child) is not None:
            child.kill()


def _failure(folder: Path, reason: str) -> CatalogError:
    return CatalogError(f"version {folder.name!r} failed its trial: {reason}")

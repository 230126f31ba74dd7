#!/usr/bin/env python3
"""Write deploy/.env with new random passwords and keys for deploy/compose.yaml. Never overwrites an existing file."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

HEADER = """\
# Passwords and keys of deploy/compose.yaml, made by deploy/make_env.py. Keep this file secret.
# Further settings: API_CPUS, API_MEMORY, S3_PUBLIC_ENDPOINT, TRUSTED_PROXIES, VARIANT.
"""


def main() -> None:
    """Write the file named on the command line, or deploy/.env; exit with a message if it exists."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / ".env"
    values = {
        "MINIO_ROOT_USER": "root-" + secrets.token_hex(4),
        "MINIO_ROOT_PASSWORD": secrets.token_hex(24),
        "S3_ACCESS_KEY": secrets.token_hex(10),
        "S3_SECRET_KEY": secrets.token_hex(20),
        "API_KEY": secrets.token_hex(32),
        "GRAFANA_PASSWORD": secrets.token_hex(16),
    }
    text = HEADER + "".join(f"{name}={value}\n" for name, value in values.items())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        sys.exit(f"{path} exists and was left as it is; remove it first to generate other passwords")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()

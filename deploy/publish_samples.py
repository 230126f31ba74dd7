"""Upload, build and publish the sample logos, unless a catalog is published at LOGO_CATALOG_URL already."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from logo_similarity.catalog.replica import published_version
from logo_similarity.config import load_settings
from logo_similarity.errors import NotFoundError
from logo_similarity.storage.objects import ObjectFolder


def main() -> None:
    """Publish the samples in the folder named on the command line, or print which version is published."""
    samples = Path(sys.argv[1])
    settings = load_settings()
    try:
        version = published_version(ObjectFolder(str(settings.catalog_url), settings))
    except NotFoundError:
        for words in (["images", "upload", str(samples / "images")], ["build", str(samples)], ["catalog", "publish"]):
            subprocess.run(["logo-similarity", *words], check=True)
    else:
        print(f"{version} is published at {settings.catalog_url}; the samples are left out")


if __name__ == "__main__":
    main()

"""`damaged.jsonl`: the logos of a catalog whose image file is damaged and was indexed as far as it is readable."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from logo_similarity.catalog.manifest import DAMAGED, Manifest
from logo_similarity.errors import CatalogError


def read_damage(folder: Path, manifest: Manifest) -> Mapping[str, str]:
    """What is wrong with the image of each damaged logo, by the logo's id.

    Raises:
        CatalogError: the file cannot be read.
    """
    path, damage = folder / DAMAGED, {}
    if DAMAGED not in manifest.files:  # built before images were read in part
        return {}
    try:
        with path.open(encoding="utf8") as lines:
            for line in lines:
                one = json.loads(line)
                damage[str(one["logo_id"])] = sys.intern(str(one["reason"]))  # there are few reasons
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CatalogError(f"{path}: damaged: {type(error).__name__}: {error}") from None
    return damage

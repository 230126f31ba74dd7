"""An open trademark-image search engine: finds the registered logos that are most similar to an image.

The names in `__all__` are the public interface. Everything else may change between versions.

>>> from pathlib import Path
>>> from logo_similarity import Query, SearchEngine
>>> with SearchEngine.open(Path("catalogs")) as engine:
...     result = engine.search(Query(image=Path("logo.png").read_bytes(), top_k=10))
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

from logo_similarity.version import __version__

if TYPE_CHECKING:
    from logo_similarity.build.catalog import BuildResult, build_catalog
    from logo_similarity.build.options import BuildOptions
    from logo_similarity.catalog.sources import open_source
    from logo_similarity.catalog.versions import Catalog
    from logo_similarity.domain import Hit, Logo, Query, SearchResult
    from logo_similarity.engine import SearchEngine
    from logo_similarity.errors import LogoSimilarityError
    from logo_similarity.fields import Record
    from logo_similarity.filters import Filter

# Disables the telemetry of ONNX Runtime and of the Hugging Face libraries. This must happen before they are imported:
# for ONNX Runtime, `disable_telemetry_events()` is too late. Every process imports this package first.
os.environ.update(ORT_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_TELEMETRY="1")

_PUBLIC = {
    "BuildOptions": "build.options",
    "BuildResult": "build.catalog",
    "Catalog": "catalog.versions",
    "Filter": "filters",
    "Hit": "domain",
    "Logo": "domain",
    "LogoSimilarityError": "errors",
    "Query": "domain",
    "Record": "fields",
    "SearchEngine": "engine",
    "SearchResult": "domain",
    "build_catalog": "build.catalog",
    "open_source": "catalog.sources",
}

__all__ = [
    "BuildOptions",
    "BuildResult",
    "Catalog",
    "Filter",
    "Hit",
    "Logo",
    "LogoSimilarityError",
    "Query",
    "Record",
    "SearchEngine",
    "SearchResult",
    "__version__",
    "build_catalog",
    "open_source",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    """Import a public name on first use, so that importing the package is fast."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)

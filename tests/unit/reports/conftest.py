from __future__ import annotations

from collections.abc import Iterator

import pytest

from logo_similarity.domain import Query
from logo_similarity.engine import SearchEngine
from logo_similarity.filters import Filter
from logo_similarity.reports.case import Case
from logo_similarity.reports.record import record_case
from logo_similarity.storage.local import LocalStore
from tests.samples import SampleCatalog


@pytest.fixture(scope="module")
def engine(sample_catalog: SampleCatalog) -> Iterator[SearchEngine]:
    with SearchEngine.open(sample_catalog.root) as opened:
        yield opened


@pytest.fixture(scope="module")
def store(sample_catalog: SampleCatalog) -> LocalStore:
    return LocalStore(sample_catalog.images, secret="x", link_seconds=1)


@pytest.fixture(scope="module")
def case(sample_catalog: SampleCatalog, engine: SearchEngine) -> Case:
    """A search for logo 3 with a filter, of ten hits that nobody has reviewed."""
    image = (sample_catalog.images / sample_catalog.files[3]).read_bytes()
    condition = Filter.where(vienna_codes=["26.1", "27"]) & ~Filter.where(year=(None, 1999))
    query = Query(image=image, filter=condition, top_k=10)
    return record_case(query, engine.search(query), engine, name="logo.jpg")

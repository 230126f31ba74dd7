"""`GET /v1/catalog` and `GET /v1/facets`: what can be searched, and how many logos have each value."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import Field

from logo_similarity.api.deps import RuntimeDep
from logo_similarity.api.parameters import FilterDep
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.api.schemas import CatalogDetailsOut, EncoderOut, FacetsOut, FieldOut, ValueCountOut
from logo_similarity.embed.text import can_read
from logo_similarity.facets import EXTRA, LONGEST_FACET
from logo_similarity.fields import select_fields
from logo_similarity.image.formats import ACCEPTED_QUERIES
from logo_similarity.version import __version__

router = CheckedRouter()


@router.get("/v1/catalog", summary="Describe the catalog")
def catalog(runtime: RuntimeDep) -> CatalogDetailsOut:
    """Returns what the service can search, its register fields, and the limits on requests."""
    engine = runtime.live.current.engine
    manifest = engine.manifest
    return CatalogDetailsOut(
        version=engine.version,
        created=manifest.created,
        newest=engine.metadata.newest(),
        logos=engine.logos.count,
        fields=[
            FieldOut(
                name=field.name,
                parameter=field.parameter,
                description=field.description,
                kind=type(field.kind).__name__,
                operators=[operator.value for operator in field.kind.operators],
                facet=field.kind.facet,
            )
            for field in select_fields(engine.logos.filter_fields)
        ],
        reranks=engine.reranks,
        parts=engine.has_parts,
        words=engine.logos.words is not None,
        reads_words=can_read(),
        encoder=EncoderOut(id=manifest.encoder.id, sha256=manifest.encoder.sha256),
        engine=__version__,
        accepts=ACCEPTED_QUERIES,
        max_upload_bytes=runtime.settings.max_upload_bytes,
        record_url=runtime.settings.record_url,
    )


@router.get("/v1/facets", summary="Count logos by value")
def facets(
    runtime: RuntimeDep,
    condition: FilterDep,
    field: Annotated[
        list[Annotated[str, Field(max_length=len(EXTRA) + LONGEST_FACET)]] | None,
        Query(description="Fields to count. Default: all whose values many logos share."),
    ] = None,
    under: Annotated[
        str | None, Query(max_length=50, description="Count the codes below this one. Default: the highest level.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Maximum number of values of each field.")] = 50,
) -> FacetsOut:
    """Returns how many of the logos that pass a filter have each value, the most frequent values first."""
    current = runtime.live.current
    result = current.engine.facets(condition, field, under=under, most=limit)
    counts = {
        name: [ValueCountOut(value=value, count=logos) for value, logos in values]
        for name, values in result.counts.items()
    }
    return FacetsOut(passed=result.passed, facets=counts, catalog=current.out)

"""`GET /v1/classification/vienna` and `/nice`: the names of Vienna codes and Nice classes."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from logo_similarity.api.deps import RuntimeDep
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.api.schemas import ClassificationOut
from logo_similarity.classification import Classification, Language

router = CheckedRouter()

# The names change only when the service starts with another file.
CACHED = "private, max-age=3600"

LanguageQuery = Annotated[Language, Query(description="Language of the built-in names.")]


@router.get("/v1/classification/vienna", summary="Get the names of Vienna codes")
async def vienna(runtime: RuntimeDep, response: Response, language: LanguageQuery = Language.EN) -> ClassificationOut:
    """Returns the categories, and every division and section if the service has the official list."""
    return _answer(runtime.classifications.vienna[language], response)


@router.get("/v1/classification/nice", summary="Get the names of Nice classes")
async def nice(runtime: RuntimeDep, response: Response, language: LanguageQuery = Language.EN) -> ClassificationOut:
    """Returns the 45 classes."""
    return _answer(runtime.classifications.nice[language], response)


def _answer(classification: Classification, response: Response) -> ClassificationOut:
    response.headers["Cache-Control"] = CACHED
    return ClassificationOut(
        scheme=classification.scheme, source=classification.source, codes=dict(classification.names)
    )

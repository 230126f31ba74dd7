"""What the routes work with: one frozen Runtime, made when the application starts.

Dependencies are coroutines although they wait for nothing: FastAPI would send a plain function to another thread and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Form, Query, Request
from pydantic.json_schema import SkipJsonSchema

from logo_similarity.api.cache import AnswerCache, SearchParameters
from logo_similarity.api.live import LiveCatalog
from logo_similarity.api.live_keys import LiveKeys
from logo_similarity.config import Settings
from logo_similarity.embed.gate import Gate
from logo_similarity.search.pipeline import DEFAULT_TOP_K, MAX_TOP_K
from logo_similarity.storage import ImageStore
from logo_similarity.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything that lives as long as the application."""

    settings: Settings
    live: LiveCatalog
    gate: Gate
    cache: AnswerCache
    store: ImageStore | None
    keys: LiveKeys
    tracing: Tracing | None


@dataclass(frozen=True, slots=True)
class Links:
    """Signs image links for one request."""

    store: ImageStore | None
    base: str
    """What a link of the service itself begins with: scheme and host, without a slash at the end."""

    def sign(self, filenames: Sequence[str]) -> list[str | None]:
        """One absolute, signed, short-lived link for each file; None where there is no store. No network."""
        if self.store is None:
            return [None] * len(filenames)
        return [self.base + link if link.startswith("/") else link for link in self.store.sign(filenames)]


async def get_runtime(request: Request) -> Runtime:
    """The runtime of the application that serves this request."""
    runtime: Runtime = request.app.state.runtime
    return runtime


async def get_links(request: Request, runtime: Annotated[Runtime, Depends(get_runtime)]) -> Links:
    """Links that the sender of this request can follow."""
    base = runtime.settings.public_url or str(request.base_url)
    return Links(runtime.store, base.rstrip("/"))


TopK = Annotated[
    int | None, Query(ge=1, le=MAX_TOP_K, description=f"At most this many results. Default {DEFAULT_TOP_K}.")
]
MinScore = Annotated[
    float | None,
    Query(
        ge=-1,
        le=1,
        description="Leave out results with a smaller `score`. No value keeps all right results and drops all wrong ones; 0.9 "
        "keeps most copies of a picture. Default: none is left out.",
    ),
]
Rerank = Annotated[
    bool | None,
    Query(description="Score the first candidates again by their parts. Default: where the catalog can."),
]
# The same as form fields. Only the query parameters are documented: two places for one value mislead, and a form that
# is made from the description (as on /docs) would fill these in and send them.
TopKField = Annotated[SkipJsonSchema[int | None], Form(alias="top_k", ge=1, le=MAX_TOP_K)]
MinScoreField = Annotated[SkipJsonSchema[float | None], Form(alias="min_score", ge=-1, le=1)]
RerankField = Annotated[SkipJsonSchema[bool | None], Form(alias="rerank")]


async def get_parameters(
    top_k: TopK = None,
    min_score: MinScore = None,
    rerank: Rerank = None,
    top_k_field: TopKField = None,
    min_score_field: MinScoreField = None,
    rerank_field: RerankField = None,
) -> SearchParameters:
    """The parameters from the query string or from the form. The route refuses one that is in both."""
    return SearchParameters(
        top_k=next((value for value in (top_k, top_k_field) if value is not None), DEFAULT_TOP_K),
        min_score=min_score if min_score is not None else min_score_field,
        rerank=rerank if rerank is not None else rerank_field,
    )


RuntimeDep = Annotated[Runtime, Depends(get_runtime)]
LinksDep = Annotated[Links, Depends(get_links)]
ParametersDep = Annotated[SearchParameters, Depends(get_parameters)]

"""Probes and metrics: open to all, and never refused for load."""

from __future__ import annotations

from fastapi import Request, Response

from logo_similarity.api.deps import RuntimeDep
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.api.schemas import Health, Readiness
from logo_similarity.errors import NotReadyError
from logo_similarity.metrics import CONTENT_TYPE, render

router = CheckedRouter(tags=["operations"])


@router.get("/healthz", summary="Whether the process runs")
async def healthz() -> Health:
    """200 while the event loop runs."""
    return Health(status="ok")


@router.get("/readyz", summary="Whether this worker can answer a search")
async def readyz(request: Request, runtime: RuntimeDep) -> Readiness:
    """200 with a catalog open and the encoder warm; 503 while stopping, about to stop, or with every search thread stuck."""
    if request.app.state.draining():
        raise NotReadyError("the service is about to stop")
    runtime.gate.check_ready()
    catalog = runtime.live.current
    encoder = catalog.engine.encoder
    return Readiness(status="ready", catalog=catalog.out, encoder=encoder.model.id, device=encoder.provider)


@router.get("/metrics", summary="Prometheus metrics of all workers", response_class=Response)
def metrics(runtime: RuntimeDep) -> Response:
    """In the text format of Prometheus."""
    return Response(render(runtime.settings.metrics_dir), media_type=CONTENT_TYPE)

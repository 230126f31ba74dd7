"""Probes and metrics: open to all, and never refused for load."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from logo_similarity.api.deps import RuntimeDep
from logo_similarity.api.schemas import Health, Readiness
from logo_similarity.errors import NotReadyError
from logo_similarity.metrics import CONTENT_TYPE, render

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="Whether the process runs")
async def healthz() -> Health:
    """Answers as long as the event loop turns."""
    return Health(status="ok")


@router.get("/readyz", summary="Whether this worker can answer a search")
async def readyz(request: Request, runtime: RuntimeDep) -> Readiness:
    """Answers 200 only with a catalog open, the encoder warm, and not while stopping or about to stop."""
    if request.app.state.draining():
        raise NotReadyError("the service is about to stop")
    runtime.gate.check_open()
    catalog = runtime.live.current
    encoder = catalog.engine.encoder
    return Readiness(status="ready", catalog=catalog.out, encoder=encoder.model.id, device=encoder.provider)


@router.get("/metrics", summary="Prometheus metrics of all workers", response_class=Response)
def metrics(runtime: RuntimeDep) -> Response:
    """In the text format of Prometheus."""
    return Response(render(runtime.settings.metrics_dir), media_type=CONTENT_TYPE)

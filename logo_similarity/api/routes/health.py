"""Probes and metrics: they need no API key and are served under any load."""

from __future__ import annotations

from fastapi import Request, Response

from logo_similarity.api.deps import RuntimeDep
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.api.schemas import Health, Readiness
from logo_similarity.errors import NotReadyError
from logo_similarity.metrics import CONTENT_TYPE, render

router = CheckedRouter(tags=["operations"])


@router.get("/healthz", summary="Liveness probe")
async def healthz() -> Health:
    """Returns 200 while the event loop runs."""
    return Health(status="ok")


@router.get("/readyz", summary="Readiness probe")
async def readyz(request: Request, runtime: RuntimeDep) -> Readiness:
    """Returns 200 if this worker can search, 503 if it is stopping or draining or all its search threads are stuck."""
    if request.app.state.draining():
        raise NotReadyError("the service is draining and will stop soon")
    runtime.gate.check_ready()
    catalog = runtime.live.current
    encoder = catalog.engine.encoder
    return Readiness(status="ready", catalog=catalog.out, encoder=encoder.model.id, device=encoder.provider)


@router.get("/metrics", summary="Prometheus metrics of all workers", response_class=Response)
def metrics(runtime: RuntimeDep) -> Response:
    """Returns the metrics in the Prometheus text format."""
    return Response(render(runtime.settings.metrics_dir), media_type=CONTENT_TYPE)

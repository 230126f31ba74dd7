"""`POST /v1/report`."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import File, Query, Request, Response, UploadFile

from logo_similarity.api.admission import run_while_connected
from logo_similarity.api.deps import RuntimeDep
from logo_similarity.api.paths import REPORT_PATH
from logo_similarity.api.routing import CheckedRouter
from logo_similarity.reports.case import CASE_BYTES, Case
from logo_similarity.reports.formats import ReportFormat, write_report
from logo_similarity.reports.report import make_report

router = CheckedRouter()

SPARE_SECONDS = 1.0
"""A report ends so long before its thread would count as stuck."""


@router.post(
    REPORT_PATH,
    response_class=Response,
    summary="Make a report of a search",
    form_limits={"max_files": 1, "max_fields": 2, "max_part_size": 1024},
)
async def report(
    request: Request,
    runtime: RuntimeDep,
    case: Annotated[UploadFile, File(description="The case, a JSON document; see the documentation of reports.")],
    report_format: Annotated[
        ReportFormat, Query(alias="format", description="Format of the report.")
    ] = ReportFormat.PDF,
) -> Response:
    """Returns the report as a file. The search is made again, and the report says how its list differs from the case."""
    engine, settings = runtime.live.current.engine, runtime.settings

    def job() -> bytes:
        deadline = time.monotonic() + settings.search_seconds - SPARE_SECONDS
        content = Case.from_json(case.file.read(CASE_BYTES + 1))
        made = make_report(content, engine, runtime.store)
        return write_report(
            made,
            report_format,
            runtime.classifications,
            fonts_folder=settings.fonts_dir,
            seconds=max(0.0, deadline - time.monotonic()),
        )[0]

    content = await run_while_connected(request, runtime.gate, job)
    if content is None:
        return Response(status_code=499)
    headers = {
        "Content-Disposition": f'attachment; filename="report.{report_format}"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, media_type=report_format.media_type, headers=headers)

"""`logo-similarity explain`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from logo_similarity.commands.options import AsJson, Catalogs, Device
from logo_similarity.config import load_settings
from logo_similarity.errors import BadImageError, SourceError
from logo_similarity.terminal import out, print_json


def explain(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The image of the search.")],
    logo_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the logo.")],
    catalogs: Catalogs = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Explain why a logo resembles an image.

    Prints the evidence, and the regions of both pictures that match. A region is given as left, top, right and bottom,
    in percent of the picture's width and height.
    """
    from logo_similarity.domain import Query
    from logo_similarity.engine import SearchEngine

    settings = load_settings(catalogs=catalogs, device=device)
    if image.is_dir():
        raise SourceError(f"{image}: is a folder; name an image file")
    version = SearchEngine.of(settings)
    with version.with_changes(settings.catalogs) as engine:
        try:
            explanation = engine.explain(Query(image=image.read_bytes()), logo_id)
        except BadImageError as error:
            raise SourceError(f"{image}: {error}") from None
    hit = explanation.hit
    if as_json:
        evidence = {name: getattr(hit, name) for name in ("score", "cosine", "expect", "band", "copies")}
        matches = {
            field.name: [match._asdict() for match in getattr(explanation, field.name)]
            for field in dataclasses.fields(explanation)
            if field.name != "hit"
        }
        matched = None if hit.matched is None else hit.matched._asdict()
        print_json({"id": hit.logo.logo_id, **evidence, "matched": matched, **matches})
        return
    expect = "unknown" if hit.expect is None else f"{hit.expect:.2g}"
    out.print(f"score {hit.score:.4f}, cosine {hit.cosine:.4f}, expect {expect}, band {hit.band or 'unknown'}")
    out.print(f"{len(explanation.cells)} cells of the whole images match")
    for match in explanation.regions:
        own, other = (" ".join(f"{side:.0%}" for side in box) for box in (match.query_box, match.hit_box))
        out.print(f"cosine {match.cosine:.2f}: {own} of the image, {other} of the logo")

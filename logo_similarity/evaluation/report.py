"""An evaluation as table rows, and as an HTML page with the images of the worst queries."""

from __future__ import annotations

import base64
import itertools
from html import escape
from typing import TYPE_CHECKING

import cv2
import numpy as np

from logo_similarity.evaluation.copies import CHANGES
from logo_similarity.evaluation.evaluate import CUT, TURNED, choose_copied_queries, make_composite, other_brands
from logo_similarity.evaluation.scans import SCANS
from logo_similarity.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from logo_similarity.evaluation.evaluate import (
        BandFigures,
        ChanceHits,
        CompositeFigures,
        CopyFigures,
        Evaluation,
        Part,
    )
    from logo_similarity.evaluation.gallery import Gallery, Speed
    from logo_similarity.evaluation.ranking import LabelledQuery
    from logo_similarity.evaluation.truth import Truth
    from logo_similarity.image.decode import Pixels

WORST = 40
ANSWERS = 8
PICTURE_SIDE = 96
EXAMPLE_SIDE = 192
"""Longer side of a changed mark: it may be small in the picture."""
EXAMPLES = 40
"""Number of marks that the examples of changes show, one after the other."""
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1b1b1b }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left }
figure { display: inline-block; margin: .2rem; text-align: center }
figure img { width: 96px; height: 96px; object-fit: contain; border: 3px solid #ddd; background: #fff }
figcaption { font-size: .75rem }
td:has(figure) { white-space: nowrap }
.query img { border-color: #333 }
.changed img { width: 192px; height: 192px }
.right img { border-color: #2a8a3e }
section { border-top: 1px solid #ddd; padding: .5rem 0 }
"""


def part_row(part: Part) -> list[str]:
    """One row of the table of figures, for `PART_COLUMNS`."""
    cells = [part.name, f"{part.all.queries:,}"]
    for figures in (part.all, part.hard):
        if figures is None:
            cells += ["-"] * 5
        else:
            cells += [
                f"{figures.mean_average_precision:.3f}",
                f"{figures.recall_at_1:.3f}",
                f"{figures.recall_at_10:.3f}",
                f"{figures.recall_at_100:.3f}",
                f"{figures.normalised_average_rank:.4f}",
            ]
    return cells


PART_COLUMNS = (
    "queries", "count", "mAP", "R@1", "R@10", "R@100", "NAR", "HARD mAP", "R@1", "R@10", "R@100", "NAR",
)  # fmt: skip
COPY_COLUMNS = ("changed copy", "R@1", "R@10")
SCAN_COLUMNS = ("scan or photograph", "R@1", "R@10")
BAND_COLUMNS = ("band", "hits of a search", "right", "of all right answers")
CHANCE_COLUMNS = ("expect", "hits by chance")
COMPOSITE_COLUMNS = ("composite", "mark finds it: R@1", "R@10", "it finds the mark: R@1", "R@10")


def copy_row(copies: CopyFigures) -> list[str]:
    """One row of the table of changed copies or of scans, for `COPY_COLUMNS` or `SCAN_COLUMNS`."""
    return [copies.change, f"{copies.recall_at_1:.3f}", f"{copies.recall_at_10:.3f}"]


def composite_row(figures: CompositeFigures) -> list[str]:
    """One row of the table of composites, for `COMPOSITE_COLUMNS`."""
    directions = (figures.mark_finds_composite, figures.composite_finds_mark)
    recalls = [recall for direction in directions for recall in (direction.recall_at_1, direction.recall_at_10)]
    return [figures.composite, *(f"{recall:.3f}" for recall in recalls)]


def band_row(figures: BandFigures) -> list[str]:
    """One row of the table of bands, for `BAND_COLUMNS`."""
    precision = "-" if figures.precision is None else f"{figures.precision:.0%}"
    return [figures.band, f"{figures.hits:.2f}", precision, f"{figures.share:.0%}"]


def chance_row(chance: ChanceHits) -> list[str]:
    """One row of the table of chance hits, for `CHANCE_COLUMNS`."""
    return [f"{chance.expect:g}", f"{chance.hits:.3g}"]


def write_html(evaluation: Evaluation, gallery: Gallery, truth: Truth, image: Callable[[int], Pixels]) -> str:
    """The evaluation as a self-contained HTML page.

    Args:
        evaluation: the figures.
        gallery: the gallery that was evaluated.
        truth: the relevant answers.
        image: returns the image of a row of the gallery, (h, w, 3) uint8 RGB.
    """
    parts = [
        f"<h1>{escape(evaluation.features)}</h1>",
        f"<p>{escape(summary(evaluation))}</p>",
    ]
    for split in evaluation.splits:
        rows = [part_row(part) for part in split.parts(sets=True)]
        parts += [f"<h2>{escape(split.name)}</h2>", _table(PART_COLUMNS, rows)]
    if evaluation.chance_hits:
        parts += ["<h2>Bands</h2>", _table(BAND_COLUMNS, list(map(band_row, evaluation.bands)))]
        parts += ["<h2>Hits by chance</h2>", _table(CHANCE_COLUMNS, list(map(chance_row, evaluation.chance_hits)))]
    if evaluation.copies:
        parts += _change_tables(evaluation, gallery, truth, image)
    for split in evaluation.splits:
        parts.append(
            f"<h2>{escape(split.name)}: the worst queries</h2><p>Dark border: the query. Green border: right answers. "
            f"If no right answer is among the first {ANSWERS}, the best one follows with its rank.</p>"
        )
        by_row = {query.row: query for query in truth.splits[split.name]}
        worst = sorted(split.queries, key=lambda result: (result.average_precision, result.row))[:WORST]
        parts += [_query_section(by_row[result.row], result.first_rank, gallery, image) for result in worst]
    title = f"Evaluation of {escape(evaluation.features)}"
    return f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>" + "\n".join(parts)


def _change_tables(evaluation: Evaluation, gallery: Gallery, truth: Truth, image: Callable[[int], Pixels]) -> list[str]:
    """The tables of changed copies, scans and composites, each row with an example: a mark and its changed picture."""
    marks = truth.splits[evaluation.splits[0].name]
    examples = itertools.cycle(choose_copied_queries(truth, evaluation.splits[0].name, EXAMPLES))

    def example(mark: LabelledQuery, picture: Pixels) -> str:
        return _figure(image(mark.row), "mark", "query") + _figure(picture, "changed", "changed", EXAMPLE_SIDE)

    copies = [
        example(mark, {**CHANGES, **TURNED}[row.change](image(mark.row)))
        for row, mark in zip(evaluation.copies, examples, strict=False)
    ]
    scans = [
        example(mark, {**SCANS, **CUT}[row.change](image(mark.row)))
        for row, mark in zip(evaluation.scans, examples, strict=False)
    ]
    composites = [
        example(mark, make_composite(row.composite, mark, other_brands(mark, marks), gallery.files, image)[0].pixels)
        for row, mark in zip(evaluation.composites, examples, strict=False)
    ]
    return [
        "<h2>Changed copies</h2>",
        _table(COPY_COLUMNS, [copy_row(row) for row in evaluation.copies], copies),
        "<h2>Scans and photographs</h2>",
        _table(SCAN_COLUMNS, [copy_row(row) for row in evaluation.scans], scans),
        "<h2>Composites</h2>",
        _table(COMPOSITE_COLUMNS, [composite_row(row) for row in evaluation.composites], composites),
    ]


def _query_section(query: LabelledQuery, first_rank: int, gallery: Gallery, image: Callable[[int], Pixels]) -> str:
    """A query and its first answers as images."""
    scores = gallery.features.scores(gallery.features.description(query.row)).copy()
    scores[[query.row, *query.ignored]] = -np.inf
    first = np.argsort(-scores, kind="stable")[:ANSWERS]
    figures = [_figure(image(query.row), gallery.files[query.row], "query")]
    figures += [
        _figure(image(int(row)), str(rank), "right" if row in query.relevant else "wrong")
        for rank, row in enumerate(first, 1)
    ]
    best = query.relevant[np.argmax(scores[query.relevant])]
    if best not in first:
        figures.append(_figure(image(int(best)), f"rank {first_rank}", "right"))
    return f"<section>{''.join(figures)}</section>"


def summary(evaluation: Evaluation) -> str:
    """One line: the features, the size of the gallery, latency and recall."""
    mode = "re-ranked" if evaluation.reranked else "not re-ranked"
    return (
        f"{evaluation.features}: {counted(evaluation.pictures, 'image')}, {counted(evaluation.dimension, 'dimension')}, {mode}; "
        f"{_speed_summary(evaluation.speed)}"
    )


def _speed_summary(speed: Speed) -> str:
    text = f"{speed.describe:.2f} ms to describe an image on one thread"
    if speed.rerank is not None:
        text += f", {speed.rerank:.2f} ms to re-rank 100 candidates"
    if speed.search is not None:
        text += f", {speed.search:.2f} ms to search the index; recall@100 of the index {speed.recall:.4f}"
    return text + "."


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], examples: Sequence[str] = ()) -> str:
    """A table; `examples` are the HTML of one more column."""
    head = "".join(f"<th>{escape(column)}</th>" for column in (*columns, *(["example"] if examples else [])))
    lines = [[escape(cell) for cell in row] for row in rows]
    if examples:
        lines = [[*line, example] for line, example in zip(lines, examples, strict=True)]
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<table><tr>{head}</tr>{body}</table>"


def _figure(image: Pixels, caption: str, kind: str, side: int = PICTURE_SIDE) -> str:
    scale = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    png = cv2.imencode(".png", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1].tobytes()
    data = base64.b64encode(png).decode()
    return (
        f'<figure class={kind}><img alt="{kind}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption[:24])}</figcaption></figure>"
    )

"""The texts of a printed report, as the Typst template prints them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from logo_similarity.classification import Classifications, Language
from logo_similarity.fields import FIELDS
from logo_similarity.filters import Filter
from logo_similarity.reports.case import CaseHit, Verdict
from logo_similarity.reports.phrases import BANDS, describe_codes, describe_expect, describe_filter, label
from logo_similarity.reports.report import MOST_DETAILED, MOST_PRINTED, Report, Row
from logo_similarity.version import __version__
from logo_similarity.wording import counted

LONGEST_VALUE = 300
LONGEST_PRINTED_NOTE = 3_000
"""Characters of a text and of a note in print; longer ones end with "…"."""
LONGEST_EXTRA = 120
MOST_EXTRA = 8
Data = dict[str, Any]
"""A JSON object."""
Pairs = list[list[str]]
"""Labels with their values."""


def document(report: Report, classifications: Classifications) -> Data:
    """Everything that the template prints: texts, and the names of pictures among the files beside it."""
    case = report.case
    kept = [place for place, row in enumerate(report.rows) if row.is_kept]
    return {
        "title": case.title or "Similarity search",
        "facts": _facts(report),
        "note": _lines(case.note),
        "pictures": [
            {"file": picture_name(place), "name": picture.name} for place, picture in enumerate(case.query.pictures)
        ],
        "query": _query(report, classifications),
        "searched": _searched(report),
        "unsearched": _not_searched(report),
        "repetition": _repetition(report),
        "kept": [_detailed(place, report.rows[place], report, classifications) for place in kept[:MOST_DETAILED]],
        "list": [_listed(place, row, report) for place, row in enumerate(report.rows[:MOST_PRINTED])],
        "counts": _counts(report),
        "omitted": _omitted(report),
        "footer": " · ".join(filter(None, [case.reference, f"catalog {case.catalog.version}"])),
    }


def picture_name(place: int) -> str:
    """Name of the file of a picture of the query."""
    return f"query-{place}.png"


def thumbnail_name(place: int) -> str:
    """Name of the file of the thumbnail of a row."""
    return f"hit-{place}.jpg"


def _facts(report: Report) -> Pairs:
    case = report.case
    facts = [
        ("Reference", case.reference),
        ("Author", case.author),
        ("Search made", _time(case.searched_at)),
        ("Report made", _time(report.made)),
        ("Catalog", f"{case.catalog.version}, {counted(case.catalog.logos, 'logo')}"),
        (
            "Encoder",
            "not recorded" if case.encoder is None else f"{case.encoder.id}, SHA-256 {case.encoder.sha256[:16]}…",
        ),
        (
            "Software",
            f"logo-similarity {case.engine}" + (f", report by {__version__}" if case.engine != __version__ else ""),
        ),
    ]
    return [[name, _cut(value)] for name, value in facts if value]


def _query(report: Report, names: Classifications) -> Pairs:
    query = report.case.query
    vienna, nice = names.vienna[Language.EN], names.nice[Language.EN]
    pairs: Pairs = []
    if query.logo_id is not None:
        pairs.append(["Logo", query.logo_id])
    if query.words:
        pairs.append(["Words", query.words])
    elif report.case.searched.words:
        pairs.append(["Words read in the picture", report.case.searched.words])
    if query.filter is not None:
        pairs.append(["Filter", describe_filter(Filter.from_json(query.filter), vienna, nice)])
    else:
        pairs.append(["Filter", "none: all logos of the catalog"])
    if query.crop is not None:
        sides = ", ".join(f"{side:.0%}" for side in query.crop)
        pairs.append(["Region", f"{sides} (left, top, right, bottom)"])
    if changed := [name for name, is_set in (("inverted", query.invert), ("greyscale", query.greyscale)) if is_set]:
        pairs.append(["Colours", " and ".join(changed)])
    given = {name: value for name, value in query.parameters if value is not None and name != "words"}
    if given:
        pairs.append(["Parameters", ", ".join(f"{name} = {_plain(value)}" for name, value in given.items())])
    if any(not picture.complete for picture in query.pictures):
        pairs.append(["Picture", "a smaller copy of the file that was searched for"])
    return [[name, _cut(value, 2 * LONGEST_VALUE)] for name, value in pairs]


def _searched(report: Report) -> list[str]:
    case = report.case
    searched, catalog = case.searched, case.catalog
    built = "" if catalog.built is None else f", built {catalog.built:%Y-%m-%d}"
    texts = [f"The catalog {catalog.version}{built}, with {counted(catalog.logos, 'logo')}."]
    if searched.passed is not None:
        texts.append(f"Of these, the {counted(searched.passed, 'logo')} that pass the filter.")
    if case.query.pictures or case.query.logo_id:
        what = "Whole images, and parts of images" if searched.parts else "Whole images"
        texts.append(f"{what}" + (", compared again cell by cell." if searched.reranked else "."))
    if searched.words:
        texts.append("Words in the fields text and company, also in other spellings.")
    if searched.exact is not None and case.query.pictures:
        texts.append(
            "Every one of these logos was compared with the picture."
            if searched.exact
            else "Candidates were found through a graph of the images, which finds nearly all similar ones, but not always all."
        )
    return texts


def _not_searched(report: Report) -> list[str]:
    case = report.case
    catalog, searched, parameters = case.catalog, case.searched, dict(case.query.parameters)
    texts = []
    if catalog.newest is not None:
        texts.append(f"Logos applied for after {catalog.newest}, the latest date in the catalog.")
    elif catalog.built is not None:
        texts.append(f"Logos that entered the register after {catalog.built:%Y-%m-%d}.")
    if searched.passed is not None and catalog.logos > searched.passed:
        texts.append(f"The {counted(catalog.logos - searched.passed, 'logo')} that the filter excludes.")
    if not searched.words:
        texts.append("Words: neither those in the picture nor those of the logos were compared.")
    if not (case.query.pictures or case.query.logo_id):
        texts.append("Images: the search was for words alone.")
    elif not searched.parts:
        texts.append("Parts of images: a figure inside a composite mark may be missed.")
    if missing := [label(field.name) for field in FIELDS if field.name not in catalog.fields]:
        texts.append(f"Fields that the catalog does not have: {', '.join(missing)}.")
    if (top_k := parameters.get("top_k")) is not None and len(case.hits) >= top_k:
        texts.append(f"Hits after the first {top_k}.")
    texts += [
        f"Hits with {'a smaller score' if name == 'min_score' else 'a larger expected number'} than {value}."
        for name in ("min_score", "max_expect")
        if (value := parameters.get(name)) is not None
    ]
    return texts


def _repetition(report: Report) -> Data:
    repetition = report.repetition
    if repetition is None:
        return {
            "state": "absent",
            "title": "Search not made again",
            "lines": [f"{report.not_repeated[:1].upper()}{report.not_repeated[1:]}."],
        }
    changes, catalog = repetition.changes, repetition.catalog
    where = f"on {_time(repetition.at)} in the catalog {catalog.version} with {counted(catalog.logos, 'logo')}"
    if not changes:
        same = "the same catalog" if repetition.same_catalog else "another version of the catalog"
        return {
            "state": "same",
            "title": "Search made again: the list is the same",
            "lines": [f"Made again {where}, {same}: all {counted(len(report.case.hits), 'hit')} in the same order."],
        }
    lines = [f"Made again {where}."]
    if repetition.same_catalog:
        lines.append(
            "It is the same catalog: another version of the software or another processor may compute other scores."
        )
    else:
        lines.append(f"The case was searched in the catalog {report.case.catalog.version}.")
    if report.case.encoder is not None and report.case.encoder != repetition.encoder:
        lines.append(f"The encoder is another one, {repetition.encoder.id}, so the scores cannot be compared.")
    lines += list(_describe_changes(report))
    return {"state": "changed", "title": "Search made again: the list has changed", "lines": lines}


def _describe_changes(report: Report) -> Iterator[str]:
    assert report.repetition is not None  # noqa: S101 - checked by the caller
    changes, now = report.repetition.changes, {row.hit.id: row.rank_now for row in report.rows}
    if changes.new:
        yield f"New ({len(changes.new)}): {_some([f'{one} (rank {now[one]})' for one in changes.new])}."
    if changes.gone:
        gone = [f"{one}{' (no longer in the catalog)' if one in changes.deleted else ''}" for one in changes.gone]
        yield f"Gone ({len(changes.gone)}): {_some(gone)}."
    if changes.moved:
        moved = [f"{one.logo_id} (rank {one.before}, now {one.now})" for one in changes.moved]
        yield f"In another order ({len(changes.moved)}): {_some(moved)}."


def _detailed(place: int, row: Row, report: Report, names: Classifications) -> Data:
    hit = row.hit
    return {
        **_listed(place, row, report),
        "company": _cut(hit.metadata.company or ""),
        "expect": describe_expect(hit.expect),
        "meaning": "" if hit.band is None else BANDS[hit.band],
        "facts": _register_data(hit, names),
        "evidence": _evidence(hit),
        "note": _lines(hit.note),
    }


def _listed(place: int, row: Row, report: Report) -> Data:
    hit = row.hit
    return {
        "rank": "new" if row.rank is None else str(row.rank),
        "now": _rank_now(row, report),
        "picture": thumbnail_name(place) if hit.id in report.thumbnails else None,
        "id": _cut(hit.id),
        "text": _cut(hit.metadata.text or "", 120),
        "company": _cut(hit.metadata.company or "", 120),
        "score": f"{hit.score:.3f}",
        "number": "" if hit.expect is None else f"{hit.expect:.2g}",
        "band": None if hit.band is None else hit.band.value,
        "verdict": hit.verdict.value if hit.verdict is not None else "",
        "note": [] if hit.verdict is Verdict.KEPT else _lines(hit.note),
    }


def _rank_now(row: Row, report: Report) -> str:
    """A change of the rank, for the list; empty: there is none."""
    if report.repetition is None or not report.repetition.changes or row.rank is None or row.rank == row.rank_now:
        return f"now {row.rank_now}" if row.rank is None else ""
    return "gone" if row.rank_now is None else f"now {row.rank_now}"


def _register_data(hit: CaseHit, names: Classifications) -> Pairs:
    pairs: Pairs = []
    for field in FIELDS:
        value = getattr(hit.metadata, field.name)
        if field.name in ("text", "company") or value == field.kind.empty:
            continue
        classification = {"vienna_codes": names.vienna, "nice_classes": names.nice}.get(field.name)
        text = field.to_text(value) if classification is None else describe_codes(value, classification[Language.EN])
        pairs.append([label(field.name), _cut(text)])
    for name, value in list(hit.metadata.extra.items())[:MOST_EXTRA]:
        if value not in (None, "", [], {}):
            pairs.append([_cut(name, 40), _cut(_plain(value), LONGEST_EXTRA)])
    return pairs


def _evidence(hit: CaseHit) -> str:
    parts = [f"score {hit.score:.3f}"]
    parts += [
        f"{name} {value:.3f}"
        for name, value in (("cosine", hit.cosine), ("image score", hit.image_score), ("words", hit.word_similarity))
        if value is not None
    ]
    if hit.expect is not None:
        parts.append(f"expect {hit.expect:.2g}")
    if hit.matched is not None:
        parts.append("a part matched")
    if hit.copies:
        parts.append(f"{counted(hit.copies, 'other logo')} with the same image")
    if hit.others is not None and hit.others.count:
        parts.append(f"{counted(hit.others.count, 'further logo')} in its group")
    return ", ".join(parts)


def _counts(report: Report) -> str:
    hits = report.case.hits
    kept = sum(hit.verdict is Verdict.KEPT for hit in hits)
    dismissed = sum(hit.verdict is Verdict.DISMISSED for hit in hits)
    return f"{counted(len(hits), 'hit')}: {kept:,} kept, {dismissed:,} dismissed, {len(hits) - kept - dismissed:,} not reviewed."


def _omitted(report: Report) -> str:
    rest, kept = len(report.rows) - MOST_PRINTED, sum(row.is_kept for row in report.rows) - MOST_DETAILED
    texts = []
    if kept > 0:
        texts.append(f"{counted(kept, 'further kept hit')} without details.")
    if rest > 0:
        texts.append(f"{counted(rest, 'further hit')} of the list.")
    return " ".join([*texts, "The CSV and JSON files of this report have all of them."]) if texts else ""


def _some(texts: list[str], most: int = 20) -> str:
    rest = len(texts) - most
    return ", ".join(map(_cut, texts[:most])) + (f", and {rest:,} more" if rest > 0 else "")


def _time(time: dt.datetime) -> str:
    return f"{time.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


def _cut(text: str, most: int = LONGEST_VALUE) -> str:
    """The text on one line, cut at `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _lines(text: str) -> list[str]:
    """The lines of a note."""
    cut = text if len(text) <= LONGEST_PRINTED_NOTE else f"{text[: LONGEST_PRINTED_NOTE - 1]}…"
    return [" ".join(line.split()) for line in cut.splitlines()]


def _plain(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)

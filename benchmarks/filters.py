"""Filters: the time to find the logos that pass, and recall and time of a search among them.

The first part writes the metadata and the posting lists of a synthetic register in which every field has values, and compares
each filter with plain SQL: the rows must be the same. The second part searches the register of `make_register` under filters
that pass a share of the logos: at random, or the logos nearest to one of them, with queries near to it or far from it. Recall
is measured against exact search, ties allowed. Times are CPU time of one thread on one core, with the files in memory.

    python -m benchmarks.filters [LOGOS]
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import DATA, write_result
from benchmarks.make_register import DIVISIONS, TAIL_DIVISIONS, YEARS, grow, register_catalog, sample_catalog
from logo_similarity.catalog.files import read_ahead
from logo_similarity.catalog.manifest import INDEX, METADATA, read_manifest
from logo_similarity.catalog.metadata import write_metadata
from logo_similarity.catalog.postings import POSTINGS_LAYOUT, Postings, PostingsWriter, file_names
from logo_similarity.catalog.versions import Catalog
from logo_similarity.cpu import usable_cores
from logo_similarity.description import Description
from logo_similarity.embed.describe import Floats
from logo_similarity.fields import FIELDS, Record, RegisterField
from logo_similarity.filters import Filter
from logo_similarity.search.build import TIE
from logo_similarity.search.candidates import IdSet, Mask
from logo_similarity.search.hnsw import HnswSource, VectorIndex
from logo_similarity.search.rows import IdentityMap

LOGOS = 770_000
K, QUERIES, ROUNDS = 100, 100, 50
SHARES = (0.5, 0.1, 0.01, 0.001, 0.0001)
ANCHORS = 3
"""Filters of each kind and share."""
BREADTH = 1_000
VALUES = 50
"""Most values of a facet."""
VOCABULARY = 100_000
COMPANIES = 300_000
OFFICE_STATUSES = 169
CHUNK = 10_000
SUFFIXES = ("Inc", "Ltd", "GmbH", "S.A.", "Corp")

W, F = Filter.where, Filter.words
FILTERS: dict[str, tuple[Filter, str]] = {
    "status, 60 %": (W(status="registered"), "SELECT id FROM logos WHERE status = 'registered'"),
    "not status": (~W(status="registered"), "SELECT id FROM logos WHERE status IS NOT 'registered'"),
    "office, 30 %": (W(office="US"), "SELECT id FROM logos WHERE office = 'US'"),
    "one Nice class": (W(nice_classes=9), "SELECT logo FROM nice_classes WHERE class = 9"),
    "20 Nice classes": (
        W(nice_classes=(1, 20)),
        "SELECT DISTINCT logo FROM nice_classes WHERE class BETWEEN 1 AND 20",
    ),
    "Vienna category": (
        W(vienna_codes="26"),
        "SELECT DISTINCT logo FROM vienna_codes WHERE code BETWEEN '26' AND '26.~'",
    ),
    "Vienna division": (
        W(vienna_codes="27.05"),
        "SELECT DISTINCT logo FROM vienna_codes WHERE code BETWEEN '27.05' AND '27.05.~'",
    ),
    "Vienna section": (W(vienna_codes="26.01.01"), "SELECT logo FROM vienna_codes WHERE code = '26.01.01'"),
    "ten years of dates": (
        W(application_date=("2010-01-01", "2019-12-31")),
        "SELECT id FROM logos WHERE application_date BETWEEN '2010-01-01' AND '2019-12-31'",
    ),
    "year": (W(year=2019), "SELECT id FROM logos WHERE year = 2019"),
    "company": (W(company="w10 w70 Inc"), "SELECT id FROM logos WHERE company = 'w10 w70 Inc'"),
    "word of a company, 20 %": (
        F(company="gmbh"),
        "SELECT rowid FROM logos_text WHERE logos_text MATCH 'company:gmbh'",
    ),
    "words of a text": (W(text="W1 w2"), "SELECT rowid FROM logos_text WHERE logos_text MATCH 'text:w1 text:w2'"),
    "code, class, dates and status": (
        W(vienna_codes="26", nice_classes=[9, 42], application_date=("2010-01-01", None), status="registered"),
        """SELECT id FROM logos WHERE status = 'registered' AND application_date >= '2010-01-01'
        AND id IN (SELECT logo FROM vienna_codes WHERE code BETWEEN '26' AND '26.~')
        AND id IN (SELECT logo FROM nice_classes WHERE class IN (9, 42))""",
    ),
    "six conditions with or and not": (
        (W(vienna_codes=["01", "02", "26"]) | F(company="gmbh"))
        & ~W(status=["ended", "expired"])
        & (W(office="EM") | W(year=(2015, None)) | ~W(nice_classes=(1, 34))),
        """SELECT id FROM logos WHERE (id IN (SELECT logo FROM vienna_codes WHERE code BETWEEN '01' AND '01.~'
        OR code BETWEEN '02' AND '02.~' OR code BETWEEN '26' AND '26.~')
        OR id IN (SELECT rowid FROM logos_text WHERE logos_text MATCH 'company:gmbh'))
        AND (status IS NULL OR status NOT IN ('ended', 'expired')) AND (office = 'EM' OR year >= 2015
        OR id NOT IN (SELECT logo FROM nice_classes WHERE class BETWEEN 1 AND 34))""",
    ),
}
"""Each filter, and the SQL that selects the same rows of `metadata.db`."""


def measure(logos: int = LOGOS) -> dict[str, object]:
    """Measure both parts."""
    compilation, search = measure_compilation(logos), measure_search(logos)
    return write_result(
        "filters",
        {
            "logos": logos,
            "highest_p99_ms_of_all_facets": max(figures["p99_ms"] for figures in compilation["facets"].values()),
            "highest_p99_ms_of_a_compilation": max(figures["p99_ms"] for figures in compilation["filters"].values()),
            "lowest_recall_at_100": min(figures["recall_at_100"] for figures in search["shares"].values()),
            "highest_p99_ms_of_a_search": max(figures["p99_ms"] for figures in search["shares"].values()),
            "compilation": compilation,
            "search": search,
        },
    )


def measure_compilation(logos: int) -> dict[str, Any]:
    """The size of the posting lists, and for each filter the rows that pass and its times with posting lists and with SQL."""
    folder = DATA / f"filters-{logos}-{POSTINGS_LAYOUT}"
    if not folder.exists():
        _write_register(folder, logos)
    names = tuple(field.name for field in FIELDS if all((folder / name).exists() for name in file_names([field.name])))
    opening = _times(lambda: Postings(folder, names, logos), 5)
    postings = Postings(folder, names, logos)
    filters: dict[str, dict[str, float]] = {}
    facets: dict[str, dict[str, float]] = {}
    counted = [field for field in FIELDS if field.name in names and field.kind.facet]
    figures = {
        "bytes_a_logo": round(sum(path.stat().st_size for path in (folder / "postings").iterdir()) / logos, 1),
        "open_ms": round(float(np.median(opening)), 1),
        "filters": filters,
        "facets": facets,
    }
    connection = sqlite3.connect(folder / METADATA)
    facets["no filter"] = _percentiles(_times(partial(_count_all, postings, counted, None), ROUNDS))
    for name, (condition, sql) in FILTERS.items():
        mask = postings.select(condition)
        passing = np.flatnonzero(mask)
        if passing.tolist() != sorted(row for (row,) in connection.execute(sql)):
            raise ValueError(f"{name}: the rows differ from those of SQL")
        times = _times(partial(postings.select, condition), ROUNDS)
        sql_times = _times(partial(_run_sql, connection, sql), 5)
        filters[name] = {"passed": len(passing), **_percentiles(times), "sql_p50_ms": _percentiles(sql_times)["p50_ms"]}
        facets[name] = _percentiles(_times(partial(_count_all, postings, counted, mask), ROUNDS))
        print(name, json.dumps(filters[name]), "facets:", json.dumps(facets[name]), flush=True)
    connection.close()
    return figures


def _count_all(postings: Postings, fields: Iterable[RegisterField[Any]], mask: Mask | None) -> None:
    for field in fields:
        counted = postings.count_values(field, mask, most=VALUES)
        if not counted:
            raise ValueError(f"{field.name}: no values are counted")


def measure_search(logos: int) -> dict[str, Any]:
    """Recall and times of a search under filters that pass a share of the logos, and the relative cost of its two ways."""
    folder = Catalog(register_catalog(logos)).current()
    read_ahead(folder / INDEX)
    index = VectorIndex.open(folder / INDEX)
    source = HnswSource(index, None, IdentityMap(), read_manifest(folder).index.ef_search)
    samples = np.array(VectorIndex.open(Catalog(sample_catalog()).current() / INDEX).vectors)
    queries, _ = grow(samples, 10 * QUERIES, np.random.default_rng((7, logos)))
    with _one_core():
        unfiltered = [_times(partial(source.candidates, Description(query, None), K), 1)[0] for query in queries]
    shares: dict[str, dict[str, float]] = {}
    for kind in ("random", "near", "far"):
        for share in SHARES:
            name = f"{kind}, {100 * share:g} %"
            shares[name] = _measure_filters(source, queries, kind, share)
            print(name, json.dumps(shares[name]), flush=True)
    return {
        "ef_search": source.ef_search,
        "without_filter": _percentiles(unfiltered),
        "rows_scanned_for_each_unit_of_breadth": _scan_ratios(index, queries),
        "shares": shares,
    }


def _measure_filters(source: HnswSource, queries: Floats, kind: str, share: float) -> dict[str, float]:
    vectors = source.index.vectors[:]
    times: list[float] = []
    recalls: list[float] = []
    exact = 0
    for number in range(ANCHORS):
        random = np.random.default_rng((number, round(1 / share)))
        anchor = vectors[random.integers(len(vectors))]
        nearness = random.random(len(vectors)) if kind == "random" else vectors @ anchor
        allowed = IdSet.of(nearness >= np.quantile(nearness, 1 - share))
        order = np.argsort(queries @ anchor)
        chosen = queries[{"random": order[::10], "near": order[-QUERIES:], "far": order[:QUERIES]}[kind]]
        k = min(K, allowed.count)
        faiss.omp_set_num_threads(usable_cores())
        scores, _ = faiss.knn(chosen, np.ascontiguousarray(vectors[allowed.ids]), k, metric=faiss.METRIC_INNER_PRODUCT)
        with _one_core():
            for query, floor in zip(chosen, scores[:, -1] - TIE, strict=True):
                started = time.thread_time()
                candidates = source.candidates(Description(query, None), K, allowed)
                times.append(1000 * (time.thread_time() - started))
                if not allowed.mask[candidates.ids].all() or len(candidates.ids) != k:
                    raise ValueError(f"{kind}, {share}: a candidate does not pass the filter, or some are missing")
                recalls.append(float(np.count_nonzero(candidates.cosines >= floor)) / k)
                exact += candidates.exact
    return {
        "recall_at_100": round(float(np.mean(recalls)), 4),
        "worst_query": round(min(recalls), 2),
        "exact": round(exact / len(recalls), 3),
        **_percentiles(times),
    }


def _scan_ratios(index: VectorIndex, queries: Floats) -> dict[str, float]:
    """Rows that an exact search compares in the time of a graph search, for each unit of its breadth; by share of rows."""
    random = np.random.default_rng(0)
    with _one_core():
        graph = [min(_times(partial(index.search, query, BREADTH, ef_search=BREADTH), 2)) for query in queries[:50]]
        figures = {}
        for share in (0.05, 0.1, 0.2, 0.5):
            rows = np.flatnonzero(random.random(index.count) < share)
            scan = _times(partial(index.scan, queries[0], rows, K), 20)
            figures[str(share)] = round(float(np.median(graph) / BREADTH / (np.median(scan) / len(rows))), 1)
    return figures


@contextmanager
def _one_core() -> Iterator[None]:
    """Run on one core with one OpenMP thread."""
    everywhere = os.sched_getaffinity(0)
    faiss.omp_set_num_threads(1)
    os.sched_setaffinity(0, {max(everywhere)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, everywhere)


def _run_sql(connection: sqlite3.Connection, sql: str) -> list[tuple[int]]:
    return connection.execute(sql).fetchall()


def _times(call: Callable[[], object], rounds: int) -> list[float]:
    """Milliseconds of each call."""
    times = []
    for _ in range(rounds):
        started = time.thread_time()
        call()
        times.append(1000 * (time.thread_time() - started))
    return times


def _percentiles(times: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(times, (50, 99))
    return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3)}


def _write_register(folder: Path, count: int) -> None:
    """The metadata and the posting lists of a synthetic register."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    writer = PostingsWriter()

    def rows() -> Iterator[Record]:
        for record in _records(count):
            writer.add(record)
            yield record

    writer.write(partial, write_metadata(partial / METADATA, rows()))
    partial.rename(folder)


def _records(count: int) -> Iterator[Record]:
    """Synthetic metadata of a register. Words and companies follow Zipf's law; one value in twenty is missing."""
    random = np.random.default_rng(1)
    divisions = np.array([*DIVISIONS, *TAIL_DIVISIONS])
    shares = np.array([*DIVISIONS.values(), *([1.2] * len(TAIL_DIVISIONS))])
    for start in range(0, count, CHUNK):
        n = min(CHUNK, count - start)
        years = random.choice([*YEARS], size=n, p=np.array([*YEARS.values()]) / sum(YEARS.values())).tolist()
        days = random.integers(365, size=n).tolist()
        columns: dict[str, list[Any]] = {
            "status": random.choice(
                ["registered", "ended", "expired", "pending"], n, p=[0.6, 0.2, 0.15, 0.05]
            ).tolist(),
            "office": random.choice(["EM", "US", "DE", "FR", "GB"], n, p=[0.4, 0.3, 0.1, 0.1, 0.1]).tolist(),
            "mark_feature": random.choice(["combined", "figurative", "word"], n, p=[0.6, 0.35, 0.05]).tolist(),
            "office_status": [f"status {number}" for number in _zipf(random, n, OFFICE_STATUSES).tolist()],
        }
        division = random.choice(divisions, size=(n, 4), p=shares / shares.sum())
        section, classes = random.integers(1, 26, size=(n, 4)), random.integers(1, 46, size=(n, 3))
        sizes = random.integers(1, 4, size=(n, 3))
        words, company = _zipf(random, (n, 3), VOCABULARY), _zipf(random, n, COMPANIES)
        missing = random.random((n, len(FIELDS))) < 0.05
        for i in range(n):
            values = {
                "text": " ".join(f"W{word}" for word in words[i, : sizes[i, 0]]),
                "company": f"w{company[i] % VOCABULARY} w{company[i] * 7 % VOCABULARY} {SUFFIXES[company[i] % 5]}",
                "vienna_codes": tuple(sorted({f"{division[i, j]}.{section[i, j]:02}" for j in range(1 + sizes[i, 1])})),
                "nice_classes": tuple(sorted(set(classes[i, : sizes[i, 2]].tolist()))),
                "application_date": dt.date(years[i], 1, 1) + dt.timedelta(days[i]),
                "year": years[i],
                **{name: column[i] for name, column in columns.items()},
            }
            present = {name: value for (name, value), gap in zip(values.items(), missing[i], strict=False) if not gap}
            yield Record(logo_id=f"SYNTHETIC-{start + i:07}", filename=f"{start + i:07}.png", **present)


def _zipf(random: np.random.Generator, shape: Any, most: int) -> NDArray[np.int64]:  # noqa: ANN401 - a size or a shape
    """Numbers below `most`, of which each is about as frequent as its rank is small."""
    return np.asarray(np.floor(most ** random.random(shape)), np.int64) - 1


if __name__ == "__main__":
    print(json.dumps(measure(*map(int, sys.argv[1:])), indent=2))

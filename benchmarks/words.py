"""Search by words: time, memory and recall in a synthetic register, words that sound alike, and words with an image.

The register has 770,000 logos with coined words, which follow Zipf's law in texts and companies, and the marks of
`data/sounds_alike.csv`. Times are CPU time of one thread, the least of three for each query, with the index in memory. Recall
is measured against a comparison of the query with every logo, ties allowed: the share of the logos of at least a similarity, up
to 100, that a search finds. A pair is found first if no other logo stands before the mark that sounds like the query.

The second part searches the sample logos for an image and words at once, with several weights of the words, and a third of the
logos without text. The logos with the same text are right. In "redrawn, respelled", the image is another drawing of the mark
and the words have an error; in "other figure", the image is that of an unrelated logo; in "other words", the image is a copy
of the mark, the words are those of an unrelated logo, and the copied logo is right.

    python -m benchmarks.words [LOGOS]      # some ten minutes for 770,000 logos
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.machine import DATA, write_result
from benchmarks.make_register import SAMPLES, sample_catalog
from logo_similarity.build.words import WordsWriter
from logo_similarity.domain import Hit, Query
from logo_similarity.engine import SearchEngine
from logo_similarity.fields import Record
from logo_similarity.image.decode import decode
from logo_similarity.search.word_file import WORDS_LAYOUT
from logo_similarity.search.words import WordIndex

LOGOS = 770_000
RECIPE = 1
"""Incremented when the register changes."""
PAIRS = Path(__file__).parent / "data" / "sounds_alike.csv"
QUERIES, ROUNDS, COMPARED, K, CHUNK = 1_000, 3, 40, 100, 50_000
FLOORS = (0.7, 0.8, 0.9)
VOCABULARY, COMPANIES, NO_TEXT = 250_000, 300_000, 0.1
ONSETS = (
    "b br c ch cl cr d dr f fl fr g gl gr h j k kl kr l m n p ph pl pr qu r s sch sh sk sl sp st str t th tr v w wh x z"
)
VOWELS = "a a a a e e e e i i i o o o u u ai au ea ee ei eu ie oo ou y"
CODAS = "b ck d f g k l ll m mp n nd ng nt p r rd rt s ss st t x z"
SUFFIXES = ("Inc", "Ltd", "GmbH", "S.A.", "Corp", "Co., Ltd.")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
FUSED = 100
"""Queries of each kind."""


def measure(logos: int = LOGOS) -> dict[str, object]:
    """Measure both parts."""
    return write_result("words", {**measure_index(logos), "fusion": measure_fusion()})


def measure_index(logos: int) -> dict[str, object]:
    """Size, times and recall of the index, and the ranks of the marks that sound like a query."""
    path = DATA / f"words-{logos}-{RECIPE}-{WORDS_LAYOUT}.index"
    with PAIRS.open(encoding="utf8") as file:
        pairs = list(csv.DictReader(file))
    marks = list(dict.fromkeys(pair["mark"] for pair in pairs))
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = WordsWriter()
        for text, company in (*((mark, None) for mark in marks), *_names(logos - len(marks))):
            writer.add(Record(logo_id="", filename="", text=text, company=company))
        writer.write(path)
    started = time.perf_counter()
    index = WordIndex.open(path, logos)
    opening = time.perf_counter() - started
    queries = list(_misspelled(logos - len(marks)))
    for query in queries[:20]:
        index.search(query, K)
    return {
        "logos": logos,
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "opening_ms": round(1000 * opening, 1),
        **_measure_times(index, queries),
        "recall": _measure_recall(index, queries[:COMPARED], logos),
        "sounds_alike": _measure_pairs(index, pairs, marks),
    }


def _measure_times(index: WordIndex, queries: Sequence[str]) -> dict[str, object]:
    times = defaultdict(list)
    for query in queries:
        times[len(query.split())].append(min(_time(index, query) for _ in range(ROUNDS)))
    every = [one for times_of_size in times.values() for one in times_of_size]
    by_size = {str(size): _percentiles(times[size]) for size in sorted(times)}
    return {**_percentiles(every), "by_words_of_the_query": by_size}


def _time(index: WordIndex, query: str) -> float:
    started = time.thread_time()
    index.search(query, K)
    return 1000 * (time.thread_time() - started)


def _measure_recall(index: WordIndex, queries: Sequence[str], logos: int) -> dict[str, object]:
    found: dict[float, list[int]] = {floor: [] for floor in FLOORS}
    right: dict[float, list[int]] = {floor: [] for floor in FLOORS}
    for query in queries:
        chunks = (np.arange(start, min(start + CHUNK, logos)) for start in range(0, logos, CHUNK))
        exact = np.sort(np.concatenate([index.compare(query, rows).similarities for rows in chunks]))[::-1][:K]
        similarities = index.search(query, K).similarities
        for floor in FLOORS:
            right[floor].append(int(np.count_nonzero(exact >= floor)))
            found[floor].append(min(right[floor][-1], int(np.count_nonzero(similarities >= floor - 1e-6))))
    return {
        f"similarity of {floor} and more": {
            "logos": sum(right[floor]),
            "found": round(sum(found[floor]) / max(sum(right[floor]), 1), 4),
        }
        for floor in FLOORS
    }


def _measure_pairs(index: WordIndex, pairs: Sequence[dict[str, str]], marks: Sequence[str]) -> dict[str, object]:
    row_of = {mark: row for row, mark in enumerate(marks)}
    ranks = defaultdict(list)
    for pair in pairs:
        rows = index.search(pair["query"], K).rows.tolist()
        row = row_of[pair["mark"]]
        rank = rows.index(row) if row in rows else K
        for group in ("all", pair["language"], pair["origin"]):
            ranks[group].append(rank)
    return {
        group: {
            "pairs": len(places),
            "r_at_1": round(float(np.mean(np.array(places) < 1)), 3),
            "r_at_10": round(float(np.mean(np.array(places) < 10)), 3),
        }
        for group, places in ranks.items()
    }


def measure_fusion() -> dict[str, object]:
    """Figures of each kind of query with an image and words, by the weight of the words."""
    with SearchEngine.open(sample_catalog()) as samples:
        records = [logo.record for logo in samples.metadata.fetch(list(range(samples.manifest.count)))]
        random = np.random.default_rng(RECIPE)
        silent = random.random(len(records)) < 1 / 3
        writer = WordsWriter()
        for record, no_text in zip(records, silent, strict=True):
            writer.add(replace(record, text=None) if no_text else record)
        engine = replace(samples, logos=replace(samples.logos, words=WordIndex(writer.arrays())))
        rows_of = defaultdict(list)
        for row, record in enumerate(records):
            rows_of[(record.text or "").casefold()].append(row)
        drawn = [rows for text, rows in rows_of.items() if text and len(rows) > 1]
        queries: dict[str, list[tuple[bytes, str, set[int]]]] = defaultdict(list)
        for _ in range(FUSED):
            rows = drawn[random.integers(len(drawn))]
            row, other = int(random.choice(rows)), int(random.integers(len(records)))
            image, unrelated = ((SAMPLES / "images" / records[number].filename).read_bytes() for number in (row, other))
            text, other_text = records[row].text or "", records[other].text or ""
            rest = set(rows) - {row}
            queries["redrawn, same words"].append((image, text, rest))
            queries["redrawn, respelled"].append((image, _misspell(text, random), rest))
            queries["other figure"].append((unrelated, text, {one for one in rows if not silent[one]} - {other}))
            queries["other words"].append((_copy(image), other_text, {row}))
        figures: dict[str, dict[str, float]] = {}
        for weight in WEIGHTS:
            of_weight = {kind: _recall(engine, asked, weight) for kind, asked in queries.items()}
            figures[str(weight)] = {**of_weight, "mean": round(float(np.mean(list(of_weight.values()))), 4)}
            print(weight, json.dumps(figures[str(weight)]), flush=True)
        return {"logos": len(records), "r_at_10_by_weight": figures}


def _recall(engine: SearchEngine, queries: Sequence[tuple[bytes, str, set[int]]], weight: float) -> float:
    """Mean share of the right logos among the first ten, of ten at most. The query's own logo does not count."""
    shares = []
    for image, words, right in queries:
        if right:
            hits: Sequence[Hit] = engine.search(Query(image=image, words=words, word_weight=weight, top_k=11)).hits
            found = {hit.logo.id for hit in hits[:11]} & right
            shares.append(min(len(found), 10) / min(len(right), 10))
    return round(float(np.mean(shares)), 4)


def _copy(image: bytes) -> bytes:
    """The image at 70 % of its size, as JPEG 50."""
    pixels = cv2.resize(decode(image), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", pixels[:, :, ::-1], (cv2.IMWRITE_JPEG_QUALITY, 50))[1].tobytes())


def _vocabulary() -> list[str]:
    random = np.random.default_rng(RECIPE)
    onsets, vowels, codas = ONSETS.split(), VOWELS.split(), CODAS.split()
    sizes = random.choice([1, 2, 3, 4], size=VOCABULARY, p=(0.15, 0.45, 0.3, 0.1))
    picks = random.integers(1 << 30, size=(VOCABULARY, 4, 3))
    closed = random.random((VOCABULARY, 4)) < 0.5
    return [
        "".join(
            onsets[a % len(onsets)] + vowels[b % len(vowels)] + (codas[c % len(codas)] if closed[word, place] else "")
            for place, (a, b, c) in enumerate(picks[word, : sizes[word]].tolist())
        )
        for word in range(VOCABULARY)
    ]


def _names(count: int) -> Iterator[tuple[str | None, str]]:
    """Texts and companies: a text is a coined word and up to two frequent ones."""
    random = np.random.default_rng((RECIPE, count))
    vocabulary = _vocabulary()
    frequent, new = _zipf(random, (count, 2), VOCABULARY), random.integers(VOCABULARY, size=count)
    sizes, companies = random.choice(3, size=count, p=(0.5, 0.35, 0.15)), _zipf(random, (count,), COMPANIES)
    silent = random.random(count) < NO_TEXT
    for row in range(count):
        words = [vocabulary[number] for number in (new[row], *frequent[row, : sizes[row]])]
        company = int(companies[row])
        owner = (
            f"{vocabulary[company * 7919 % VOCABULARY]} {vocabulary[company % 97]} {SUFFIXES[company % len(SUFFIXES)]}"
        )
        yield None if silent[row] else " ".join(words), owner


def _misspelled(count: int) -> Iterator[str]:
    """Queries of one to four words: half of them misspelled, half frequent words."""
    random = np.random.default_rng((RECIPE, count, 1))
    vocabulary = _vocabulary()
    for size in random.choice([1, 2, 3, 4], size=QUERIES, p=(0.5, 0.3, 0.15, 0.05)).tolist():
        frequent = [vocabulary[number] for number in _zipf(random, (size,), VOCABULARY)]
        coined = [_misspell(vocabulary[number], random) for number in random.integers(VOCABULARY, size=size)]
        yield " ".join(np.where(random.random(size) < 0.5, frequent, coined).tolist())


def _misspell(word: str, random: np.random.Generator) -> str:
    """The word with a letter left out, added or replaced, or with two letters exchanged."""
    place, letter = int(random.integers(len(word))), LETTERS[random.integers(len(LETTERS))]
    before, here, after = word[:place], word[place], word[place + 1 :]
    changes: Sequence[Callable[[], str]] = (
        lambda: before + after if len(word) > 2 else word + letter,
        lambda: before + letter + here + after,
        lambda: before + letter + after,
        lambda: before + after[:1] + here + after[1:],
    )
    return changes[int(random.integers(len(changes)))]()


def _zipf(
    random: np.random.Generator, shape: tuple[int, ...], most: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Numbers below `most`, of which each is about as frequent as its rank is small."""
    return np.asarray(np.floor(most ** random.random(shape)), np.int64) - 1


def _percentiles(times: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.percentile(times, (50, 99))
    return {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}


if __name__ == "__main__":
    print(json.dumps(measure(*map(int, sys.argv[1:])), indent=2))

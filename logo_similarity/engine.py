"""The search engine: a query in, hits out. The only module that knows both the files of a catalog and the search."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from logo_similarity.catalog.manifest import (
    INDEX,
    MANIFEST,
    METADATA,
    MODEL_FOLDER,
    PATCHES,
    ROW_MAP,
    WORDS,
    Manifest,
    check_sizes,
    read_manifest,
)
from logo_similarity.catalog.metadata import Metadata
from logo_similarity.catalog.postings import Postings, file_names
from logo_similarity.catalog.versions import Catalog
from logo_similarity.description import WHOLE_BOX, Description, Parts, Place
from logo_similarity.domain import (
    MOST_SHOWN,
    STAGES,
    CellMatch,
    Explanation,
    Facets,
    Hit,
    Logo,
    LogoPage,
    Matched,
    PartsMode,
    Query,
    RegionMatch,
    SearchResult,
    Timings,
    ValueCount,
)
from logo_similarity.embed.describe import Floats, describe, describe_parts, describe_turned, within
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.text import thread_reader
from logo_similarity.errors import CatalogError, InvalidRequestError, NotFoundError
from logo_similarity.field_kinds import Codes, as_json
from logo_similarity.fields import RegisterField, select_fields
from logo_similarity.filters import Filter, find_field
from logo_similarity.image.adjust import adjust
from logo_similarity.image.contained import Decoder
from logo_similarity.image.decode import ImageLimits
from logo_similarity.opening import (
    check_preprocessing,
    open_parts,
    open_patches,
    open_places,
    open_row_map,
    trial_image,
)
from logo_similarity.search.candidates import Candidates, CandidateSource, Ids, IdSet, Mask, merge
from logo_similarity.search.evidence import ImageEvidence
from logo_similarity.search.expect import Tail
from logo_similarity.search.explain import as_box, match_regions, place_cells
from logo_similarity.search.fusion import further_candidates, fuse
from logo_similarity.search.hnsw import HnswSource, VectorIndex
from logo_similarity.search.part_index import PartIndex, PartPool, WholePool
from logo_similarity.search.parts import (
    DIMENSIONS,
    MOST_EXPECTED,
    WHOLE,
    Comparison,
    PartMatches,
    Pool,
    match_parts,
    shorten,
)
from logo_similarity.search.propose import propose_codes
from logo_similarity.search.rows import FilteredMap
from logo_similarity.search.score import RERANKED, score
from logo_similarity.search.sounds import fold
from logo_similarity.search.word_fusion import fuse_words, limit_identical, places_of
from logo_similarity.search.words import WordIndex

IDENTICAL_RESERVE = 3
"""Candidates of a search for words alone, for each hit."""


@dataclass(frozen=True, slots=True)
class SearchEngine:
    """One opened catalog version with its encoder. Safe to use from many threads at once.

    >>> with SearchEngine.open(Path("catalogs")) as engine:
    ...     result = engine.search(Query(image=Path("logo.png").read_bytes(), top_k=10))
    """

    version: str
    manifest: Manifest
    encoder: Encoder
    base: HnswSource
    """The catalog's own index and patches."""
    sources: tuple[CandidateSource, ...]
    """Every source that is searched; the ids of their candidates are vectors of `base.row_map`."""
    parts: PartIndex | None
    """The parts of the images of `base`; None: no image has any, or they are not known."""
    places: Floats | None
    """(vectors, 5) float32, mapped: an `embed.describe.Place` for each vector; None: not known."""
    metadata: Metadata
    postings: Postings | None
    """None: the catalog cannot filter, because an earlier version of this software built it."""
    words: WordIndex | None
    """None: the catalog cannot be searched by words, for the same reason."""
    decoder: Decoder

    @classmethod
    def open(
        cls,
        catalogs: Path | str,
        *,
        version: str | None = None,
        device: str = "auto",
        limits: ImageLimits | None = None,
    ) -> Self:
        """Open a catalog version and warm it up. The files are mapped into memory, not read.

        Args:
            catalogs: folder of the versions.
            version: name of the version; None: the live one.
            device: where the encoder runs: "auto", "cpu" or "cuda".
            limits: limits on the images of queries.

        Raises:
            CatalogError: no version is live, or file sizes, headers or a search show damage. `check` searches for more
                rows, and `catalog.manifest.verify` reads every byte.
            EncoderError: the encoder cannot be used on this machine.
            NotFoundError: no version has that name.
        """
        folders = Catalog(Path(catalogs))
        folder = folders.current() if version is None else folders.folder(version)
        manifest = read_manifest(folder)
        check_sizes(folder, manifest)
        check_preprocessing(folder, manifest)
        encoder = Encoder.open(folder / MODEL_FOLDER, device=device, threads=1)
        index = VectorIndex.open(folder / INDEX)
        metadata = Metadata(folder / METADATA)
        patches = open_patches(folder, encoder) if PATCHES in manifest.files and encoder.has_patches else None
        logos = {MANIFEST: manifest.count, METADATA: metadata.count()}
        images = {MANIFEST: manifest.distinct_images, INDEX: index.count}
        if patches is not None:
            images[PATCHES] = len(patches)
        for what, counts in (("logos", logos), ("distinct images", images)):
            if len(set(counts.values())) > 1:
                raise CatalogError(f"{folder}: damaged: its files have different numbers of {what}: {counts}")
        if not manifest.dimension == index.dimension == encoder.dimension:
            raise CatalogError(f"{folder}: damaged: its encoder and its index have different numbers of dimensions")
        if encoder.model.sha256 != manifest.encoder.sha256:
            raise CatalogError(f"{folder / MODEL_FOLDER}: not the encoder that computed the embeddings")
        if index.edges != manifest.index.m:
            raise CatalogError(
                f"{folder}: damaged: its index has {index.edges} edges per node, its manifest says {manifest.index.m}"
            )
        complete = file_names(manifest.filter_fields) <= manifest.files.keys()
        postings = Postings(folder, manifest.filter_fields, manifest.count) if complete else None
        row_map = open_row_map(folder, ROW_MAP, manifest.count, manifest.distinct_images)
        base = HnswSource(index, patches, row_map, manifest.index.ef_search)
        parts, places = open_parts(folder, manifest), open_places(folder, manifest)
        words = WordIndex.open(folder / WORDS, manifest.count) if WORDS in manifest.files else None
        decoder = Decoder(limits or ImageLimits())
        engine = cls(folder.name, manifest, encoder, base, (base,), parts, places, metadata, postings, words, decoder)
        engine.check((manifest.count // 2,))
        return engine

    def check(self, rows: Sequence[int]) -> None:
        """Search for a test image and for these rows of the catalog. The first search also warms up the encoder.

        Raises:
            CatalogError: the embedding, the patches, the words or the metadata of a row are damaged.
            EncoderError: the output of the model is not an embedding.
        """
        hits = self.search(Query(image=trial_image())).hits
        if not hits or not all(math.isfinite(hit.score) for hit in hits):
            raise CatalogError(f"{self.version}: damaged: a search for a test image has no valid results")
        vectors = self.base.row_map.vector_of(np.asarray(rows)).tolist()
        self.base.index.check(vectors, ef_search=self.base.ef_search)
        if self.parts is not None:
            entries = [row * self.parts.index.count // self.manifest.count for row in rows]
            self.parts.index.check(entries, ef_search=self.parts.ef_search)
        for row, vector, logo in zip(rows, vectors, self.metadata.fetch(rows), strict=True):
            try:
                _ = logo.record
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise CatalogError(f"{self.version}: damaged: the metadata of row {row} cannot be read") from None
            description = self.base.description(vector)
            if not np.isfinite(self._score(description, self._candidates(description, RERANKED))).all():
                raise CatalogError(f"{self.version}: damaged: row {row} has scores that are not finite")
            words = " ".join(fold(logo.record.text or ""))
            if self.words is not None and words and not (self.words.search(words, 1).similarities > 0.999).any():
                raise CatalogError(f"{self.version}: damaged: a search for the words of row {row} does not find them")

    def search(self, query: Query) -> SearchResult:
        """The logos most similar to the query's image or words, or to both, best first.

        Raises:
            BadImageError: the image is refused (see its subclasses).
            InvalidRequestError: the image is an array of the wrong shape or dtype, the words have no letter or digit,
                or the catalog cannot re-rank, filter or search for words, or the words in the image cannot be read.
        """
        clock = _Clock()
        pictures, words = self._describe(query, clock)
        passing = None if query.filter is None else self._passing(query.filter)
        left_out = np.array([*query.shown, *self._rows(query.logo_id)], np.int64)
        most = query.top_k + len(left_out)
        if not pictures or words is not None:
            answer = self._search_words(query, pictures, words or "", passing, left_out, clock)
        else:
            answer = self._search_images(query, pictures, passing, left_out, clock)
        passed = None if passing is None else int(np.count_nonzero(passing))
        remaining = min(MOST_SHOWN, self.manifest.count if passed is None else passed) - most
        shown = (*left_out.tolist(), *(hit.logo.id for hit in answer.hits))
        return SearchResult(
            hits=answer.hits,
            reranked=any(picture.patches is not None for picture in pictures),
            parts=any(picture.parts is not None for picture in pictures),
            version=self.version,
            timings=Timings(**{**dict.fromkeys(STAGES, 0.0), **clock.stages}),
            exact=answer.exact,
            passed=passed,
            pictures=pictures,
            proposed=propose_codes(answer.hits, self.manifest.fields) if query.propose else None,
            next=_next_page(query, pictures, words, shown)
            if len(answer.hits) == query.top_k and remaining > 0
            else None,
            words=words,
        )

    def explain(self, query: Query, logo_id: str) -> Explanation:
        """Why a logo is a hit of a query, or is none. The query's filter and the bounds of its answer do not count.

        Raises:
            BadImageError, InvalidRequestError: as `search`.
            NotFoundError: the catalog does not contain the logo.
        """
        logo = self.metadata.find(logo_id)
        if logo is None:
            raise NotFoundError(f"no logo has the id {logo_id!r}")
        clock = _Clock()
        pictures, _ = self._describe(query, clock)
        if not pictures:
            raise InvalidRequestError(
                "a hit is explained with an image, or the id of a logo; give the query one of them"
            )
        vectors = self.base.row_map.vector_of(np.array([logo.id]))
        images = self._compare(query, pictures, None, 1, clock, vectors)
        images = images.at(np.flatnonzero(images.ids == vectors))
        place, vector = int(images.pictures[0]), int(vectors[0])
        hit = Hit(
            score=float(images.scores[0]),
            cosine=float(images.cosines[0]),
            logo=logo,
            copies=int(self.base.row_map.copies_of(vectors)[0]),
            expect=None if images.expects is None else float(images.expects[0]),
            matched=next(self._regions(pictures, images)),
            picture=place,
        )
        picture = pictures[place]
        return Explanation(hit, self._matched_regions(picture, vector), self._matched_cells(picture, vector))

    def facets(
        self,
        condition: Filter | None = None,
        fields: Collection[str] | None = None,
        *,
        under: str | None = None,
        most: int = 50,
    ) -> Facets:
        """How many of the logos that pass a filter have each value of some fields, the most frequent values of each.

        Args:
            condition: the filter; None: all logos.
            fields: names of fields; None: every field of the catalog whose values many logos share.
            under: of fields of codes, count the codes one level below this one; None: those of the highest level.
            most: maximum number of values of each field.

        Raises:
            InvalidRequestError: the catalog does not have a field, or its values are not counted; `under` is not a code;
                or the catalog cannot filter.
        """
        passing = None if condition is None else self._passing(condition)
        known = {field.name: field for field in select_fields(self.manifest.filter_fields) if field.kind.facet}
        chosen = list(known) if fields is None else [find_field(name).name for name in fields]
        for name in chosen:
            if name not in known:
                raise InvalidRequestError(
                    f"the values of {name} are not counted in this catalog; those of {', '.join(known) or 'no field'} are"
                )
        counts = {}
        for name in chosen:
            field = known[name]
            parent = None if under is None or not isinstance(field.kind, Codes) else _code(field, under)
            values = self._postings().count_values(field, passing, under=parent, most=most)
            counts[name] = tuple(ValueCount(as_json(value), count) for value, count in values)
        return Facets(self.manifest.count if passing is None else int(np.count_nonzero(passing)), counts)

    def browse(self, condition: Filter | None = None, *, start: int = 0, limit: int = 100) -> LogoPage:
        """The logos that pass a filter, in the order of the catalog, from row `start` on.

        Raises:
            InvalidRequestError: the catalog does not have a field of the filter, or cannot filter.
        """
        if condition is None:
            passed, rows = self.manifest.count, np.arange(start, min(start + limit + 1, self.manifest.count))
        else:
            passing = self._passing(condition)
            passed, rows = int(np.count_nonzero(passing)), np.flatnonzero(passing[start:])[: limit + 1] + start
        logos = self.metadata.fetch(rows[:limit].tolist())
        return LogoPage(tuple(logos), passed, int(rows[limit]) if len(rows) > limit else None)

    @property
    def part_dimensions(self) -> frozenset[int]:
        """Numbers of dimensions that the embedding of a part may have: a stored one is shorter."""
        return frozenset({self.manifest.dimension, min(DIMENSIONS, self.manifest.dimension)})

    def logo(self, logo_id: str) -> Logo | None:
        """The logo with this public id; None if the catalog does not contain it."""
        return self.metadata.find(logo_id)

    def close(self) -> None:
        """Close the database connections and stop the decoder processes. Files are unmapped with the last reference."""
        self.metadata.close()
        self.decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _describe(self, query: Query, clock: _Clock) -> tuple[tuple[Description, ...], str | None]:
        """The descriptions of the query's pictures, with what is to be compared; and the words to search for.

        The words are those of the query, or read in its first image.
        """
        if query.described:
            return query.described, query.words
        if query.logo_id is not None:
            return (self._description_of(query.logo_id, query),), query.words
        pictures, words = [], query.words
        for image in () if query.image is None else (query.image, *query.more_images):
            damage: list[str] = []
            decoded = self.decoder.decode(image, damage.append) if isinstance(image, bytes) else _check_pixels(image)
            pixels = adjust(decoded, crop=query.crop_box, invert=query.invert, greyscale=query.greyscale)
            clock.lap("decode")
            description = describe(pixels, self.encoder, clock.lap)
            if not self._reranks(query):
                description = replace(description, patches=None)
            if self._compares_parts(query):
                description = replace(description, parts=describe_parts(pixels, self.encoder))
            description = description if query.crop_box is None else within(description, query.crop_box)
            pictures.append(replace(description, damage=next(iter(damage), None)))
            if query.turned:
                turns = describe_turned(pixels, self.encoder)
                pictures += turns if self._reranks(query) else [replace(turn, patches=None) for turn in turns]
            clock.lap("parts")
            if words is None and query.read_words and image is query.image:
                text = thread_reader().read(pixels)
                words = text if text is not None and fold(text) else None
        return tuple(pictures), words

    def _description_of(self, logo_id: str, query: Query) -> Description:
        """The stored description of a logo of the catalog, with what is to be compared."""
        (row,) = self._rows(logo_id)
        vector = int(self.base.row_map.vector_of(np.array([row]))[0])
        description = replace(self.base.description(vector), place=self._place(vector))
        if not self._reranks(query):
            description = replace(description, patches=None)
        if self._compares_parts(query):
            description = replace(description, parts=self._stored_parts(vector))
        return description

    def _rows(self, logo_id: str | None) -> tuple[int, ...]:
        """The row of a logo; none for None. Raises NotFoundError if the catalog does not contain the logo."""
        if logo_id is None:
            return ()
        logo = self.metadata.find(logo_id)
        if logo is None:
            raise NotFoundError(f"no logo has the id {logo_id!r}")
        return (logo.id,)

    def _compare(
        self,
        query: Query,
        pictures: Sequence[Description],
        passing: Mask | None,
        most: int,
        clock: _Clock,
        further: Ids = np.empty(0, np.int64),  # noqa: B008 - never changed
    ) -> ImageEvidence:
        """The evidence of the images nearest to the pictures, of those whose parts are, and of `further` vectors."""
        allowed = None if passing is None else IdSet.of(self.base.row_map.vectors_with(passing))
        return ImageEvidence.best_of(
            [self._compare_picture(query, picture, allowed, most, clock, further) for picture in pictures]
        )

    def _compare_picture(
        self, query: Query, description: Description, allowed: IdSet | None, most: int, clock: _Clock, further: Ids
    ) -> ImageEvidence:
        candidates = self._candidates(description, max(most, RERANKED), allowed)
        # What a logo shares with the whole catalog does not depend on the filter, and neither does its score.
        nearest = candidates if allowed is None else self._candidates(description, RERANKED)
        matches = None if description.parts is None else self._match_parts(description, allowed)
        clock.lap("search")
        ids, cosines = candidates.ids, candidates.cosines
        scores = self._score(description, candidates, nearest)
        tail = Tail.fit(
            _descending(scores[:RERANKED] if nearest is candidates else self._score(description, nearest, nearest))
        )
        further = np.setdiff1d(further, ids)
        if tail is not None and matches is not None:
            further = np.union1d(further, further_candidates(matches, ids, most, MOST_EXPECTED))
        if len(further):
            others = self.base.compare(description, further)
            ids, cosines = np.concatenate([ids, others.ids]), np.concatenate([cosines, others.cosines])
            scores = np.concatenate([scores, self._score(description, others, nearest)])
        log_expects, matched = -scores if tail is None else tail.log_expect(scores), np.full(len(ids), -1)
        if tail is not None and matches is not None:
            counted = np.full_like(scores, -np.inf) if query.parts is PartsMode.ONLY else scores
            log_expects, matched = fuse(ids, counted, tail, matches)
        equal = scores if tail is None else np.where(matched < 0, scores, np.clip(tail.similarity(log_expects), -1, 1))
        clock.lap("rerank")
        return ImageEvidence(
            ids=ids,
            scores=scores,
            cosines=cosines,
            log_expects=log_expects,
            equal=equal,
            matched=matched,
            pictures=np.zeros(len(ids), np.int64),
            matches=(matches,),
            exact=candidates.exact,
            logos=None if tail is None else self.manifest.count,
        )

    def _search_images(
        self, query: Query, pictures: Sequence[Description], passing: Mask | None, left_out: Ids, clock: _Clock
    ) -> _Answer:
        """The best hits of a query for pictures, but for the rows that are left out."""
        most = query.top_k + len(left_out)
        images = self._compare(query, pictures, passing, most, clock)
        best = np.lexsort((images.ids, -images.scores, images.log_expects))
        best = best[images.meets(query)[best]]
        if query.min_score is not None:
            best = best[images.scores[best] >= query.min_score]
        best = best[:most]
        row_map = self.base.row_map if passing is None else FilteredMap(self.base.row_map, passing)
        vectors = images.ids[best]
        rows, positions = row_map.rows_of(vectors, query.max_identical)
        kept = np.flatnonzero(~np.isin(rows, left_out))[: query.top_k]
        rows, positions = rows[kept], positions[kept]
        copies, images = row_map.copies_of(vectors)[positions], images.at(best[positions])
        clock.lap("rerank")
        hits = map(
            Hit,
            images.scores.tolist(),
            images.cosines.tolist(),
            self.metadata.fetch(rows.tolist()),
            copies.tolist(),
            repeat(None) if images.expects is None else images.expects.tolist(),
            self._regions(pictures, images),
            images.pictures.tolist(),
        )
        answer = _Answer(tuple(hits), images.exact)
        clock.lap("metadata")
        return answer

    def _search_words(
        self,
        query: Query,
        pictures: Sequence[Description],
        words: str,
        passing: Mask | None,
        left_out: Ids,
        clock: _Clock,
    ) -> _Answer:
        """The best hits of a query for words, alone or with pictures, but for the rows that are left out."""
        if self.words is None:
            raise InvalidRequestError(
                "this catalog cannot be searched by words: it was built by an earlier version of this software; build it "
                "again"
            )
        row_map = self.base.row_map if passing is None else FilteredMap(self.base.row_map, passing)
        most = query.top_k + len(left_out)
        limit = max(most, RERANKED)
        images = None
        if not pictures:
            # More than are returned, since some may have identical images and words.
            matches = self.words.search(words, limit * IDENTICAL_RESERVE, passing)
            clock.lap("search")
            vectors, scores = row_map.vector_of(matches.rows), matches.similarities
        else:
            rows = self.words.search(words, limit, passing).rows
            # The image of a logo with similar words is compared, too, and the words of a logo with a similar image.
            images = self._compare(query, pictures, passing, most, clock, row_map.vector_of(rows))
            best = images.ids[np.lexsort((images.ids, -images.equal))]
            similar = row_map.rows_of(best, query.max_identical)[0][:limit]
            matches = self.words.compare(words, np.union1d(similar, rows))
            vectors = row_map.vector_of(matches.rows)
            images = images.at(places_of(images.ids, vectors))
            scores = fuse_words(images.equal, matches, query.word_weight)
        order = np.lexsort((matches.rows, -scores))
        if images is not None:
            order = order[images.meets(query)[order]]
        if query.min_score is not None:
            order = order[scores[order] >= query.min_score]
        order = order[limit_identical(vectors[order], matches.similarities[order], query.max_identical)]
        order = order[~np.isin(matches.rows[order], left_out)][: query.top_k]
        clock.lap("rerank")
        hits = [
            Hit(
                score=float(scores[place]),
                cosine=None,
                logo=logo,
                copies=copies,
                word_similarity=matches.similarity_of(place),
                word_field=matches.field_of(place),
            )
            for place, logo, copies in zip(
                order.tolist(),
                self.metadata.fetch(matches.rows[order].tolist()),
                row_map.copies_of(vectors[order]).tolist(),
                strict=True,
            )
        ]
        if images is not None:
            images = images.at(order)
            expects = repeat(None) if images.expects is None else images.expects.tolist()
            hits = [
                hit._replace(cosine=cosine, expect=expect, matched=matched, picture=picture, image_score=equal)
                for hit, cosine, expect, matched, picture, equal in zip(
                    hits,
                    images.cosines.tolist(),
                    expects,
                    self._regions(pictures, images),
                    images.pictures.tolist(),
                    images.equal.tolist(),
                    strict=False,  # `repeat` has no end
                )
            ]
        clock.lap("metadata")
        return _Answer(tuple(hits), exact=False)

    def _matched_regions(self, description: Description, vector: int) -> tuple[RegionMatch, ...]:
        own = description.parts
        if own is None:
            return ()
        parts, whole = self._stored_parts(vector), self.base.index.vectors[vector]
        ours, theirs = (
            np.concatenate([shorten(embedding[np.newaxis]), shorten(regions.embeddings)])
            for embedding, regions in ((description.embedding, own), (whole, parts))
        )
        return match_regions(
            ours, [description.box, *map(as_box, own.boxes)], theirs, [WHOLE_BOX, *map(as_box, parts.boxes)]
        )

    def _stored_parts(self, vector: int) -> Parts:
        """The parts of the logos with one vector; their embeddings have `DIMENSIONS` dimensions."""
        if self.parts is None:
            return Parts(np.empty((0, DIMENSIONS), np.float32), np.empty((0, 4), np.float32))
        first, last = self.parts.offsets[vector : vector + 2].tolist()
        entries = self.parts.row_map.vector_of(np.arange(first, last))
        boxes = [self.parts.box(vector, part) for part in range(last - first)]
        return Parts(self.parts.index.vectors[entries], np.array(boxes, np.float32).reshape(-1, 4))

    def _place(self, vector: int) -> Place | None:
        """Where the encoder looked in the picture of the logos with one vector; None: not known."""
        if self.places is None:
            return None
        place = Place(*self.places[vector].tolist())
        # Opening a catalog does not read all places. NaN compares false.
        if not (
            0 <= place.left < place.right <= 1 and 0 <= place.top < place.bottom <= 1 and 0 < place.aspect < math.inf
        ):
            raise CatalogError(f"{self.version}: damaged: the place of image {vector} is not in its picture")
        return place

    def _matched_cells(self, description: Description, vector: int) -> tuple[CellMatch, ...]:
        own, others, place = description.patches, self.base.patches, self._place(vector)
        if own is None or others is None or description.place is None or place is None:
            return ()
        return place_cells(own, description.place, others[vector], place, self.encoder.model.input_spec)

    def _reranks(self, query: Query) -> bool:
        """Whether the candidates of a query are re-ranked."""
        possible = self.base.patches is not None
        if query.rerank and not possible:
            raise InvalidRequestError(
                "this catalog cannot re-rank: its encoder has no patches, or it was built from embeddings alone"
            )
        return possible and query.rerank is not False

    def _compares_parts(self, query: Query) -> bool:
        """Whether the parts of a query are compared."""
        possible = self.manifest.parts is not None
        if query.parts is PartsMode.ONLY and not possible:
            raise InvalidRequestError("this catalog cannot compare parts: it was built from embeddings alone")
        return possible and query.parts is not PartsMode.OFF

    def _match_parts(self, description: Description, allowed: IdSet | None) -> PartMatches:
        """The matches of a query's parts with allowed logos. How surprising they are does not depend on the filter."""
        everywhere: list[Pool] = [WholePool(self.base.index)]
        pools: list[Pool] = [WholePool(self.base.index, allowed)]
        if self.parts is not None:
            everywhere.append(PartPool.of(self.parts))
            pools.append(PartPool.of(self.parts, allowed))
        if allowed is None:
            pools = everywhere
        return match_parts(description, *map(Comparison, pools, everywhere))

    def _regions(self, pictures: Sequence[Description], images: ImageEvidence) -> Iterator[Matched | None]:
        """The regions that matched in each image."""
        for vector, row, picture in zip(
            images.ids.tolist(), images.matched.tolist(), images.pictures.tolist(), strict=True
        ):
            yield self._matched(pictures[picture], images.matches[picture], vector, row)

    def _matched(self, description: Description, matches: PartMatches | None, vector: int, row: int) -> Matched | None:
        """The regions of a match, by its row; None if the row is -1."""
        if matches is None or description.parts is None or row < 0:
            return None
        query_part, part = int(matches.query_parts[row]), int(matches.parts[row])
        query_box = description.box if query_part == WHOLE else as_box(description.parts.boxes[query_part])
        hit_box = WHOLE_BOX if self.parts is None or part == WHOLE else self.parts.box(vector, part)
        return Matched(query_box, hit_box)

    def _passing(self, condition: Filter) -> Mask:
        """For each row, whether it passes a filter."""
        for part in condition.conditions():
            if part.field not in self.manifest.filter_fields:
                fields = ", ".join(self.manifest.filter_fields) or "no fields"
                raise InvalidRequestError(f"this catalog has no {part.field} to filter by; it has {fields}")
        return self._postings().select(condition)

    def _postings(self) -> Postings:
        if self.postings is None:
            raise InvalidRequestError(
                "this catalog cannot filter: it was built by an earlier version of this software; build it again"
            )
        return self.postings

    def _candidates(self, description: Description, k: int, allowed: IdSet | None = None) -> Candidates:
        return merge([source.candidates(description, k, allowed) for source in self.sources], k)

    def _score(self, description: Description, candidates: Candidates, nearest: Candidates | None = None) -> Floats:
        return score(description, candidates, self.encoder.model.rerank_weight, nearest)


@dataclass(frozen=True, slots=True)
class _Answer:
    hits: tuple[Hit, ...]
    exact: bool
    """As `SearchResult.exact`."""


def _next_page(query: Query, pictures: tuple[Description, ...], words: str | None, shown: tuple[int, ...]) -> Query:
    """The query of the page after these rows. It needs no image."""
    return replace(
        query,
        image=None,
        more_images=(),
        logo_id=None,
        crop=None,
        invert=False,
        greyscale=False,
        turned=False,
        read_words=False,
        propose=False,
        described=pictures,
        words=words,
        shown=shown,
        top_k=min(query.top_k, MOST_SHOWN - len(shown)),
    )


def _code(field: RegisterField[Any], text: str) -> str:
    """The code in its normalised form. Raises InvalidRequestError if it is not one."""
    try:
        (code,) = field.kind.parse_items(text)
    except ValueError:
        raise InvalidRequestError(f"{text!r:.100} is not a code of {field.name}; {field.example[0]!r} is one") from None
    return str(code)


def _check_pixels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The array, contiguous. Raises InvalidRequestError if it is not (h, w, 3) uint8, or is empty."""
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3):
        raise InvalidRequestError(
            "the image must be the content of a file, or an RGB array of shape (h, w, 3) and dtype uint8"
        )
    if image.size == 0:
        raise InvalidRequestError("the image has no pixels")
    return np.ascontiguousarray(image)


class _Clock:
    """Measures the time of each stage in milliseconds."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Record the end of a stage, which may have come before."""
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0) + (now - self._last) * 1000
        self._last = now


def _descending(scores: Floats) -> Floats:
    return np.sort(scores)[::-1]

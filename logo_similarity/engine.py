"""The search engine: a query in, hits out. The only module that knows both the files of a catalog and the search."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from logo_similarity.catalog.joined import JoinedMetadata
from logo_similarity.catalog.live import LiveFiles
from logo_similarity.catalog.live_folder import LiveFolder
from logo_similarity.catalog.manifest import MODEL_FOLDER, Manifest, check_sizes, read_manifest
from logo_similarity.catalog.metadata import Metadata
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import Settings
from logo_similarity.description import WHOLE_BOX, Description, Parts
from logo_similarity.domain import (
    MOST_SHOWN,
    STAGES,
    CellMatch,
    Explanation,
    Facets,
    Hit,
    Logo,
    LogoPage,
    PartsMode,
    Query,
    RegionMatch,
    SearchResult,
    Timings,
    ValueCount,
)
from logo_similarity.embed.describe import describe, describe_completed, describe_parts, describe_turned, within
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.text import thread_reader
from logo_similarity.errors import CatalogError, InvalidRequestError, NotFoundError
from logo_similarity.field_kinds import Codes, as_json
from logo_similarity.fields import RegisterField, select_fields
from logo_similarity.filters import Filter, find_field
from logo_similarity.image.adjust import adjust
from logo_similarity.image.contained import Decoder
from logo_similarity.image.content import find_content
from logo_similarity.image.decode import ImageLimits
from logo_similarity.joining import JoinedSegments
from logo_similarity.milvus.connection import IndexServer
from logo_similarity.opening import check_preprocessing, trial_image
from logo_similarity.ranking import Clock, Ranking
from logo_similarity.search.explain import as_box, match_regions, place_cells
from logo_similarity.search.nibbles import PackedPatches
from logo_similarity.search.parts import DIMENSIONS, shorten
from logo_similarity.search.propose import propose_codes
from logo_similarity.search.score import RERANKED
from logo_similarity.search.sounds import fold
from logo_similarity.search.sources import SegmentSource
from logo_similarity.segment import LiveSegment, Segment


def split_edition(edition: str) -> tuple[str, int]:
    """The version and the generation of `SearchEngine.edition`."""
    version, _, generation = edition.partition("+")
    return version, int(generation or 0)


@dataclass(frozen=True, slots=True)
class SearchEngine:
    """One opened catalog version with its encoder, and live changes. Safe to use from many threads at once.

    >>> with SearchEngine.open(Path("catalogs")) as engine:
    ...     result = engine.search(Query(image=Path("logo.png").read_bytes(), top_k=10))
    """

    version: str
    generation: int
    """Of the live changes; 0: there are none."""
    encoder: Encoder
    logos: JoinedSegments
    """The version, and the live segments."""
    decoder: Decoder
    server: IndexServer | None = None
    """Has the vectors of the version, if they are not in files."""

    @property
    def edition(self) -> str:
        """The name of what is searched: that of the version, with the generation of the live changes if there are any."""
        return f"{self.version}+{self.generation}" if self.generation else self.version

    @classmethod
    def open(
        cls,
        catalogs: Path | str,
        *,
        version: str | None = None,
        device: str = "auto",
        limits: ImageLimits | None = None,
        server: IndexServer | None = None,
    ) -> Self:
        """Open a catalog version and warm it up. The files are mapped into memory, not read.

        Args:
            catalogs: folder of the versions.
            version: name of the version; None: the live one.
            device: where the encoder runs: "auto", "cpu" or "cuda".
            limits: limits on the images of queries.
            server: has the vectors of versions that were built with `--index milvus`.

        Raises:
            CatalogError: no version is live, or file sizes, headers or a search show damage. `check` searches for more
                rows, and `catalog.manifest.verify` reads every byte.
            EncoderError: the encoder cannot be used on this machine.
            IndexUnavailableError: the server does not answer.
            NotFoundError: no version has that name.
        """
        folders = Catalog(Path(catalogs))
        folder = folders.current() if version is None else folders.folder(version)
        manifest = read_manifest(folder)
        check_sizes(folder, manifest)
        check_preprocessing(folder, manifest)
        encoder = Encoder.open(folder / MODEL_FOLDER, device=device, threads=1)
        logos = JoinedSegments.of(Segment.open(folder, manifest, encoder, server), [], [np.empty(0, np.int64)])
        engine = cls(folder.name, 0, encoder, logos, Decoder(limits or ImageLimits()), server)
        engine.check((manifest.count // 2,))
        return engine

    @classmethod
    def of(cls, settings: Settings, *, version: str | None = None) -> Self:
        """Open a catalog version, the live one by default, as the settings say. Raises as `open`."""
        return cls.open(
            settings.catalogs,
            version=version,
            device=settings.device,
            limits=ImageLimits.of(settings),
            server=IndexServer.of(settings),
        )

    def with_live(self, live: LiveFiles) -> Self:
        """An engine for the same version with these live changes instead of those of this engine.

        It searches the logos of all segments as if they were in one catalog. Both engines share everything that is open;
        closing one closes the other.

        Raises:
            CatalogError: a segment is damaged or does not fit the version, or has no such row as one that is hidden.
        """
        base = self.logos.segments[0]
        known = {segment.folder: segment for segment in self.logos.segments if isinstance(segment, LiveSegment)}
        opened = [known.get(folder) or LiveSegment.open_with(folder, self.encoder, base) for folder in live.segments]
        return replace(self, generation=live.generation, logos=JoinedSegments.of(base, opened, live.hidden))

    def check(self, rows: Sequence[int]) -> None:
        """Search for a test image and for these rows of the version. The first search also warms up the encoder.

        Raises:
            CatalogError: the embedding, the patches, the words or the metadata of a row are damaged.
            EncoderError: the output of the model is not an embedding.
        """
        self._search_test_image()
        self._check_rows(self.logos.segments[0], rows)

    def check_live(self, most: int) -> None:
        """Search for a test image and for `most` rows of each live segment, and read all of their metadata.

        Raises:
            CatalogError: as `check`.
        """
        if self.logos.count:
            self._search_test_image()
        for segment in self.logos.segments[1:]:
            rows = np.unique(np.linspace(0, segment.manifest.count - 1, most).astype(int))
            self._check_rows(segment, rows.tolist())
            segment.metadata.check_rows()

    def _search_test_image(self) -> None:
        hits = self.search(Query(image=trial_image())).hits
        if not hits or not all(math.isfinite(hit.score) for hit in hits):
            raise CatalogError(f"{self.version}: damaged: a search for a test image has no valid results")

    def _check_rows(self, segment: Segment, rows: Sequence[int]) -> None:
        name = segment.folder.name
        vectors = segment.source.row_map.vector_of(np.asarray(rows)).tolist()
        segment.source.index.check(vectors, ef_search=segment.source.ef_search)
        if segment.parts is not None:
            entries = [row * segment.parts.index.count // segment.manifest.count for row in rows]
            segment.parts.index.check(entries, ef_search=segment.parts.ef_search)
        for row, vector, logo in zip(rows, vectors, segment.metadata.fetch(rows), strict=True):
            try:
                _ = logo.record
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise CatalogError(f"{name}: damaged: the metadata of row {row} cannot be read") from None
            description = segment.description(vector)
            candidates = self.logos.source.candidates(description, RERANKED)
            if not np.isfinite(self._ranking().score(description, candidates)).all():
                raise CatalogError(f"{name}: damaged: row {row} has scores that are not finite")
            words = " ".join(fold(logo.record.text or ""))
            if segment.words is not None and words and not (segment.words.search(words, 1).similarities > 0.999).any():
                raise CatalogError(f"{name}: damaged: a search for the words of row {row} does not find them")

    def search(self, query: Query) -> SearchResult:
        """The logos most similar to the query's image or words, or to both, best first.

        Raises:
            BadImageError: the image is refused (see its subclasses).
            InvalidRequestError: the image is an array of the wrong shape or dtype, the words have no letter or digit,
                or the catalog cannot re-rank, filter or search for words, or the words in the image cannot be read.
        """
        ranking = self._ranking()
        pictures, words = self._describe(query, ranking.clock)
        among = self.logos.select(query.filter, query.rows)
        if query.logo_id is not None:
            query = replace(query, left_out=(*query.left_out, self._find(query.logo_id).id))
        answer = ranking.answer(query, pictures, words, among)
        everything = query.filter is None and query.rows is None
        passed = None if everything or among.rows is None else int(np.count_nonzero(among.rows))
        shown = (*query.shown, *(hit.logo.id for hit in answer.hits))
        most = min(MOST_SHOWN, self.logos.count if passed is None else passed) - len(query.left_out)
        return SearchResult(
            hits=tuple(map(self._with_damage, answer.hits)) if self.logos.has_damage else answer.hits,
            reranked=any(picture.patches is not None for picture in pictures),
            parts=any(picture.parts is not None for picture in pictures),
            version=self.version,
            generation=self.generation,
            timings=Timings(**{**dict.fromkeys(STAGES, 0.0), **ranking.clock.stages}),
            exact=answer.exact,
            passed=passed,
            pictures=pictures,
            proposed=propose_codes(answer.hits, self.logos.fields) if query.propose else None,
            next=_next_page(query, pictures, words, shown) if answer.more and len(shown) < most else None,
            words=words,
        )

    def explain(self, query: Query, logo_id: str) -> Explanation:
        """Why a logo is a hit of a query, or is none. The query's filter and the bounds of its answer do not count.

        Raises:
            BadImageError, InvalidRequestError: as `search`.
            NotFoundError: the catalog does not contain the logo.
        """
        logo = self._find(logo_id)
        ranking = self._ranking()
        pictures, _ = self._describe(query, ranking.clock)
        if not pictures:
            raise InvalidRequestError(
                "a hit is explained with an image, or the id of a logo; give the query one of them"
            )
        everything = self.logos.everything
        vectors = everything.row_map.vector_of(np.array([logo.id]))
        images = ranking.compare(query, pictures, everything, 1, vectors)
        images = images.at(np.flatnonzero(images.ids == vectors))
        picture = pictures[int(images.pictures[0])]
        hit = Hit(
            score=float(images.scores[0]),
            cosine=float(images.cosines[0]),
            logo=logo,
            copies=int(everything.row_map.copies_of(vectors)[0]),
            expect=None if images.expects is None else float(images.expects[0]),
            matched=next(ranking.regions(pictures, images)),
            picture=int(images.pictures[0]),
        )
        segment, vector = self.logos.locate(int(vectors[0]))
        own, parts = segment.description(vector), segment.stored_parts(vector)
        return Explanation(
            self._with_damage(hit), _matched_regions(picture, own, parts), self._matched_cells(picture, own)
        )

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
        among = self.logos.select(condition).rows
        known = {field.name: field for field in select_fields(self.logos.filter_fields) if field.kind.facet}
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
            values = self.logos.filtering().count_values(field, among, under=parent, most=most)
            counts[name] = tuple(ValueCount(as_json(value), count) for value, count in values)
        return Facets(self.logos.count if among is None else int(np.count_nonzero(among)), counts)

    def browse(self, condition: Filter | None = None, *, start: int = 0, limit: int = 100) -> LogoPage:
        """The logos that pass a filter, in the order of the catalog, from row `start` on.

        Raises:
            InvalidRequestError: the catalog does not have a field of the filter, or cannot filter.
        """
        among = self.logos.select(condition).rows
        if among is None:
            passed, rows = self.logos.count, np.arange(start, min(start + limit + 1, self.logos.count))
        else:
            passed, rows = int(np.count_nonzero(among)), np.flatnonzero(among[start:])[: limit + 1] + start
        logos = self.metadata.fetch(rows[:limit].tolist())
        return LogoPage(tuple(logos), passed, int(rows[limit]) if len(rows) > limit else None)

    def with_changes(self, catalogs: Path) -> Self:
        """An engine with the live changes that a service has written last into a folder of versions; itself without any.

        Raises:
            CatalogError: as `with_live`. The service writes damaged segments again.
        """
        folder = LiveFolder.of(catalogs, self.version)
        while True:
            marker = folder.marker()
            try:
                files = folder.files()
                return self if files is None else self.with_live(files)
            except CatalogError:
                if folder.marker() == marker:
                    raise
                # The segments were replaced in the meantime, and the old ones deleted.

    @property
    def metadata(self) -> Metadata | JoinedMetadata:
        """The metadata of the visible logos."""
        return self.logos.metadata

    @property
    def manifest(self) -> Manifest:
        """The manifest of the version; `logos` has the numbers with the live changes."""
        return self.logos.segments[0].manifest

    @property
    def base(self) -> SegmentSource:
        """The index and patches of the version."""
        return self.logos.segments[0].source

    @property
    def reranks(self) -> bool:
        """Whether candidates can be re-ranked."""
        return self.base.patches is not None

    @property
    def has_parts(self) -> bool:
        """Whether parts can be compared."""
        return self.manifest.parts is not None

    @property
    def part_dimensions(self) -> frozenset[int]:
        """Numbers of dimensions that the embedding of a part may have: a stored one is shorter."""
        return frozenset({self.manifest.dimension, min(DIMENSIONS, self.manifest.dimension)})

    def logo(self, logo_id: str) -> Logo | None:
        """The logo with this public id; None if the catalog does not contain it."""
        return self.metadata.find(logo_id)

    def as_stored(self, description: Description) -> Description:
        """A description with patches as the catalog would store them: so those of an identical image are the same."""
        stored = self.base.patches
        if description.patches is None or not isinstance(stored, PackedPatches):
            return description
        return replace(description, patches=stored.rounded(description.patches))

    def close(self) -> None:
        """Close the database connections and stop the decoder processes. Files are unmapped with the last reference."""
        for segment in self.logos.segments:
            segment.metadata.close()
        self.decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ranking(self) -> Ranking:
        return Ranking(self.logos, self.encoder.model.rerank_weight)

    def _describe(self, query: Query, clock: Clock) -> tuple[tuple[Description, ...], str | None]:
        """The descriptions of the query's pictures, with what is to be compared; and the words to search for.

        The words are those of the query, or read in its first image.
        """
        if query.described:
            return query.described, query.words
        if query.logo_id is not None:
            return (self._description_of(query.logo_id, query),), query.words
        if query.part_of_mark and not self._reranks(query):
            raise InvalidRequestError(
                "part_of_mark=true needs re-ranking; use an encoder that has it, without rerank=false"
            )
        pictures, words = [], query.words
        for image in () if query.image is None else (query.image, *query.more_images):
            damage: list[str] = []
            decoded = self.decoder.decode(image, damage.append) if isinstance(image, bytes) else _check_pixels(image)
            pixels = adjust(decoded, crop=query.crop_box, invert=query.invert, greyscale=query.greyscale)
            clock.lap("decode")
            content = find_content(pixels)
            description = describe(pixels, self.encoder, clock.lap, content)
            if not self._reranks(query):
                description = replace(description, patches=None)
            if self._compares_parts(query):
                description = replace(description, parts=describe_parts(pixels, self.encoder, content))
            description = description if query.crop_box is None else within(description, query.crop_box)
            pictures.append(replace(description, damage=next(iter(damage), None)))
            if query.turned:
                turns = describe_turned(pixels, self.encoder)
                pictures += turns if self._reranks(query) else [replace(turn, patches=None) for turn in turns]
            if query.part_of_mark:
                pictures.append(replace(describe_completed(pixels, self.encoder), box=query.crop_box or WHOLE_BOX))
            clock.lap("parts")
            if words is None and query.read_words and image is query.image:
                text = thread_reader().read(pixels)
                words = text if text is not None and fold(text) else None
        return tuple(map(self.as_stored, pictures)), words

    def _description_of(self, logo_id: str, query: Query) -> Description:
        """The stored description of a logo of the catalog, with what is to be compared."""
        (vector,) = self.logos.source.row_map.vector_of(np.array([self._find(logo_id).id])).tolist()
        segment, vector = self.logos.locate(vector)
        description = segment.description(vector)
        if not self._reranks(query):
            description = replace(description, patches=None)
        if self._compares_parts(query):
            description = replace(description, parts=segment.stored_parts(vector))
        return description

    def _find(self, logo_id: str) -> Logo:
        """A logo. Raises NotFoundError if the catalog does not contain it."""
        logo = self.logo(logo_id)
        if logo is None:
            raise NotFoundError(f"no logo has the id {logo_id!r}")
        return logo

    def _with_damage(self, hit: Hit) -> Hit:
        damage = self.logos.damage_of(hit.logo)
        return hit if damage is None else hit._replace(damage=damage)

    def _matched_cells(self, description: Description, other: Description) -> tuple[CellMatch, ...]:
        if description.patches is None or other.patches is None or description.place is None or other.place is None:
            return ()
        spec = self.encoder.model.input_spec
        return place_cells(description.patches, description.place, other.patches, other.place, spec)

    def _reranks(self, query: Query) -> bool:
        """Whether the candidates of a query are re-ranked."""
        possible = self.reranks
        if query.rerank and not possible:
            raise InvalidRequestError(
                "this catalog cannot re-rank: its encoder has no patches, or it was built from embeddings alone"
            )
        return possible and query.rerank is not False

    def _compares_parts(self, query: Query) -> bool:
        """Whether the parts of a query are compared."""
        possible = self.has_parts
        if query.parts is PartsMode.ONLY and not possible:
            raise InvalidRequestError("this catalog cannot compare parts: it was built from embeddings alone")
        return possible and query.parts is not PartsMode.OFF


def _matched_regions(description: Description, other: Description, parts: Parts) -> tuple[RegionMatch, ...]:
    """The regions of a query and of a logo, with its parts, that resemble each other."""
    own = description.parts
    if own is None:
        return ()
    ours, theirs = (
        np.concatenate([shorten(embedding[np.newaxis]), shorten(regions.embeddings)])
        for embedding, regions in ((description.embedding, own), (other.embedding, parts))
    )
    return match_regions(
        ours, [description.box, *map(as_box, own.boxes)], theirs, [WHOLE_BOX, *map(as_box, parts.boxes)]
    )


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
        part_of_mark=False,
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

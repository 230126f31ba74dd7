"""The ranking of one query: what the pictures and the words of a query say about the logos of a catalog, best first."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, repeat

import numpy as np

from logo_similarity.description import WHOLE_BOX, Description
from logo_similarity.domain import (
    MOST_OTHERS,
    MOST_SHOWN,
    Group,
    Hit,
    Matched,
    Others,
    PartsMode,
    Query,
)
from logo_similarity.embed.describe import Floats
from logo_similarity.errors import InvalidRequestError
from logo_similarity.joining import JoinedSegments, Selection
from logo_similarity.search.candidates import Candidates, Ids
from logo_similarity.search.evidence import ImageEvidence
from logo_similarity.search.expect import Tail
from logo_similarity.search.explain import as_box
from logo_similarity.search.fusion import further_candidates, fuse
from logo_similarity.search.grouping import Groups, group_names, group_pictures, take_groups
from logo_similarity.search.parts import (
    MOST_EXPECTED,
    WHOLE,
    Comparison,
    PartMatches,
    match_parts,
)
from logo_similarity.search.score import COMPLETED_RERANKED, RERANKED, score
from logo_similarity.search.sounds import fold
from logo_similarity.search.word_fusion import fuse_words, limit_identical, places_of

NO_ROWS = np.empty(0, np.int64)
IDENTICAL_RESERVE = 3
"""Candidates of a search for words alone, for each hit."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A page of hits, best first."""

    hits: tuple[Hit, ...]
    exact: bool
    """As `SearchResult.exact`."""
    more: bool
    """Whether there may be hits after these."""


class Clock:
    """Measures the time of each stage in milliseconds."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Record the end of a stage, which may have come before."""
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0) + (now - self._last) * 1000
        self._last = now


@dataclass(frozen=True, slots=True)
class Ranking:
    """Ranks the logos of a catalog for one query."""

    logos: JoinedSegments
    rerank_weight: float
    """Share of the patch agreement in a score, 0 to 1."""
    clock: Clock = field(default_factory=Clock)

    def answer(self, query: Query, pictures: Sequence[Description], words: str | None, among: Selection) -> Answer:
        """The best hits of a query for pictures, words or both, but for the rows that are left out.

        Args:
            query: its parameters count.
            pictures: what is compared of its pictures.
            words: the words to search for; None: those of a query without pictures are empty.
            among: the logos that may be found.

        Raises:
            InvalidRequestError: the catalog cannot be searched by words, or has no company to group by.
        """
        if not pictures or words is not None:
            return self._rank_words(query, pictures, words or "", among)
        return self._rank_images(query, pictures, among)

    def compare(
        self,
        query: Query,
        pictures: Sequence[Description],
        among: Selection,
        most: int,
        further: Ids = NO_ROWS,
    ) -> ImageEvidence:
        """The evidence of the images nearest to the pictures, of those whose parts are, and of `further` vectors."""
        return ImageEvidence.best_of(
            [self._compare_picture(query, picture, among, most, further) for picture in pictures]
        )

    def _compare_picture(
        self, query: Query, description: Description, among: Selection, most: int, further: Ids
    ) -> ImageEvidence:
        source, everything = self.logos.source, self.logos.everything
        depth = COMPLETED_RERANKED if description.completed else RERANKED
        candidates = source.candidates(description, max(most, depth), among.vectors)
        # What a logo shares with the whole catalog does not depend on the filter, and neither does its score.
        nearest = candidates if among is everything else source.candidates(description, depth, everything.vectors)
        matches = None if description.parts is None else self._match_parts(description, among)
        self.clock.lap("search")
        ids, cosines = candidates.ids, candidates.cosines
        scores = self.score(description, candidates, nearest)
        tail = Tail.fit(
            _descending(scores[:depth] if nearest is candidates else self.score(description, nearest, nearest))
        )
        if len(further):
            further = np.setdiff1d(further, ids)
        if tail is not None and matches is not None:
            further = np.union1d(further, further_candidates(matches, ids, most, MOST_EXPECTED))
        if len(further):
            others = source.compare(description, further)
            ids, cosines = np.concatenate([ids, others.ids]), np.concatenate([cosines, others.cosines])
            scores = np.concatenate([scores, self.score(description, others, nearest)])
        log_expects, matched = -scores if tail is None else tail.log_expect(scores), np.full(len(ids), -1)
        if tail is not None and matches is not None:
            counted = np.full_like(scores, -np.inf) if query.parts is PartsMode.ONLY else scores
            log_expects, matched = fuse(ids, counted, tail, matches)
        equal = scores if tail is None else np.where(matched < 0, scores, np.clip(tail.similarity(log_expects), -1, 1))
        self.clock.lap("rerank")
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
            logos=None if tail is None else self.logos.count,
        )

    def _rank_images(self, query: Query, pictures: Sequence[Description], among: Selection) -> Answer:
        """The best hits of a query for pictures, but for the rows that are left out."""
        most = _most_ranked(query)
        images = self.compare(query, pictures, among, most)
        best = np.lexsort((images.ids, -images.scores, images.log_expects))
        best = best[images.meets(query)[best]]
        if query.min_score is not None:
            best = best[images.scores[best] >= query.min_score]
        best = best[:most]
        row_map, vectors = among.row_map, images.ids[best]
        ranked, positions = row_map.rows_of(vectors, query.max_identical)
        page = self._page(query, ranked, vectors[positions])
        rows, positions = ranked[page.places], positions[page.places]
        copies, images = row_map.copies_of(vectors)[positions], images.at(best[positions])
        self.clock.lap("rerank")
        hits = map(
            Hit,
            images.scores.tolist(),
            images.cosines.tolist(),
            self.logos.metadata.fetch(rows.tolist()),
            copies.tolist(),
            repeat(None) if images.expects is None else images.expects.tolist(),
            self.regions(pictures, images),
            images.pictures.tolist(),
        )
        answer = Answer(self._with_others(hits, page, ranked), images.exact, page.more)
        self.clock.lap("metadata")
        return answer

    def _rank_words(
        self,
        query: Query,
        pictures: Sequence[Description],
        words: str,
        among: Selection,
    ) -> Answer:
        """The best hits of a query for words, alone or with pictures, but for the rows that are left out."""
        if self.logos.words is None:
            raise InvalidRequestError(
                "this catalog cannot be searched by words: it was built by an earlier version of this software; build it "
                "again"
            )
        index, row_map = self.logos.words, among.row_map
        most = _most_ranked(query)
        limit = max(most, RERANKED)
        images = None
        if not pictures:
            # More than are returned, since some may have identical images and words.
            matches = index.search(words, limit * IDENTICAL_RESERVE, among.rows)
            self.clock.lap("search")
            vectors, scores = row_map.vector_of(matches.rows), matches.similarities
        else:
            rows = index.search(words, limit, among.rows).rows
            # The image of a logo with similar words is compared, too, and the words of a logo with a similar image.
            images = self.compare(query, pictures, among, most, row_map.vector_of(rows))
            best = images.ids[np.lexsort((images.ids, -images.equal))]
            similar = row_map.rows_of(best, query.max_identical)[0][:limit]
            matches = index.compare(words, np.union1d(similar, rows))
            vectors = row_map.vector_of(matches.rows)
            images = images.at(places_of(images.ids, vectors))
            scores = fuse_words(images.equal, matches, query.word_weight)
        order = np.lexsort((matches.rows, -scores))
        if images is not None:
            order = order[images.meets(query)[order]]
        if query.min_score is not None:
            order = order[scores[order] >= query.min_score]
        order = order[limit_identical(vectors[order], matches.similarities[order], query.max_identical)]
        ranked = matches.rows[order]
        page = self._page(query, ranked, vectors[order])
        order = order[page.places]
        self.clock.lap("rerank")
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
                self.logos.metadata.fetch(matches.rows[order].tolist()),
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
                    self.regions(pictures, images),
                    images.pictures.tolist(),
                    images.equal.tolist(),
                    strict=False,  # `repeat` has no end
                )
            ]
        answer = Answer(self._with_others(hits, page, ranked), exact=False, more=page.more)
        self.clock.lap("metadata")
        return answer

    def _page(self, query: Query, rows: Ids, vectors: Ids) -> Groups:
        """The hits of a page, or their groups, among rows with these vectors, best first.

        Raises:
            InvalidRequestError: the catalog has no applicants to group by.
        """
        shown = np.array(query.shown, np.int64)
        if query.group is Group.NONE:
            places = _places_outside(rows, [*query.shown, *query.left_out])
            return Groups(places[: query.top_k], (), len(places) >= query.top_k)
        places = _places_outside(rows, query.left_out)[:MOST_SHOWN]
        if query.group is Group.PICTURE:
            leaders = group_pictures(self.logos.source.embeddings(vectors[places]))
        elif "company" in self.logos.fields:
            logos = self.logos.metadata.fetch(rows[places].tolist())
            leaders = group_names([tuple(fold(logo.record.company or "")) for logo in logos])
        else:
            raise InvalidRequestError("this catalog has no company to group by; leave out group=company")
        groups = take_groups(leaders, np.isin(rows[places], shown), query.top_k)
        return Groups(places[groups.places], tuple(places[others] for others in groups.others), groups.more)

    def _with_others(self, hits: Iterable[Hit], page: Groups, rows: Ids) -> tuple[Hit, ...]:
        """The hits of a page with the others of their groups. `rows`: of all positions that the page refers to."""
        if not page.others:
            return tuple(hits)
        named = [rows[others[:MOST_OTHERS]].tolist() for others in page.others]
        ids = iter([logo.logo_id for logo in self.logos.metadata.fetch(list(chain(*named)))])
        return tuple(
            hit._replace(others=Others(len(others), tuple(islice(ids, len(names)))))
            for hit, others, names in zip(hits, page.others, named, strict=True)
        )

    def _match_parts(self, description: Description, among: Selection) -> PartMatches:
        """The matches of a query's parts with some logos. How surprising they are does not depend on the filter."""
        everywhere = self.logos.pools
        pools = everywhere if among is self.logos.everything else self.logos.pools_of(among)
        compared = [Comparison(*pair) for pair in zip(pools, everywhere, strict=True)]
        return match_parts(description, *compared)

    def regions(self, pictures: Sequence[Description], images: ImageEvidence) -> Iterator[Matched | None]:
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
        segment, vector = self.logos.locate(vector)
        return Matched(query_box, WHOLE_BOX if part == WHOLE else segment.part_box(vector, part))

    def score(self, description: Description, candidates: Candidates, nearest: Candidates | None = None) -> Floats:
        """The scores of candidates; `nearest`: those of the whole catalog, None: the candidates."""
        return score(description, candidates, self.rerank_weight, nearest)


def _most_ranked(query: Query) -> int:
    """How many hits are ranked, so that a page is full without those that are left out."""
    first = query.top_k + len(query.shown) if query.group is Group.NONE else MOST_SHOWN
    return first + len(query.left_out)


def _places_outside(rows: Ids, left_out: Sequence[int]) -> Ids:
    """The places of the rows that are not left out."""
    return np.flatnonzero(~np.isin(rows, left_out)) if left_out else np.arange(len(rows))


def _descending(scores: Floats) -> Floats:
    return np.sort(scores)[::-1]

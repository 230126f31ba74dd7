"""The `next` of a response to a search: everything that its next page needs, so that any worker can answer it.

It contains the description of the query's pictures, not the pictures, and the rows that were shown. A client may change it
like any other parameter, so every part is checked.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from logo_similarity.description import TURNS, Box, Description, Parts, Place
from logo_similarity.domain import MOST_IMAGES, MOST_LOOKS, MOST_SHOWN, PARAMETERS, Query
from logo_similarity.embed.parts import MOST_PARTS
from logo_similarity.engine import SearchEngine
from logo_similarity.errors import CatalogChangedError, InvalidRequestError
from logo_similarity.filters import Filter

LONGEST_CURSOR = 64_000
"""Maximum length of a cursor, in characters. One with four pictures of five parts and a thousand rows has 62,000."""
LENGTH_TOLERANCE = 1e-3
_ROWS, _FLOATS, _PATCHES = np.dtype("<i4"), np.dtype("<f4"), np.dtype("i1")


def write_cursor(query: Query, mark: str) -> str:
    """The query of a next page as text.

    Args:
        query: `SearchResult.next`.
        mark: of the catalog that answered: the last of its `JoinedSegments.marks`.
    """
    parameters = {
        parameter.name: value
        for parameter in PARAMETERS
        if (value := getattr(query, parameter.name)) != parameter.default
    }
    content = {
        "catalog": mark,
        "parameters": parameters,
        "filter": None if query.filter is None else query.filter.to_json(),
        "shown": _text(query.shown, _ROWS),
        "left_out": _text(query.left_out, _ROWS),
        "pictures": [
            {
                "embedding": _text(picture.embedding, _FLOATS),
                "patches": None if picture.patches is None else _text(picture.patches, _PATCHES),
                "parts": None if picture.parts is None else _text(picture.parts.embeddings, _FLOATS),
                "boxes": None if picture.parts is None else _text(picture.parts.boxes, _FLOATS),
                "place": None if picture.place is None else list(picture.place),
                "box": picture.box,
                "turned": picture.turned,
                "completed": picture.completed,
            }
            for picture in query.described
        ],
    }
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode()


def read_cursor(text: str, engine: SearchEngine) -> Query:
    """The query that `write_cursor` was given.

    Raises:
        CatalogChangedError: the rows of the catalog that answered the first page have changed; further ones do not matter.
        InvalidRequestError: the text is not a cursor.
    """
    try:
        content = orjson.loads(base64.b64decode(text, altchars="-_", validate=True))
        if content["catalog"] not in engine.logos.marks:
            raise CatalogChangedError("the catalog has changed since the first page; search again without a cursor")
        return _Reader(engine).query(content)
    except (binascii.Error, UnicodeError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise InvalidRequestError(
            "the cursor is not the `next` of an earlier response; send it unchanged, and no other parameters"
        ) from None


@dataclass(frozen=True, slots=True)
class _Reader:
    """Raises ValueError, KeyError, TypeError or AttributeError for content that is not valid."""

    engine: SearchEngine

    def query(self, content: Any) -> Query:  # noqa: ANN401 - parsed JSON
        shown, left_out = (_array(content[rows], _ROWS, (-1,)) for rows in ("shown", "left_out"))
        pictures = [self._picture(picture) for picture in content["pictures"]]
        _check(len(shown) < MOST_SHOWN and len(left_out) <= 1)
        _check(all(((rows >= 0) & (rows < self.engine.logos.rows.total)).all() for rows in (shown, left_out)))
        _check(len(pictures) <= max(MOST_IMAGES, MOST_LOOKS))
        parameters: dict[str, Any] = {}
        for parameter in PARAMETERS:
            if parameter.name in content["parameters"]:
                value = content["parameters"].pop(parameter.name)
                text = issubclass(parameter.type, str)
                _check(isinstance(value, str if text else (int, float) if parameter.type is float else parameter.type))
                parameters[parameter.name] = parameter.type(value)
        _check(not content["parameters"])
        tree = content["filter"]
        return Query(
            described=tuple(pictures),
            shown=tuple(shown.tolist()),
            left_out=tuple(left_out.tolist()),
            filter=None if tree is None else Filter.from_json(tree),
            **parameters,
        )

    def _picture(self, content: Any) -> Description:  # noqa: ANN401 - parsed JSON
        dimension, patches = self.engine.manifest.dimension, self.engine.base.patches
        embedding = _unit(_array(content["embedding"], _FLOATS, (dimension,)))
        parts = None
        if content["parts"] is not None:
            boxes = _array(content["boxes"], _FLOATS, (-1, 4))
            count = len(boxes)
            _check(count <= MOST_PARTS and ((boxes >= 0) & (boxes <= 1)).all())
            values = _array(content["parts"], _FLOATS, (-1,))
            parts = Parts(_unit(values.reshape(count, -1 if count else dimension)), boxes)
            _check(count == 0 or parts.embeddings.shape[1] in self.engine.part_dimensions)
        left, top, right, bottom = map(float, content["box"])
        box: Box = (left, top, right, bottom)
        _check(0 <= left < right <= 1 and 0 <= top < bottom <= 1)
        place = None if content["place"] is None else Place._make(map(float, content["place"]))
        _check(place is None or (0 <= place.left < place.right <= 1 and 0 <= place.top < place.bottom <= 1))
        own = None
        if content["patches"] is not None:
            _check(patches is not None)
            own = _array(content["patches"], _PATCHES, patches.shape[1:])  # type: ignore[union-attr]
        turned = content["turned"]
        _check(turned in TURNS)
        completed = content["completed"]
        _check(isinstance(completed, bool) and (own is not None or not completed))
        return Description(embedding, own, parts, place, box, turned, completed)


def _check(condition: object) -> None:
    if not condition:
        raise ValueError("not a cursor")


def _text(numbers: Any, dtype: np.dtype[Any]) -> str:  # noqa: ANN401 - an array or a sequence of numbers
    return base64.b64encode(np.ascontiguousarray(numbers, dtype).tobytes()).decode()


def _array(text: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:  # noqa: ANN401 - parsed JSON
    return np.frombuffer(base64.b64decode(text, validate=True), dtype).reshape(shape)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors, if they have unit length. NaN has none."""
    _check((np.abs(np.linalg.norm(vectors, axis=-1) - 1) < LENGTH_TOLERANCE).all())
    return vectors

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from logo_similarity.catalog.manifest import (
    INDEX,
    MANIFEST,
    PART_BOXES,
    PART_INDEX,
    PART_MAP,
    PART_OFFSETS,
    PATCHES,
    ROW_MAP,
    SIGNATURE,
    Manifest,
    read_manifest,
)
from logo_similarity.errors import CatalogError

SHA256 = "0" * 64


def entry(size: int) -> dict[str, Any]:
    return {"sha256": SHA256, "size": size}


def manifest(
    count: int = 3,
    distinct_images: int | None = None,
    dimension: int = 8,
    m: int = 8,
    ef_construction: int = 40,
    ef_search: int = 50,
    k: int = 3,
    files: dict[str, Any] | None = None,
    parts: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of a manifest, with an index that is large enough."""
    return {
        "software": "test",
        "created": "2026-11-01T00:00:00Z",
        "inputs": SHA256,
        "count": count,
        "distinct_images": count if distinct_images is None else distinct_images,
        "logo_ids": SHA256,
        "dimension": dimension,
        "fields": [],
        "encoder": {"id": "none", "sha256": SHA256, "preprocessing": "1"},
        "index": {"m": m, "ef_construction": ef_construction, "ef_search": ef_search},
        "recall": {"k": k, "queries": 3, "value": 1.0, "floor": 0.9, "self_found": 1.0},
        "parts": parts,
        "source": {"kind": "folder", "read": 3, "indexed": 3, "rejected": 0},
        "files": {
            INDEX: entry(10**13),
            "metadata.db": entry(1),
            "model/model.json": entry(1),
            "model/model.onnx": entry(1),
            **(files or {}),
        },
    }


def extra_files(count: int) -> dict[str, Any]:
    return {f"file{number}": entry(1) for number in range(count)}


ROW_MAP_FILES = {name: entry(1) for name in ROW_MAP}
BOUNDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"count": 1}, {"count": 0}),
    ({"count": 2**31 - 1, "dimension": 1}, {"count": 2**31, "dimension": 1}),
    ({"dimension": 1}, {"dimension": 0}),
    ({"dimension": 8_192}, {"dimension": 8_193}),
    ({"m": 2}, {"m": 1}),
    ({"m": 256}, {"m": 257}),
    ({"ef_search": 1}, {"ef_search": 0}),
    ({"ef_search": 10_000}, {"ef_search": 10_001}),
    ({"ef_construction": 10_000}, {"ef_construction": 10_001}),
    ({"k": 2**31 - 1}, {"k": 2**31}),
    ({"files": extra_files(96)}, {"files": extra_files(97)}),
    ({"files": {"a": entry(10**13)}}, {"files": {"a": entry(10**13 + 1)}}),
    ({"files": {INDEX: entry(4 * 3 * 8)}}, {"files": {INDEX: entry(4 * 3 * 8 - 1)}}),
    ({"files": {PATCHES: entry(3)}}, {"files": {PATCHES: entry(2)}}),
    (
        {"distinct_images": 2, "files": {INDEX: entry(4 * 2 * 8), PATCHES: entry(2), **ROW_MAP_FILES}},
        {"distinct_images": 2, "files": {INDEX: entry(4 * 2 * 8 - 1), PATCHES: entry(2), **ROW_MAP_FILES}},
    ),
    ({"distinct_images": 1, "files": ROW_MAP_FILES}, {"distinct_images": 0, "files": ROW_MAP_FILES}),
    ({"distinct_images": 3}, {"distinct_images": 4}),
    ({"files": {"a" * 200: entry(1)}}, {"files": {"a" * 201: entry(1)}}),
]


@pytest.mark.parametrize(("inside", "outside"), BOUNDS)
def test_a_value_at_its_bound_is_accepted_and_the_next_refused(inside: dict[str, Any], outside: dict[str, Any]) -> None:
    Manifest.model_validate(manifest(**inside))
    with pytest.raises(ValidationError):
        Manifest.model_validate(manifest(**outside))


@pytest.mark.parametrize("name", ROW_MAP)
def test_the_row_map_is_listed_if_logos_share_images_and_only_then(name: str) -> None:
    Manifest.model_validate(manifest(distinct_images=2, files=ROW_MAP_FILES))
    others = {other: entry(1) for other in ROW_MAP if other != name}
    with pytest.raises(ValidationError, match=f"{name} must be listed"):
        Manifest.model_validate(manifest(distinct_images=2, files=others))
    with pytest.raises(ValidationError, match=f"{name} must be listed"):
        Manifest.model_validate(manifest(files={name: entry(1)}))


def part_entry(count: int, distinct: int) -> dict[str, Any]:
    return {"count": count, "distinct": distinct, "index": {"m": 8, "ef_construction": 40, "ef_search": 50}}


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        (None, []),
        (part_entry(0, 0), [PART_OFFSETS, PART_BOXES]),
        (part_entry(5, 5), [PART_OFFSETS, PART_BOXES, PART_INDEX]),
        (part_entry(5, 4), [PART_OFFSETS, PART_BOXES, PART_INDEX, *PART_MAP]),
    ],
)
def test_the_files_of_the_parts_are_listed_if_there_are_parts(parts: dict[str, Any] | None, names: list[str]) -> None:
    files = {name: entry(1) for name in names}
    Manifest.model_validate(manifest(parts=parts, files=files))
    for name in names:
        with pytest.raises(ValidationError, match=f"{name} is not listed"):
            Manifest.model_validate(manifest(parts=parts, files={other: entry(1) for other in names if other != name}))
    with pytest.raises(ValidationError, match=r"parts/other\.npy must not be listed"):
        Manifest.model_validate(manifest(parts=parts, files={**files, "parts/other.npy": entry(1)}))


@pytest.mark.parametrize("parts", [part_entry(3, 4), part_entry(3, 0), part_entry(0, 1)])
def test_numbers_of_parts_agree(parts: dict[str, Any]) -> None:
    files = {name: entry(1) for name in (PART_OFFSETS, PART_BOXES, PART_INDEX, *PART_MAP)}
    with pytest.raises(ValidationError, match=r"cannot be distinct|must not be listed"):
        Manifest.model_validate(manifest(parts=parts, files=files))


@pytest.mark.parametrize("name", [MANIFEST, SIGNATURE])
def test_the_manifest_and_its_signature_are_not_among_the_files(name: str) -> None:
    with pytest.raises(ValidationError, match="must not list"):
        Manifest.model_validate(manifest(files={name: entry(1)}))


def test_a_manifest_has_at_most_a_million_bytes(tmp_path: Path) -> None:
    content = Manifest.model_validate(manifest()).to_json()
    folders = []
    for size in (1_000_000, 1_000_001):
        padded = content.ljust(size)
        folders.append(tmp_path / f"version-{hashlib.sha256(padded).hexdigest()[:8]}")
        folders[-1].mkdir()
        (folders[-1] / MANIFEST).write_bytes(padded)
    assert read_manifest(folders[0]).count == 3
    with pytest.raises(CatalogError, match="larger than 1,000,000 bytes"):
        read_manifest(folders[1])


def test_facets_are_an_optional_entry() -> None:
    without = Manifest.model_validate(manifest())
    assert without.facets == ()
    assert b"facets" not in without.to_json()  # software that knows no facets refuses unknown entries
    with_facets = Manifest.model_validate({**manifest(), "fields": ["text"], "facets": ["colour", "a b"]})
    assert Manifest.model_validate_json(with_facets.to_json()) == with_facets
    assert with_facets.filter_fields == ("text", "extra.colour", "extra.a b")


@pytest.mark.parametrize(
    "entries",
    [
        {"facets": ["a", "a"]},
        {"facets": ["a=b"]},
        {"facets": [""]},
        {"facets": ["x" * 65]},
        {"facets": [f"f{number}" for number in range(21)]},
        {"fields": ["extra.="]},
    ],
)
def test_facets_that_no_catalog_can_have(entries: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Manifest.model_validate({**manifest(), **entries})

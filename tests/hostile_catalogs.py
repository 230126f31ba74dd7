"""Catalog versions that are made to harm the process that opens them. All their digests are correct."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from logo_similarity.build.words import WordsWriter
from logo_similarity.catalog.manifest import (
    DAMAGED,
    INDEX,
    MANIFEST,
    METADATA,
    MODEL_FOLDER,
    PART_INDEX,
    PART_OFFSETS,
    PATCHES,
    SIGNATURE,
    VECTOR_OFFSETS,
    WORDS,
)
from logo_similarity.catalog.postings import POSTINGS
from logo_similarity.catalog.publish import digest_files
from logo_similarity.embed.model import MODEL_JSON
from logo_similarity.fields import Record
from logo_similarity.search.word_file import WordArrays

Edit = Callable[[dict[str, Any]], object]


def rewrite_manifest(version: Path, edit: Edit = lambda _: None) -> Path:
    """Give a version an edited manifest of its files, and the name that follows from it. Returns its folder."""
    manifest = json.loads((version / MANIFEST).read_bytes())
    (version / SIGNATURE).unlink(missing_ok=True)
    manifest["files"] = {name: entry.model_dump() for name, entry in digest_files(version).items()}
    model = json.loads((version / MODEL_FOLDER / MODEL_JSON).read_bytes())
    manifest["encoder"]["sha256"] = model["sha256"]
    edit(manifest)
    content = json.dumps(manifest).encode()
    (version / MANIFEST).write_bytes(content)
    # Newer than any real version.
    return version.rename(version.with_name(f"29991231T235959Z-{hashlib.sha256(content).hexdigest()[:8]}"))


def replace_model(version: Path, graph: Callable[[dict[str, Any]], onnx.GraphProto]) -> None:
    """Replace the ONNX graph of the model; `graph` gets the content of `model.json`."""
    path = version / MODEL_FOLDER / MODEL_JSON
    description = json.loads(path.read_bytes())
    model = helper.make_model(graph(description), opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    (version / MODEL_FOLDER / description["file"]).write_bytes(content)
    description["sha256"] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(description))


def _constant(name: str, kind: int, values: list[Any], shape: list[int] | None = None) -> onnx.NodeProto:
    dims = [len(values)] if shape is None else shape
    return helper.make_node("Constant", [], [name], value=helper.make_tensor(name, kind, dims, values))


def _graph(described: dict[str, Any], nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
    """A graph with the tensors in `model.json`; `nodes` turn "mean" (n, 1) into "seed" (n, 1)."""
    own, outputs = described["input"], described["outputs"]
    reduce = [
        helper.make_node("ReduceMean", [own["name"]], ["mean4"], axes=[1, 2, 3], keepdims=1),
        _constant("column", TensorProto.INT64, [-1, 1]),
        helper.make_node("Reshape", ["mean4", "column"], ["mean"]),
    ]
    expand = [
        _constant("ones", TensorProto.FLOAT, [1.0] * described["dimension"], [1, described["dimension"]]),
        helper.make_node("Add", ["seed", "ones"], [outputs["embedding"]]),
        _constant("cells", TensorProto.FLOAT, [0.0] * (64 * 16), [1, 64, 16]),
        _constant("third", TensorProto.INT64, [-1, 1, 1]),
        helper.make_node("Reshape", ["seed", "third"], ["seed3"]),
        _constant("zero", TensorProto.FLOAT, [0.0], [1]),
        helper.make_node("Mul", ["seed3", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "cells"], [outputs["patches"]]),
    ]
    return helper.make_graph(
        [*reduce, *nodes, *expand],
        "hostile",
        [helper.make_tensor_value_info(own["name"], TensorProto.FLOAT, ["n", 3, own["height"], own["width"]])],
        [
            helper.make_tensor_value_info(outputs["embedding"], TensorProto.FLOAT, ["n", described["dimension"]]),
            helper.make_tensor_value_info(outputs["patches"], TensorProto.FLOAT, ["n", 64, 16]),
        ],
    )


def endless_loop(version: Path) -> None:
    """An encoder that never ends."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["sum_before", "sum_before"], ["sum_after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_before", TensorProto.FLOAT, ["n", 1]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum_after", TensorProto.FLOAT, ["n", 1]),
        ],
    )
    replace_model(
        version,
        lambda described: _graph(
            described,
            [
                _constant("turns", TensorProto.INT64, [2**63 - 1], []),
                _constant("yes", TensorProto.BOOL, [True], []),
                helper.make_node("Loop", ["turns", "yes", "mean"], ["seed"], body=body),
            ],
        ),
    )


def huge_tensor(version: Path) -> None:
    """An encoder that allocates 8 GB for one picture."""
    replace_model(
        version,
        lambda described: _graph(
            described,
            [
                _constant("size", TensorProto.INT64, [1, 2_000_000_000]),
                helper.make_node("Expand", ["mean", "size"], ["wide"]),
                helper.make_node("Exp", ["wide"], ["exp"]),
                helper.make_node("ReduceMean", ["exp"], ["seed"], axes=[1], keepdims=1),
            ],
        ),
    )


def not_a_number(version: Path) -> None:
    """An encoder that returns NaN."""
    replace_model(
        version,
        lambda described: _graph(
            described,
            [
                helper.make_node("Sub", ["mean", "mean"], ["none"]),
                helper.make_node("Div", ["none", "none"], ["seed"]),
            ],
        ),
    )


@contextmanager
def _metadata(version: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(version / METADATA)) as connection, connection:
        yield connection


def endless_view(version: Path) -> None:
    """Metadata in a view whose query never ends."""
    with _metadata(version) as connection:
        connection.executescript(
            "ALTER TABLE logos RENAME TO rows;"
            "CREATE VIEW logos AS WITH RECURSIVE n(x) AS (VALUES (0) UNION ALL SELECT x + 1 FROM n)"
            " SELECT id, logo_id, filename, metadata FROM rows, (SELECT max(x) FROM n);"
        )


def computed_column(version: Path) -> None:
    """Metadata of 500 MB per row, computed and not stored."""
    with _metadata(version) as connection:
        connection.executescript(
            "CREATE TABLE other (id INTEGER PRIMARY KEY, logo_id TEXT, filename TEXT,"
            " metadata TEXT AS (hex(zeroblob(250000000))));"
            "INSERT INTO other (id, logo_id, filename) SELECT id, logo_id, filename FROM logos;"
            "DROP TABLE logos; ALTER TABLE other RENAME TO logos;"
        )


def trigger(version: Path) -> None:
    """A schema with a trigger, which a catalog does not have."""
    with _metadata(version) as connection:
        connection.execute("CREATE TRIGGER surprise AFTER INSERT ON logos BEGIN SELECT 1; END")


def gap(version: Path) -> None:
    """Metadata without one of the rows, neither the first nor the last."""
    with _metadata(version) as connection:
        connection.execute("DELETE FROM logos WHERE id = 7")


def broken_json(version: Path) -> None:
    """Metadata with a row that is not JSON, which SQLite itself would not write."""
    content = (version / METADATA).read_bytes()
    assert content.count(b'"company":"Company 7"') == 1
    (version / METADATA).write_bytes(content.replace(b'"company":"Company 7"', b'"company":xCompany 7"'))


def long_row(version: Path) -> None:
    """Metadata with a row of 20 MB."""
    with _metadata(version) as connection:
        connection.execute(
            "UPDATE logos SET metadata = json_set(metadata, '$.extra.x', ?) WHERE id = 7", ["x" * 20_000_000]
        )


def other_patches(version: Path) -> None:
    """Patches of another shape than the encoder's, and of the same size."""
    patches = np.load(version / PATCHES)
    np.save(version / PATCHES, patches.reshape(len(patches), 16, -1))


def wide_patches(version: Path) -> None:
    """Patches of so many cells that their pairwise similarities would take terabytes."""
    count = len(np.load(version / PATCHES))
    np.save(version / PATCHES, np.zeros((count, 1_000_000, 1), np.int8))


def row_past_the_end(version: Path) -> None:
    """Posting lists whose last row does not exist. The file of the year has one key, of 8 bytes."""
    path = version / POSTINGS / "year.values"
    content = path.read_bytes()
    path.write_bytes(content[:-12] + struct.pack("<I", 2**31) + content[-8:])


def parts_past_the_end(version: Path) -> None:
    """Parts of a logo that begin after they end."""
    offsets = np.load(version / PART_OFFSETS)
    offsets[7] = 2**31 - 1
    np.save(version / PART_OFFSETS, offsets)


def other_parts(version: Path) -> None:
    """The index of the whole images in the place of that of the parts."""
    (version / PART_INDEX).write_bytes((version / INDEX).read_bytes())


def zero_part(version: Path) -> None:
    """An index of parts whose embeddings are all zero."""
    content = (version / PART_INDEX).read_bytes()
    parts = json.loads((version / MANIFEST).read_bytes())["parts"]["distinct"]
    (version / PART_INDEX).write_bytes(content[: -4 * 128 * parts] + bytes(4 * 128 * parts))


def long_sound(version: Path) -> None:
    """An index of words in which every word has the same sound of all letters: comparing them would take terabytes."""
    logos = json.loads((version / MANIFEST).read_bytes())["count"]
    arrays = WordArrays.open(version / WORDS, logos)
    one = dataclasses.replace(
        arrays,
        sound_starts=np.array([0, len(arrays.sounds)], np.uint32),
        key_sounds=np.zeros_like(arrays.key_sounds),
    )
    (version / WORDS).write_bytes(b"".join(one.content(logos)))


def other_words(version: Path) -> None:
    """An index of words that is not that of the logos."""
    writer = WordsWriter()
    for _ in range(json.loads((version / MANIFEST).read_bytes())["count"]):
        writer.add(Record(logo_id="", filename="", text="zzyzx"))
    writer.write(version / WORDS)


def broken_damage(version: Path) -> None:
    """A list of damaged images that is not JSON."""
    (version / DAMAGED).write_bytes(b"[" * 100_000)


def zero_embedding(version: Path) -> None:
    """An index whose last embedding is zero."""
    index = version / INDEX
    dimension = json.loads((version / MANIFEST).read_bytes())["dimension"]
    index.write_bytes(index.read_bytes()[: -4 * dimension] + bytes(4 * dimension))


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "endless loop": (endless_loop, "LOGO_TRIAL_SECONDS|SIGKILL"),
    "huge tensor": (huge_tensor, "allocate memory"),
    "not a number": (not_a_number, "not finite"),
    "endless view": (endless_view, "logos"),
    "computed column": (computed_column, "logos"),
    "trigger": (trigger, "surprise"),
    "gap": (gap, "1 row missing|has no row 7"),
    "broken JSON": (broken_json, "metadata"),
    "broken damage": (broken_damage, "damaged.jsonl: damaged"),
    "long row": (long_row, "too big"),
    "other patches": (other_patches, "patches of shape"),
    "wide patches": (wide_patches, "patches of shape"),
    "row past the end": (row_past_the_end, "year.values: damaged"),
    "parts past the end": (parts_past_the_end, "offsets.npy: damaged"),
    "other parts": (other_parts, "its manifest says"),
    "zero part": (zero_part, "not of unit length"),
    "long sound": (long_sound, "words.index: damaged"),
    "other words": (other_words, "does not find them"),
    "zero embedding": (zero_embedding, "not of unit length"),
}
"""Changes to the files of a version, and a pattern of the message that refuses it."""

BAD_MANIFESTS: dict[str, tuple[Edit, str]] = {
    "breadth of search": (lambda m: m["index"].update(ef_search=2**31 - 1), "ef_search"),
    "breadth of a build": (lambda m: m["index"].update(ef_construction=10**9), "ef_construction"),
    "edges": (lambda m: m["index"].update(m=10**6), "index.m"),
    "breadth of a search for parts": (lambda m: m["parts"]["index"].update(ef_search=2**31 - 1), "ef_search"),
    "more parts than are listed": (lambda m: m["parts"].update(count=2**31), "parts.count"),
    "no parts, and their files": (lambda m: m.update(parts=None), "parts/"),
    "size": (lambda m: m["files"][METADATA].update(size=10**15), "size"),
    "negative size": (lambda m: m["files"][METADATA].update(size=-1), "size"),
    "no logos": (lambda m: m.update(count=0), "count"),
    "too many logos": (lambda m: m.update(count=2**40), "count"),
    "logos that the index has no room for": (lambda m: m.update(count=2**30, distinct_images=2**30), INDEX),
    "more images than logos": (lambda m: m.update(distinct_images=2**30), "distinct_images"),
    "shared images without their rows": (lambda m: m.update(distinct_images=1), VECTOR_OFFSETS),
    "dimension": (lambda m: m.update(dimension=10**6), "dimension"),
    "answers": (lambda m: m["recall"].update(k=2**62), "recall.k"),
    "share": (lambda m: m["recall"].update(self_found=1.1), "self_found"),
    "curve": (lambda m: m["recall"].update(curve=[{"ef_search": 1, "value": 1.0}] * 101), "curve"),
    "no index": (lambda m: m["files"].pop(INDEX), INDEX),
    "no metadata": (lambda m: m["files"].pop(METADATA), METADATA),
    "no model": (lambda m: m["files"].pop("model/model.onnx"), "ONNX"),
    "no model.json": (lambda m: m["files"].pop("model/model.json"), "model.json"),
    "files": (lambda m: m["files"].update({f"f{n}": m["files"][INDEX] for n in range(100)}), "files"),
    "path": (lambda m: m["files"].update({"../x": m["files"][INDEX]}), "files"),
    "manifest in the manifest": (lambda m: m["files"].update({MANIFEST: m["files"][INDEX]}), MANIFEST),
    "text": (lambda m: m.update(software="x" * 10_000), "software"),
}
"""Edits of a manifest, and a word of the message that refuses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from logo_similarity.catalog.sources import json_rows
from logo_similarity.catalog.sources.json_rows import JsonTable
from logo_similarity.catalog.sources.rows import RowError
from logo_similarity.errors import SourceError

ROWS = [{"filename": "a.jpg", "text": "Žižkov }u~"}, {"filename": "b.jpg", "n": [1, {"x": None}]}, {"filename": "12"}]
LINES = [json.dumps(row, ensure_ascii=False) for row in ROWS]


def read(folder: Path, content: str | bytes, name: str = "marks.json") -> list[object]:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return [str(row) if isinstance(row, RowError) else row for _, row in JsonTable(folder / name).rows()]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        "\ufeff" + json.dumps(ROWS),
        "[" + ",\n".join(LINES) + ",\n]\n",
        "\n".join(LINES),
        ",\n".join(LINES) + ",\n",
        "\n".join(json.dumps(row, indent=2) for row in ROWS),
        json.dumps(ROWS, ensure_ascii=False).encode("utf-16"),
        "\n".join(LINES).encode("utf-16"),
        "\n".join(LINES).encode("utf-16-le"),
    ],
)
def test_a_json_file_in_any_form(tmp_path: Path, content: str | bytes) -> None:
    assert read(tmp_path, content) == ROWS


@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_values_over_the_ends_of_chunks(tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "CHUNK_CHARACTERS", chunk)
    assert read(tmp_path, "[" + ", ".join(LINES) + "]") == ROWS
    assert read(tmp_path, "[123, 4567]") == ["123 is not an object", "4567 is not an object"]


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(["[", *(line + "," for line in LINES), "]"]),
        "\r\n".join(LINES).encode("utf-16"),
        "\n".join([LINES[0], "", *LINES[1:]]),
    ],
)
def test_json_lines_in_any_form(tmp_path: Path, content: str | bytes) -> None:
    assert read(tmp_path, content, "marks.jsonl") == ROWS


def test_a_bad_line_costs_its_own_row(tmp_path: Path) -> None:
    assert read(tmp_path, "\n".join([LINES[0], '{"filename": ', "[1]", LINES[1]]), "marks.jsonl") == [
        ROWS[0],
        "the line is not valid JSON",
        "[1] is not an object",
        ROWS[1],
    ]


@pytest.mark.parametrize(
    "content", ['[{"a": 1}', '[{"a": 1}] x', '[{"a": 1}, x]', '{"a":\n1', "[" * 100_000, '[{"a": 1}}']
)
def test_json_that_breaks_off_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(SourceError, match=r"marks\.json: is not complete JSON"):
        read(tmp_path, content)


@pytest.mark.parametrize("content", ["", "[]", " [ ] ", "\n"])
def test_json_without_rows(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content) == []

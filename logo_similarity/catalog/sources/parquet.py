"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from logo_similarity.catalog.sources.tables import Row, name_columns
from logo_similarity.errors import SourceError

BATCH_ROWS = 4_096


class ParquetTable:
    """A Parquet file. A time that Python cannot represent is read as a text that is not a date."""

    facts: Mapping[str, str] = {}

    def __init__(self, path: Path) -> None:
        """Raises SourceError if the file is damaged, or two columns have the same name."""
        import pyarrow as pa  # 100 MB that only this format needs
        from pyarrow import parquet

        self._path = path
        try:
            with parquet.ParquetFile(path) as file:
                names = file.schema_arrow.names
        except (pa.ArrowException, ValueError) as error:
            raise self._damaged(error) from None
        self.columns = name_columns(path, names)

    def rows(self) -> Iterator[Row]:
        """See `Table.rows`."""
        import pyarrow as pa
        from pyarrow import parquet

        position = 0
        try:
            with parquet.ParquetFile(self._path) as file:
                for batch in file.iter_batches(BATCH_ROWS):
                    for cells in zip(*map(_values, batch.columns), strict=True):
                        yield f"{self._path.name}[{position}]", dict(zip(self.columns, cells, strict=True))
                        position += 1
        except pa.ArrowException as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> SourceError:
        return SourceError(f"{self._path}: cannot be read as Parquet ({error})")


def _values(column: Any) -> list[Any]:  # noqa: ANN401 - an array of pyarrow
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":  # Python's times have microseconds
        column = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):
        return [_value(scalar) for scalar in column]


def _value(scalar: Any) -> Any:  # noqa: ANN401 - a scalar of pyarrow
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        return f"{scalar.type} out of range"

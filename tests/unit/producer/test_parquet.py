"""Parquet files as sources."""

from __future__ import annotations

import datetime
import io
from pathlib import Path
from typing import Any

import arro3.io
import fsspec
import pytest
from arro3.core import Array, DataType, Table

from manyhands.errors import SourceError
from manyhands_producer.sources import check_source, open_source
from manyhands_producer.spool import pack
from tests.unit.producer.support import job_spec, read_all, refusals

ROWS = 1000


def table() -> Table:
    """A table with ids, two inputs and a truth."""
    return Table.from_pydict(
        {
            "id": Array([f"r{i}" for i in range(ROWS)], DataType.string()),
            "text": Array([f"text {i}" for i in range(ROWS)], DataType.string()),
            "label": Array([None if i % 2 else i for i in range(ROWS)], DataType.int64()),
        }
    )


def test_columns_become_payload_id_and_truth(tmp_path: Path) -> None:
    """Columns are found by name, and going on from any row gives the same rows, over row groups."""
    path = str(tmp_path / "items.parquet")
    arro3.io.write_parquet(table(), path, max_row_group_size=300)
    spec = job_spec({"path": path, "id": "id"}, gold={"column": "label"})
    for most in (77, ROWS * 2):
        rows = read_all(spec, most=most, reopen=True)
        assert rows.payloads == [f"text {i}" for i in range(ROWS)]
        assert rows.ids == [f"r{i}" for i in range(ROWS)]
        assert rows.truths == [None if i % 2 else i for i in range(ROWS)]
    assert read_all(job_spec({"path": path, "input": ["text", "label"]})).payloads[2] == {"text": "text 2", "label": 2}


def test_reads_any_fsspec_url() -> None:
    """A file on another file system is read through a file object."""
    body = io.BytesIO()
    arro3.io.write_parquet(table(), body)
    fsspec.filesystem("memory").pipe("/parquet/items.parquet", body.getvalue())
    spec = job_spec({"path": "memory://parquet/items.parquet", "id": "id", "input": "text"})
    assert read_all(spec, most=300, reopen=True).payloads == [f"text {i}" for i in range(ROWS)]


def test_an_id_that_is_null_is_bad(tmp_path: Path) -> None:
    """A row without an id is bad, the others are kept."""
    path = str(tmp_path / "items.parquet")
    columns: dict[str, Any] = {"id": Array(["a", None], DataType.string()), "x": Array([1, 2], DataType.int64())}
    arro3.io.write_parquet(Table.from_pydict(columns), path)
    rows = read_all(job_spec({"path": path, "id": "id"}))
    assert refusals(rows) == {1: ("bad-row", "items.parquet row 2: the id must be text or a whole number, not null")}
    assert rows.ids == ["a", None]


def test_a_file_without_rows(tmp_path: Path) -> None:
    """A table without rows is an empty source."""
    path = str(tmp_path / "items.parquet")
    arro3.io.write_parquet(Table.from_pydict({"x": Array([], DataType.int64())}), path)
    assert read_all(job_spec({"path": path})).payloads == []


def test_what_is_wrong_is_told_before_anything_is_published(tmp_path: Path) -> None:
    """A file that is no Parquet, or lacks a column, is refused at once."""
    path = tmp_path / "items.parquet"
    for body in (b"", b"PAR", b"id,text\n", b"PAR1 torn PAR1"):
        path.write_bytes(body)
        with pytest.raises(SourceError, match="no Parquet file"):
            check_source(job_spec({"path": str(path)}))
    arro3.io.write_parquet(table(), path)
    with pytest.raises(SourceError, match=r"no column 'x'; it has id, text, label"):
        check_source(job_spec({"path": str(path), "input": "x"}))
    with pytest.raises(SourceError, match="there is no such file"):
        check_source(job_spec({"path": f"{tmp_path}/none.parquet"}))


def test_times_travel_as_text(tmp_path: Path) -> None:
    """Types that MessagePack has not are packed as text."""
    path = str(tmp_path / "items.parquet")
    moment = Array([0], DataType.int64()).cast(DataType.timestamp("ms"))
    arro3.io.write_parquet(Table.from_pydict({"x": moment}), path)
    (value,) = open_source(job_spec({"path": path})).read(1, 1).payloads
    assert isinstance(value, datetime.datetime)
    assert b"1970-01-01T00:00:00" in pack(value)

"""Answers as CSV, JSON Lines or Parquet, in source order, without ever holding them whole."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import IO, Any

import orjson
from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema
from arro3.io import write_parquet as _write_parquet

from manyhands_aggregator.answers import Block

#: Bytes of a Parquet file sent at a time.
BLOCK = 1 << 18
COLUMNS = ("id", "answer", "confidence", "judgments")
STAGE = "stage"
FAILED_COLUMNS = ("position", "id", "code", "message")

#: The columns of a Parquet file: as in CSV, and why there is no answer.
PARQUET = Schema(
    [
        Field("position", DataType.int64(), nullable=False),
        Field("id", DataType.utf8(), nullable=False),
        Field("answer", DataType.utf8(), nullable=True),
        Field("confidence", DataType.float64(), nullable=True),
        Field("judgments", DataType.int64(), nullable=False),
        Field("error", DataType.utf8(), nullable=True),
    ]
)


def csv_blocks(blocks: Iterable[Block]) -> Iterator[bytes]:
    """CSV with the columns id, answer, confidence, judgments; a failed task has neither answer nor confidence.

    A job of several stages has the column stage behind them: the one that ended with the answer, counted from 0.
    """
    rest = iter(blocks)
    first = next(rest, Block())
    yield _csv([COLUMNS if first.stages is None else (*COLUMNS, STAGE)])
    for block in chain([first], rest):
        columns = [block.ids, _cells(block), _shares(block.confidences), block.counts]
        if block.stages is not None:
            columns.append(["" if stage is None else stage for stage in block.stages])
        yield _csv(zip(*columns, strict=True))


def failed_blocks(blocks: Iterable[Block]) -> Iterator[bytes]:
    """CSV of the tasks that have no answer, and why; only the head line when every task has one."""
    yield _csv([FAILED_COLUMNS])
    for block in blocks:
        if block.errors:
            yield _csv((block.positions[i], block.ids[i], f.code, f.message) for i, f in sorted(block.errors.items()))


def jsonl_blocks(blocks: Iterable[Block]) -> Iterator[bytes]:
    """JSON Lines with position, id, answer, confidence, judgments, stage where there are several, and error if none."""
    for block in blocks:
        yield b"".join([orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in as_maps(block)])


def write_parquet(blocks: Iterable[Block], file: IO[bytes]) -> None:
    """Write a Parquet file; an answer that is no text is JSON text. The column stage is there as in CSV."""
    rest = iter(blocks)
    first = next(rest, Block())
    schema = PARQUET if first.stages is None else PARQUET.append(Field(STAGE, DataType.int64(), nullable=True))
    batches = (
        RecordBatch.from_arrays(
            [
                Array(block.positions, DataType.int64()),
                Array(block.ids, DataType.utf8()),
                Array(_cells(block, None), DataType.utf8()),
                Array(block.confidences, DataType.float64()),
                Array(block.counts, DataType.int64()),
                Array([f.code if (f := block.errors.get(i)) else None for i in range(len(block.ids))], DataType.utf8()),
                *([] if block.stages is None else [Array(block.stages, DataType.int64())]),
            ],
            schema=schema,
        )
        for block in chain([first], rest)
    )
    _write_parquet(RecordBatchReader.from_batches(schema, batches), file, compression="zstd(3)")


def parquet_blocks(blocks: Iterable[Block]) -> Iterator[bytes]:
    """The same, block by block: its index is at the end and it is written by seeking, so it is made in a file first."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  closed by who reads it
    write_parquet(blocks, file)
    file.seek(0)
    return _parts(file)


def _parts(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK):
            yield block


def as_maps(block: Block) -> list[dict[str, Any]]:
    """Answers as JSON has them."""
    rows = [
        {"position": position, "id": id_, "answer": value, "confidence": confidence, "judgments": count}
        for position, id_, value, confidence, count in zip(
            block.positions, block.ids, block.values, _rounded(block.confidences), block.counts, strict=True
        )
    ]
    for row, stage in zip(rows, block.stages or (), strict=False):
        row[STAGE] = stage
    for index, failure in block.errors.items():
        rows[index]["error"] = {"code": failure.code, "message": failure.message}
    return rows


def cell(value: Any) -> str:
    """A value as one cell: text as it is, numbers as short as they can be told apart, everything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _cells(block: Block, missing: str | None = "") -> list[str | None]:
    cells = list(block.values)
    if set(map(type, cells)) != {str}:
        cells = [cell(value) for value in cells]
        for index in block.errors:
            cells[index] = missing
    return cells


def _rounded(confidences: Sequence[float | None]) -> Sequence[float | None]:
    return [None if c is None else round(c, 6) for c in confidences]


def _shares(confidences: Sequence[float | None]) -> list[str]:
    said = {c: "" if c is None else f"{c:.6g}" for c in set(confidences)}  # a block has few different ones
    return [said[c] for c in confidences]


def _csv(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


#: The formats that stream, with their media types.
STREAMS: dict[str, tuple[Callable[[Iterable[Block]], Iterator[bytes]], str]] = {
    "csv": (csv_blocks, "text/csv"),
    "jsonl": (jsonl_blocks, "application/x-ndjson"),
}

"""Answers as CSV, JSON Lines or Parquet, in source order, without ever holding them whole."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import IO, Any

import orjson
from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema
from arro3.io import write_parquet as _write_parquet

from manyhands_aggregator.reading import Answer

#: Rows turned into bytes at a time.
ROWS = 5000

COLUMNS = ("id", "answer", "confidence", "judgments")
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


def csv_blocks(answers: Iterable[Answer]) -> Iterator[bytes]:
    """CSV with the columns id, answer, confidence, judgments; a failed task has neither answer nor confidence."""
    yield _csv([COLUMNS])
    for block in _blocks(answers):
        yield _csv([(a.id, cell(a.value), _share(a.confidence), a.judgments) for a in block])


def failed_blocks(answers: Iterable[Answer]) -> Iterator[bytes]:
    """CSV of the tasks that have no answer, and why; only the head line when every task has one."""
    yield _csv([FAILED_COLUMNS])
    for block in _blocks(a for a in answers if a.error is not None):
        yield _csv([(a.position, a.id, a.error, a.message) for a in block])


def jsonl_blocks(answers: Iterable[Answer]) -> Iterator[bytes]:
    """JSON Lines with position, id, answer, confidence, judgments, and error where there is no answer."""
    for block in _blocks(answers):
        yield b"".join(orjson.dumps(as_map(a), option=orjson.OPT_APPEND_NEWLINE) for a in block)


def write_parquet(answers: Iterable[Answer], file: IO[bytes]) -> None:
    """Write a Parquet file; an answer that is neither text nor number is JSON text."""
    batches = (
        RecordBatch.from_arrays(
            [
                Array([a.position for a in block], DataType.int64()),
                Array([a.id for a in block], DataType.utf8()),
                Array([None if a.error else cell(a.value) for a in block], DataType.utf8()),
                Array([a.confidence for a in block], DataType.float64()),
                Array([a.judgments for a in block], DataType.int64()),
                Array([a.error for a in block], DataType.utf8()),
            ],
            schema=PARQUET,
        )
        for block in _blocks(answers)
    )
    _write_parquet(RecordBatchReader.from_batches(PARQUET, batches), file, compression="zstd(3)")


def as_map(answer: Answer) -> dict[str, Any]:
    """An answer as JSON has it."""
    said: dict[str, Any] = {
        "position": answer.position, "id": answer.id, "answer": answer.value,
        "confidence": None if answer.confidence is None else round(answer.confidence, 6),
        "judgments": answer.judgments,
    }  # fmt: skip
    if answer.error is not None:
        said["error"] = {"code": answer.error, "message": answer.message}
    return said


def cell(value: Any) -> str:
    """A value as one cell: text as it is, numbers as short as they can be told apart, everything else as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _share(confidence: float | None) -> str:
    return "" if confidence is None else f"{confidence:.6g}"


def _blocks(answers: Iterable[Answer]) -> Iterator[list[Answer]]:
    iterator = iter(answers)
    while block := list(islice(iterator, ROWS)):
        yield block


def _csv(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


#: The formats that stream, with their media types.
STREAMS: dict[str, tuple[Callable[[Iterable[Answer]], Iterator[bytes]], str]] = {
    "csv": (csv_blocks, "text/csv"),
    "jsonl": (jsonl_blocks, "application/x-ndjson"),
}

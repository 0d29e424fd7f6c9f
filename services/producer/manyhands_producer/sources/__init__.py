"""Where items come from: one module a format, all read as streams that go on from a cursor."""

from __future__ import annotations

from typing import Any

from manyhands.errors import SourceError
from manyhands.spec import JobSpec
from manyhands_producer.sources.base import Columns, Cursor, Refusal, Rows, Source
from manyhands_producer.sources.csvfile import CsvFile
from manyhands_producer.sources.files import format_of, said
from manyhands_producer.sources.folder import Folder
from manyhands_producer.sources.gold import Gold, load_gold
from manyhands_producer.sources.jsonlines import JsonLines
from manyhands_producer.sources.parquet import ParquetFile

__all__ = ["Columns", "Cursor", "Gold", "Refusal", "Rows", "Source", "check_source", "load_gold", "open_source"]


def open_source(spec: JobSpec, cursor: Cursor | None = None, *, limit: int = 1 << 20) -> Source:
    """The job's source, to be read on from ``cursor`` (None: from its beginning).

    ``limit`` is the most bytes one payload may have; larger files are refused without being read.

    Raises:
        SourceError: it cannot be read, or has not the columns that the job names.
    """
    source = spec.source
    if source is None:
        raise SourceError("the job has no source; its tasks are pushed")
    truth = spec.gold.column if spec.gold is not None else None
    kind = source.format or format_of(source.path)
    columns = Columns(id=source.id, input=source.input, truth=truth)
    if kind == "folder":
        if truth or source.id or source.input:
            raise SourceError("a folder has no columns: leave out source.id, source.input and gold.column")
        return Folder(source.path, source.pattern, source.payload, cursor, limit=limit)
    readers: dict[str, Any] = {"csv": CsvFile, "jsonl": JsonLines, "parquet": ParquetFile}
    opened: Source = readers[kind](source.path, columns, cursor)
    return opened


def check_source(spec: JobSpec, *, limit: int = 1 << 20) -> None:
    """See that the source and the gold can be read, before anything is published.

    Raises:
        SourceError: says what cannot be read and why.
    """
    try:
        if spec.source is not None:
            open_source(spec, limit=limit).close()
        load_gold(spec)
    except OSError as error:
        raise SourceError(said(error)) from error

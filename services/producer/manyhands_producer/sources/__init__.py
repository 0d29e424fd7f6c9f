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
from manyhands_producer.sources.mixed import Mixed, items_of, of_files, read_items
from manyhands_producer.sources.named import Named
from manyhands_producer.sources.parquet import ParquetFile
from manyhands_producer.sources.roots import Roots

__all__ = [
    "Columns",
    "Cursor",
    "Gold",
    "Mixed",
    "Refusal",
    "Roots",
    "Rows",
    "Source",
    "check_roots",
    "check_source",
    "load_gold",
    "load_mixed",
    "open_source",
]


def open_source(
    spec: JobSpec, cursor: Cursor | None = None, *, limit: int = 1 << 20, roots: Roots | None = None
) -> Source:
    """The job's source, to be read on from ``cursor`` (None: from its beginning).

    ``limit`` is the most bytes one payload may have; larger files are refused without being read. ``roots`` says what
    may be read; None: anything.

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
        return Folder(source.path, source.pattern, source.payload, cursor, limit=limit, roots=roots)
    readers: dict[str, Any] = {"csv": CsvFile, "jsonl": JsonLines, "parquet": ParquetFile}
    opened: Source = readers[kind](source.path, columns, cursor)
    return opened


def load_mixed(
    spec: JobSpec, job: str, secret: bytes | None = b"", *, limit: int = 1 << 20, roots: Roots | None = None
) -> Mixed | None:
    """The items of gold that are mixed into a job, by its secret (None: they themselves are it); None: there are none.

    Raises:
        SourceError: they cannot be read, one has no answer, or one could be told from the others.
    """
    items = items_of(spec)
    if items is None or spec.gold is None or spec.gold.share is None:
        return None
    source = open_source(items, limit=limit, roots=roots)
    if of_files(spec):
        if spec.source is not None and spec.source.payload == "reference":
            source.close()
            raise SourceError(
                "gold that is mixed into a folder of references would be known by its address; put the files into the "
                "folder, and leave out gold.share"
            )
        source = Named(source, items.source.path if items.source is not None else "", limit=limit, roots=roots)
    return read_items(spec, job, secret, spec.gold.share, source)


def check_source(spec: JobSpec, *, limit: int = 1 << 20, roots: Roots | None = None) -> None:
    """See that the source and the gold may and can be read, before anything is published.

    Raises:
        SourceError: says what cannot be read and why.
    """
    check_roots(spec, roots)
    try:
        if spec.source is not None:
            open_source(spec, limit=limit, roots=roots).close()
        load_gold(spec)
        load_mixed(spec, "", limit=limit, roots=roots)
    except OSError as error:
        raise SourceError(said(error)) from error


def check_roots(spec: JobSpec, roots: Roots | None) -> None:
    """See that source and gold lie in the roots.

    Raises:
        SourceError: one of them does not.
    """
    gold = spec.gold.path if spec.gold is not None else None
    for path in (spec.source.path if spec.source is not None else None, gold):
        if path is not None and roots is not None and not roots.hold(path):
            raise SourceError(
                f"{path} is outside of what this producer may read; add its folder to MANYHANDS_SOURCE_ROOTS"
            )

"""The truths of gold tasks: a column of the source, or a file of its own that is loaded once."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import orjson

from manyhands.errors import SourceError
from manyhands.spec import JobSpec
from manyhands_producer.sources.base import id_of
from manyhands_producer.sources.files import DAMAGED, format_of, name_of, open_file

#: Bytes of such a file, unpacked, at most: it is in memory for as long as its job is read.
LIMIT = 64 << 20

#: The truth by the task's own id; a task without one stands under its position.
Gold = Mapping[str, Any]


def load_gold(spec: JobSpec) -> Gold | None:
    """The truths of ``gold.path``, or None when the job has no such file, or one of items of its own.

    Raises:
        SourceError: it cannot be read, or has not the columns id and answer.
    """
    if spec.gold is None or spec.gold.path is None or spec.gold.share is not None:
        return None
    path = spec.gold.path
    kind = format_of(path)
    if kind not in ("csv", "jsonl"):
        raise SourceError(f"{path}: gold is a CSV or JSON Lines file with the columns id and answer")
    with open_file(path) as file:
        try:
            body = file.read(LIMIT + 1)
        except DAMAGED as error:
            raise SourceError(f"{path}: the file is damaged: {error}") from error
    if len(body) > LIMIT:
        raise SourceError(f"{path}: gold of more than {LIMIT >> 20} MiB; put the truth into a column, gold.column")
    try:
        text = body.decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline=""))) if kind == "csv" else _objects(text)
        return {id_of(row["id"]): row["answer"] for row in rows}
    except UnicodeDecodeError as error:
        raise SourceError(f"{name_of(path)} is not UTF-8") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise SourceError(f"{name_of(path)}: gold has the columns id and answer in every row ({error})") from error


def _objects(text: str) -> list[Any]:
    return [orjson.loads(line) for line in text.split("\n") if line.strip()]

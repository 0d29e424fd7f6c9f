"""JSON Lines: one object a line."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

import orjson

from manyhands.errors import SourceError
from manyhands_producer.sources.base import BAD_ROW, TOO_LARGE, Columns, Cursor, Refusal, Rows, id_of, ids_of, json_name
from manyhands_producer.sources.files import LINE_LIMIT, Lines, TooLong, name_of, open_file

#: Lines looked at to see which columns there are, when the job names none.
PEEK = 100


class JsonLines:
    """A JSON Lines file. Empty lines are passed over.

    Which columns are the input is settled by the first object of the file, when the job does not say.
    """

    def __init__(self, path: str, columns: Columns, cursor: Cursor | None) -> None:
        self._name, self._path, self._columns = name_of(path), path, columns
        cursor = cursor or {"offset": 0, "row": 0, "line": 0, "input": self._inputs()}
        self._row, self._line = int(cursor["row"]), int(cursor["line"])
        self._input: str | list[str] | None = cursor["input"]
        self._payloads = _payloads(self._input, columns)
        self._file = open_file(path)
        self._lines = Lines(self._file, int(cursor["offset"]))

    def _inputs(self) -> str | list[str] | None:
        """The input columns; None stands for whatever columns a row has, but the id and the truth."""
        with open_file(self._path) as file:
            peeked = Lines(file).take(PEEK)
        if self._columns.input is not None:
            return self._columns.input
        for line in peeked:
            try:
                first = orjson.loads(line)
                inputs = self._columns.inputs(list(first))
            except (ValueError, TypeError):
                continue  # a bad row: it is refused when its turn comes
            if isinstance(inputs, list) and not inputs:
                raise SourceError(f"{self._name} has no column for the judges besides the id and the truth")
            return inputs if isinstance(inputs, str) else None
        return None

    @property
    def cursor(self) -> Cursor:
        """The offset of the next line, and how many rows and lines were before it."""
        return {"offset": self._lines.offset, "row": self._row, "line": self._line, "input": self._input}

    def read(self, most: int, size: int) -> Rows:
        """The next rows."""
        lines: list[bytes] = []
        start, end = self._lines.offset, False
        try:
            while not end and len(lines) < most and self._lines.offset - start < size:
                part = self._lines.take(most - len(lines))
                end = not part
                lines += part
        except SourceError as error:
            raise SourceError(f"{self._name} after row {self._row + len(lines)}: {error.detail}") from error
        rows = self._quick(lines) or self._slow(lines)
        rows.end = end
        self._row += len(rows.payloads)
        self._line += len(lines)
        return rows

    def _quick(self, lines: list[bytes]) -> Rows | None:
        """All lines at once, in loops that run in C; None when any of them needs a closer look."""
        columns = self._columns
        try:
            objects = list(map(orjson.loads, lines))
            payloads = self._payloads(objects)
            ids = ids_of(list(map(itemgetter(columns.id), objects))) if columns.id else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        truths = [o.get(columns.truth) for o in objects] if columns.truth else None
        row, line = self._row + 1, self._line + 1
        return Rows(
            payloads=payloads,
            ids=ids,
            truths=truths,
            where=lambda i: f"{self._name} row {row + i} (line {line + i})",
        )

    def _slow(self, lines: list[bytes]) -> Rows:
        """Line by line, to say of each what is wrong with it."""
        columns = self._columns
        rows = Rows(payloads=[], ids=[] if columns.id else None, truths=[] if columns.truth else None)
        numbers: list[int] = []
        row = self._row + 1
        rows.where = lambda i: f"{self._name} row {row + i} (line {numbers[i]})"
        for number, line in enumerate(lines, self._line + 1):
            if not line.strip() and not isinstance(line, TooLong):
                continue
            index = len(numbers)
            numbers.append(number)
            payload, own, truth = None, None, None
            try:
                item = _object(line)
                own = id_of(_column(item, columns.id)) if columns.id else None
                truth = item.get(columns.truth) if columns.truth else None
                for name in [self._input] if isinstance(self._input, str) else self._input or []:
                    _column(item, name)
                payload = self._payloads([item])[0]
            except _TooLongError as error:
                rows.refused[index] = Refusal(TOO_LARGE, f"{rows.where(index)}: {error}")
            except ValueError as error:
                rows.refused[index] = Refusal(BAD_ROW, f"{rows.where(index)}: {error}")
            rows.payloads.append(payload)
            if rows.ids is not None:
                rows.ids.append(own)
            if rows.truths is not None:
                rows.truths.append(truth)
        return rows

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _TooLongError(ValueError):
    """A line over the limit."""


def _payloads(inputs: str | list[str] | None, columns: Columns) -> Callable[[list[Any]], list[Any]]:
    """How a list of objects becomes a list of payloads."""
    if isinstance(inputs, str):
        value = itemgetter(inputs)
        return lambda objects: list(map(value, objects))
    if inputs is not None:
        return lambda objects: [{name: o[name] for name in inputs} for o in objects]
    others = {columns.id, columns.truth}
    return lambda objects: [{name: value for name, value in o.items() if name not in others} for o in objects]


def _object(line: bytes) -> dict[str, Any]:
    if isinstance(line, TooLong):
        raise _TooLongError(f"the line has {line.length:,} bytes of at most {LINE_LIMIT:,}")
    try:
        item = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            line.decode()
        except UnicodeDecodeError:
            raise ValueError("not UTF-8") from None
        raise ValueError(f"torn or wrong JSON: {error}") from None
    if not isinstance(item, dict):
        raise ValueError(f"an object is expected, not {json_name(item)}")
    return item


def _column(item: dict[str, Any], name: str) -> Any:
    if name not in item:
        raise ValueError(f"the column {name!r} is missing; there is {', '.join(map(repr, item)) or 'none'}")
    return item[name]

"""CSV: a header, then records whose quoted cells may hold line feeds. Cells are text."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from typing import Any

from manyhands.errors import SourceError
from manyhands_producer.sources.base import BAD_ROW, TOO_LARGE, Columns, Cursor, Refusal, Rows, id_of, ids_of
from manyhands_producer.sources.files import LINE_LIMIT, Lines, TooLong, name_of, open_file

#: Records between two looks at how many bytes were read.
STEP = 256
#: Bytes that are not UTF-8 become the surrogates U+DC80 to U+DCFF; this one below them stands for an endless line.
_ENDLESS = "\udc00"


class CsvFile:
    """A CSV file, its first record the header. Empty lines are passed over.

    The cursor is at a record's first byte: a record asks for its lines one by one, so the lines taken when it ends are
    its own and no more.
    """

    def __init__(self, path: str, columns: Columns, cursor: Cursor | None) -> None:
        csv.field_size_limit(LINE_LIMIT)
        self._name, self._columns = name_of(path), columns
        with open_file(path) as file:
            self._offset, self._line, self._row = 0, 0, 0
            self._start(Lines(file))
            self._header = self._read_header()
        inputs = columns.inputs(self._header)
        if isinstance(inputs, list) and not inputs:
            raise SourceError(f"{self._name} has no column for the judges besides the id and the truth")
        self._inputs = [inputs] if isinstance(inputs, str) else inputs
        self._bare = isinstance(inputs, str)
        self._places = {name: self._header.index(name) for name in (*columns.named(), *self._inputs)}
        if cursor is not None:
            self._offset, self._line, self._row = (int(cursor[key]) for key in ("offset", "line", "row"))
        self._file = open_file(path)
        self._start(Lines(self._file, self._offset))

    def _start(self, lines: Lines) -> None:
        self._dirty = False
        self._records = csv.reader(self._text(lines), strict=True)

    def _text(self, lines: Lines) -> Iterator[str]:
        """The lines as text; counts each as it is asked for."""
        while True:
            # offsets are counted here and not by Lines, which has given away lines that no record has asked for yet
            mark = lines.offset == 0
            block = lines.take(STEP)
            if not block:
                return
            if mark:
                self._offset += lines.offset - sum(map(len, block)) - len(block)  # a byte order mark
            for line in block:
                self._offset += len(line) + 1
                self._line += 1
                if isinstance(line, TooLong):
                    self._offset += line.length
                    self._dirty = True
                    yield _ENDLESS + "\n"
                    continue
                try:
                    text = line.decode()
                except UnicodeDecodeError:
                    text = line.decode(errors="surrogateescape")
                    self._dirty = True
                yield text + "\n"

    def _read_header(self) -> list[str]:
        try:
            header = next(filter(None, self._records), [])
        except csv.Error as error:
            raise SourceError(f"{self._name}: the header is not right: {error}") from error
        if self._dirty:
            raise SourceError(f"{self._name}: the header is not UTF-8")
        if len(set(header)) != len(header):
            raise SourceError(f"{self._name}: two columns of the header have the same name")
        for name in self._columns.named():
            # an empty file has no header either; it is an empty source, not a wrong one
            if header and name not in header:
                raise SourceError(f"{self._name} has no column {name!r}; its header has {', '.join(header)}")
        return header or [*self._columns.named(), "-"]

    @property
    def cursor(self) -> Cursor:
        """The offset of the next record, and how many rows and lines were before it."""
        return {"offset": self._offset, "row": self._row, "line": self._line}

    def read(self, most: int, size: int) -> Rows:
        """The next rows."""
        if self._offset == 0:
            next(filter(None, self._records), None)  # the header, once more
        start, line = self._offset, self._line
        records: list[list[str]] = []
        broken: dict[int, tuple[Refusal, int]] = {}
        self._dirty = False
        end = False
        while not end and len(records) < most and self._offset - start < size:
            wanted = min(STEP, most - len(records))
            before = len(records)
            try:
                records.extend(islice(self._records, wanted))
                end = len(records) - before < wanted
            except csv.Error as error:
                # what was read of it is lost; the reader goes on at the next line
                code = TOO_LARGE if "field larger" in str(error) else BAD_ROW
                broken[len(records)] = (Refusal(code, f"not CSV: {error}"), self._line)
                records.append([""] * len(self._header))
            except SourceError as error:
                raise SourceError(f"{self._name} after row {self._row + len(records)}: {error.detail}") from error
        rows = self._columns_of(records, line, broken)
        rows.end = end
        self._row += len(rows.payloads)
        return rows

    def _columns_of(self, records: list[list[str]], line: int, broken: dict[int, tuple[Refusal, int]]) -> Rows:
        row = self._row + 1
        refused: dict[int, Refusal] = {}
        width = len(self._header)
        lines: list[int] | None = None
        if broken or self._dirty or set(map(len, records)) - {width}:
            lines = []
            kept: list[list[str]] = []
            for index, record in enumerate(records):
                line += 1
                first, line = line, line + sum(cell.count("\n") for cell in record)
                if not record:
                    continue
                here, at = len(kept), f"{self._name} row {row + len(kept)} (line {first})"
                if index in broken:
                    refusal, line = broken[index]
                    refused[here] = Refusal(refusal.code, f"{at}: {refusal.message}")
                elif (found := self._refusal(record, at)) is not None:
                    refused[here] = found
                lines.append(first)
                kept.append(record if len(record) == width else (record + [""] * width)[:width])
            records = kept
        counted = lines

        def where(index: int) -> str:
            first = counted[index] if counted is not None else line + 1 + index + _feeds(records[:index])
            return f"{self._name} row {row + index} (line {first})"

        rows = Rows(payloads=self._payloads(records), refused=refused, where=where)
        if self._columns.id is not None:
            rows.ids = self._ids(records, rows)
        if self._columns.truth is not None:
            place = self._places[self._columns.truth]
            rows.truths = [record[place] or None for record in records]
        return rows

    def _payloads(self, records: list[list[str]]) -> list[Any]:
        places = [self._places[name] for name in self._inputs]
        if self._bare:
            (place,) = places
            return [record[place] for record in records]
        pairs = list(zip(self._inputs, places, strict=True))
        return [{name: record[place] for name, place in pairs} for record in records]

    def _ids(self, records: list[list[str]], rows: Rows) -> list[str | None]:
        place = self._places[self._columns.id or ""]
        values: list[Any] = [record[place] for record in records]
        if not rows.refused:
            try:
                return ids_of(values)
            except ValueError:
                pass
        for index, value in enumerate(values):
            try:
                value.encode()
                id_of(value)
            except ValueError as error:
                values[index] = None
                rows.refused.setdefault(index, Refusal(BAD_ROW, f"{rows.where(index)}: {error}"))
        return values

    def _refusal(self, record: list[str], at: str) -> Refusal | None:
        text = "".join(record)
        if _ENDLESS in text:
            return Refusal(TOO_LARGE, f"{at}: the line has more than {LINE_LIMIT:,} bytes")
        if self._dirty:
            try:
                text.encode()
            except UnicodeEncodeError:
                return Refusal(BAD_ROW, f"{at}: not UTF-8")
        if len(record) != len(self._header):
            return Refusal(BAD_ROW, f"{at}: {_cells(len(record))} where the header has {len(self._header)}")
        return None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _feeds(records: list[list[str]]) -> int:
    return sum(cell.count("\n") for record in records for cell in record)


def _cells(count: int) -> str:
    return f"{count} cell{'' if count == 1 else 's'}"

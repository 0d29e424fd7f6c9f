"""Parquet, through Arrow, a batch of rows at a time."""

from __future__ import annotations

from typing import IO, Any

import arro3.io

from manyhands.errors import SourceError
from manyhands_producer.sources.base import BAD_ROW, Columns, Cursor, Refusal, Rows, id_of, ids_of
from manyhands_producer.sources.files import filesystem, is_local, name_of, open_file, said

#: Rows of the first batch, which tells how large rows are, and bytes and rows of those that follow.
PROBE, BATCH_BYTES, BATCH_ROWS = 64, 2 << 20, 8192
#: The first and the last bytes of a Parquet file.
MAGIC = b"PAR1"


class ParquetFile:
    """A Parquet file. Going on from a cursor decodes the batches before it again and throws them away."""

    def __init__(self, path: str, columns: Columns, cursor: Cursor | None) -> None:
        self._name, self._path = name_of(path), path
        self._file: IO[bytes] | None = None
        self._batches = self._open(PROBE)
        self._known: list[str] = list(self._batches.schema.names)
        for name in columns.named():
            if name not in self._known:
                raise SourceError(f"{self._name} has no column {name!r}; it has {', '.join(self._known)}")
        inputs = columns.inputs(self._known)
        if isinstance(inputs, list) and not inputs:
            raise SourceError(f"{self._name} has no column for the judges besides the id and the truth")
        self._columns, self._inputs = columns, inputs
        probe = self._next()
        if probe is not None:
            self._batches = self._open(max(1, min(BATCH_ROWS, BATCH_BYTES * probe.num_rows // max(probe.nbytes, 1))))
        self._row = 0
        self._batch: Any = None
        self._used = 0
        self._skip(0 if cursor is None else int(cursor["row"]))

    def _open(self, batch: int) -> Any:
        self.close()
        system, inner = filesystem(self._path)
        try:
            self._file = open_file(self._path, unpack=False)
            _look_at(self._file)
            return arro3.io.read_parquet(inner if is_local(system) else self._file, batch_size=batch)
        except SourceError:
            raise
        except BaseException as error:
            _our_fault(error)
            raise SourceError(f"{self._name} is no Parquet file: {said(error)}") from error

    def _next(self) -> Any:
        try:
            return self._batches.read_next_batch()
        except StopIteration:
            return None
        except BaseException as error:
            _our_fault(error)
            raise SourceError(f"{self._name} cannot be read on: {said(error)}") from error

    def _skip(self, rows: int) -> None:
        while self._row < rows and (batch := self._next()) is not None:
            used = min(batch.num_rows, rows - self._row)
            self._row += used
            self._batch, self._used = batch, used

    @property
    def cursor(self) -> Cursor:
        """The number of the next row."""
        return {"row": self._row}

    def read(self, most: int, size: int) -> Rows:
        """The next rows."""
        columns, row = self._columns, self._row + 1
        values: dict[str, list[Any]] = {name: [] for name in {*columns.named(), *self._names()}}
        count, read, end = 0, 0, False
        while count < most and read < size:
            if self._batch is None or self._used >= self._batch.num_rows:
                self._batch, self._used = self._next(), 0
                if self._batch is None:
                    end = True
                    break
            used = min(self._batch.num_rows - self._used, most - count)
            part = self._batch.slice(self._used, used)
            for name, column in values.items():
                column.extend(part.column(name).to_pylist())
            read += self._batch.nbytes * used // self._batch.num_rows
            count += used
            self._used += used
        self._row += count
        rows = Rows(payloads=self._payloads(values, count), where=lambda i: f"{self._name} row {row + i}", end=end)
        if columns.truth is not None:
            rows.truths = values[columns.truth]
        if columns.id is not None:
            rows.ids = self._ids(values[columns.id], rows)
        return rows

    def _names(self) -> list[str]:
        return [self._inputs] if isinstance(self._inputs, str) else self._inputs

    def _payloads(self, values: dict[str, list[Any]], count: int) -> list[Any]:
        if isinstance(self._inputs, str):
            return values[self._inputs]
        columns = [values[name] for name in self._inputs]
        return [dict(zip(self._inputs, row, strict=True)) for row in zip(*columns, strict=True)] if count else []

    def _ids(self, values: list[Any], rows: Rows) -> list[str | None]:
        try:
            return ids_of(values)
        except ValueError:
            pass
        ids: list[str | None] = []
        for index, value in enumerate(values):
            try:
                ids.append(id_of(value))
            except ValueError as error:
                ids.append(None)
                rows.refused[index] = Refusal(BAD_ROW, f"{rows.where(index)}: {error}")
        return ids

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _look_at(file: IO[bytes]) -> None:
    """A file that is plainly something else is told before Arrow sees it, which panics over some."""
    head = file.read(len(MAGIC))
    file.seek(-min(len(MAGIC), file.seek(0, 2)), 2)
    if head != MAGIC or file.read() != MAGIC:
        raise ValueError("it does not begin and end with PAR1")
    file.seek(0)


def _our_fault(error: BaseException) -> None:
    """Let pass what is not Arrow's; its errors have no common class, and its panics are no ``Exception``."""
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error

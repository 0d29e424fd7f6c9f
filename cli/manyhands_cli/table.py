"""The rows of a CSV file that somebody made with whatever there was, each with its line; bad ones are named."""

from __future__ import annotations

import csv
import io
import re
import reprlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from manyhands.errors import ManyhandsError

if TYPE_CHECKING:
    from _csv import Reader

#: Bad rows, or columns, that are named one by one; of more, only how many.
NAMED = 10
#: Characters of a cell at most: behind a quote that nothing closes, no more than that is one bad row.
LONGEST_CELL = 1 << 17
#: What stands for standard input.
STDIN = Path("-")
#: How files begin that are no CSV in UTF-8, and what they are.
_OTHERWISE = {
    b"\x1f\x8b": "it is packed; unpack it with gunzip",
    b"PK": "it is a workbook or an archive; save it as CSV",
    b"PAR1": "it is Parquet; save it as CSV",
    b"\xff\xfe": "it is UTF-16; save it as UTF-8",
    b"\xfe\xff": "it is UTF-16; save it as UTF-8",
}
#: A byte that is not UTF-8, as the reader hands it on.
_NO_TEXT = re.compile("[\udc80-\udcff]")


class BadTable(ManyhandsError):
    """The CSV file cannot be used."""


def read_rows(path: Path, names: Sequence[Sequence[str]], bad: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The named columns of every row that has something in each of them, stripped, with the line where it begins.

    Each of ``names`` is what a column is called, and behind that what else it may be called; the last that is there
    counts. ``bad`` gets a sentence for each row that is left out.

    Raises:
        BadTable: it is not there, is no CSV in UTF-8, or lacks one of the columns.
        OSError: it cannot be read.
    """
    with _opened(path) as file, _limited_cells():
        rows = _readable(csv.reader(file, strict=True, skipinitialspace=True), bad)
        _, first = next(rows, (0, []))
        if _garbled(first):
            start = first[0].encode(errors="surrogateescape")
            why = next((what for mark, what in _OTHERWISE.items() if start.startswith(mark)), "save it as UTF-8")
            raise BadTable(f"{path}: its first line is not UTF-8; {why}")
        head = [name.strip().lower() for name in first]
        places = _places(path, head, names)
        for line, row in rows:
            if not row:
                continue
            if _garbled(row):
                bad.append(f"line {line}: it is not UTF-8")
                continue
            if any(cell.strip() for cell in row[len(head) :]):
                bad.append(f"line {line}: {len(row)} cells, and the first line has {len(head)}")
                continue
            found = [row[place].strip() if place < len(row) else "" for place in places]
            if "" in found:
                bad.append(f"line {line}: no {names[found.index('')][0]}")
                continue
            yield line, found


def name_bad(path: Path, bad: Sequence[str]) -> Iterator[str]:
    """What to say of the rows that were left out: the first by their lines, then how many more there are."""
    for said in bad[:NAMED]:
        yield f"{path}, {said}; left out"
    if len(bad) > NAMED:
        yield f"{path}: {len(bad) - NAMED} more rows left out"


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if path != STDIN and not path.exists():
        raise BadTable(f"there is no file {path}")
    if path == STDIN and sys.stdin.buffer.closed:
        raise BadTable("standard input can be read once")
    bare = sys.stdin.buffer if path == STDIN else path.open("rb")
    with io.TextIOWrapper(bare, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        yield file


@contextmanager
def _limited_cells() -> Iterator[None]:
    """The limit is one for all readers of the process, and job files with CSV sources have a greater one."""
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _places(path: Path, head: Sequence[str], names: Sequence[Sequence[str]]) -> list[int]:
    """Where each column is."""
    called = [next((name for name in reversed(some) if name in head), None) for some in names]
    wanted = ",".join(some[0] for some in names)
    found: list[int] = []
    for some, name in zip(names, called, strict=True):
        if name is None:
            there = ", ".join(map(reprlib.repr, head[:NAMED])) or "nothing"
            raise BadTable(
                f"{path}: no column {some[0]!r}; the first line must name {wanted}, with commas between; "
                f"it names {there}"
            )
        if head.count(name) > 1:
            raise BadTable(f"{path}: two columns {name!r}; the first line must name {wanted}, each once")
        found.append(head.index(name))
    return found


def _garbled(row: Sequence[str]) -> bool:
    text = "".join(row)
    return not text.isascii() and _NO_TEXT.search(text) is not None


def _readable(reader: Reader, bad: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Each row and the line where it begins; one that is no CSV is named, as behind a quote that nothing closes."""
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            where = f"line {line}" if reader.line_num == line else f"lines {line} to {reader.line_num}"
            why = "a quote that nothing closes" if "end of data" in str(error) else str(error)
            bad.append(f"{where}: {why}")
        else:
            yield line, row

"""Files that a table names: gold for a folder."""

from __future__ import annotations

from dataclasses import replace

from manyhands.errors import SourceError
from manyhands_producer.sources.base import Cursor, Rows, Source
from manyhands_producer.sources.files import said
from manyhands_producer.sources.folder import Folder
from manyhands_producer.sources.roots import Roots


class Named:
    """The rows of a table, each with the bytes of the file that it names in the place of the name.

    Paths are relative to the table's own folder.
    """

    def __init__(self, table: Source, path: str, *, limit: int, roots: Roots | None) -> None:
        self._table, self._at, self._roots = table, path.rpartition("/")[0] or ".", roots
        self._folder = Folder(self._at, "**", "bytes", None, limit=limit, roots=roots)

    @property
    def cursor(self) -> Cursor:
        """That of the table."""
        return self._table.cursor

    def read(self, most: int, size: int) -> Rows:
        """The next rows; their names, not their files, have the bytes that are counted.

        Raises:
            SourceError: a file cannot be read.
        """
        rows = self._table.read(most, size)
        payloads = [
            None if index in rows.refused else self._bytes(name, rows.where(index))
            for index, name in enumerate(rows.payloads)
        ]
        return replace(rows, payloads=payloads)

    def _bytes(self, name: object, where: str) -> object:
        try:
            if not isinstance(name, str):
                raise ValueError("it is no path")
            if self._roots is not None and not self._roots.hold(f"{self._at}/{name}"):
                raise ValueError("it is outside of what this producer may read")
            return self._folder.one(name)
        except (OSError, ValueError) as error:
            raise SourceError(f"gold: {where}: {name!r}: {said(error)}") from error

    def close(self) -> None:
        """Let go of the table."""
        self._table.close()

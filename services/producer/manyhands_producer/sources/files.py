"""Files by path or fsspec URL, read as lines in big blocks."""

from __future__ import annotations

import gzip
import lzma
import zlib
from pathlib import Path
from typing import IO, Any

import fsspec

from manyhands.errors import SourceError

#: Bytes of one read: few calls, and still nothing against the memory of the process.
BLOCK = 1 << 18
#: The longest line, or quoted cell, that is taken into memory; a longer one is passed over and refused.
LINE_LIMIT = 16 << 20

#: A damaged .gz, .bz2 or .xz file, whichever library finds it; no later attempt can mend it.
DAMAGED = (EOFError, ValueError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)

_FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet"}
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


def format_of(path: str) -> str:
    """The format that the path's ending tells; a path without a known ending is a folder if it is one.

    Raises:
        SourceError: it tells none.
    """
    name = name_of(path).lower()
    for ending in _COMPRESSED:
        name = name.removesuffix(ending)
    kind = _FORMATS.get(Path(name).suffix)
    if kind is not None:
        return kind
    system, inner = filesystem(path)
    try:
        if system.isdir(inner):
            return "folder"
        exists = system.exists(inner)
    except Exception as error:
        raise SourceError(f"{path}: {said(error)}") from error
    if not exists:
        raise SourceError(f"there is no {path}")
    raise SourceError(f"the ending of {path} tells no format; set source.format to csv, jsonl, parquet or folder")


def name_of(path: str) -> str:
    """The last part of a path or URL, by which messages call a source."""
    return path.rstrip("/").rpartition("/")[2] or path


def filesystem(path: str) -> tuple[Any, str]:
    """The fsspec file system of a path or URL, and the path inside it.

    Raises:
        SourceError: there is no such file system, or its library is not installed.
    """
    try:
        system, inner = fsspec.core.url_to_fs(path)
    except Exception as error:  # every file system of fsspec raises errors of its own
        raise SourceError(f"{path}: {said(error)}") from error
    return system, inner


def is_local(system: Any) -> bool:
    """Whether an fsspec file system is that of this machine."""
    return "file" in ([system.protocol] if isinstance(system.protocol, str) else system.protocol)


def open_file(path: str, *, unpack: bool = True) -> IO[bytes]:
    """A file opened for reading bytes; ``unpack`` reads .gz, .bz2 and .xz by their ending.

    Raises:
        SourceError: it is not there or may not be read.
    """
    try:
        opened: IO[bytes] = fsspec.open(path, "rb", compression="infer" if unpack else None).open()
    except Exception as error:
        raise SourceError(f"{path}: {said(error)}") from error
    return opened


def said(error: BaseException) -> str:
    """An error of a file system in a few words."""
    match error:
        case FileNotFoundError():
            return "there is no such file"
        case PermissionError():
            return "permission denied"
        case IsADirectoryError():
            return "this is a folder; set source.format to folder"
        case OSError() if error.strerror:
            return error.strerror
    return str(error) or type(error).__name__


class TooLong(bytes):
    """Stands for a line over :data:`LINE_LIMIT`: empty, but it knows how many bytes it had."""

    length: int


class Lines:
    """The lines of a binary file, read in blocks, and the offset of the next one.

    In a compressed file the offset counts unpacked bytes, and going to it reads again what is before.
    """

    def __init__(self, file: IO[bytes], offset: int = 0) -> None:
        if offset:
            file.seek(offset)
        self.offset = offset
        self._file = file
        self._block: list[bytes] = []
        self._next = 0
        self._tail = b""
        self._fresh = offset == 0

    def take(self, most: int) -> list[bytes]:
        """The next lines without their line feeds: at most ``most``, at least one while there are any.

        They come out of one block, so a caller sees how much it has read after every call.
        """
        if self._next >= len(self._block) and not self._fill():
            return []
        lines = self._block[self._next : self._next + most]
        self._next += len(lines)
        self.offset += sum(map(len, lines)) + len(lines)
        if isinstance(lines[0], TooLong):  # which is alone in its block
            self.offset += lines[0].length
        return lines

    def _fill(self) -> bool:
        self._next = 0
        tail = self._tail
        while True:
            try:
                block = self._file.read(BLOCK)
            except DAMAGED as error:
                raise SourceError(f"the file is damaged: {error}") from error
            except OSError:
                raise
            except Exception as error:
                raise OSError(said(error)) from error  # a remote file system's own; another try may help
            if self._fresh:
                self._fresh = False
                if block.startswith(b"\xef\xbb\xbf"):  # a byte order mark is no part of the first line
                    block = block[3:]
                    self.offset += 3
            if not block:
                self._tail = b""
                self._block = [tail] if tail else []
                return bool(tail)
            tail += block
            if b"\n" in block:
                break
            if len(tail) > LINE_LIMIT:
                return self._pass_over(len(tail))
        self._block = tail.split(b"\n")
        self._tail = self._block.pop()
        return True

    def _pass_over(self, length: int) -> bool:
        """Skip the rest of an endless line."""
        tail = b""
        while block := self._file.read(BLOCK):
            here, feed, tail = block.partition(b"\n")
            length += len(here)
            if feed:
                break
        line = TooLong()
        line.length = length
        self._block, self._tail = [line], tail
        return True

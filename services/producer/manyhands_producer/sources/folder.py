"""A folder of files: each file is a task, its relative path the id."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from manyhands.errors import SourceError
from manyhands_producer.sources.base import BAD_ROW, ID_LIMIT, TOO_LARGE, Cursor, Refusal, Rows
from manyhands_producer.sources.files import BLOCK, filesystem, is_local, said
from manyhands_producer.sources.roots import Roots


class Folder:
    """The files of a folder, in the order of their paths' parts; hidden files and folders are passed over.

    Links to files are read; with ``roots`` only those that stay within them. One directory's names at a time are in
    memory. The cursor is the last path: what has appeared before it since is
    not read.
    """

    def __init__(
        self,
        path: str,
        pattern: str,
        payload: Literal["bytes", "reference"],
        cursor: Cursor | None,
        *,
        limit: int,
        roots: Roots | None = None,
    ) -> None:
        self._system, self._root = filesystem(path)
        self._roots = roots
        self._local = is_local(self._system)
        self._payload, self._limit = payload, limit
        self._pattern = _translate(pattern)
        # without ** only so many folders deep can anything match
        self._depth = None if "**" in pattern else pattern.count("/")
        self._last: str | None = None if cursor is None else cursor["last"]
        try:
            if not self._system.isdir(self._root):
                raise SourceError(f"there is no folder {path}")
            self._entries("")
        except OSError as error:
            raise SourceError(f"{path}: {said(error)}") from error
        self._files = self._walk("", 0, self._last.split("/") if self._last else None)

    @property
    def cursor(self) -> Cursor:
        """The last path that was read."""
        return {"last": self._last}

    def read(self, most: int, size: int) -> Rows:
        """The next files."""
        ids: list[str | None] = []
        rows = Rows(payloads=[], ids=ids, where=lambda i: ids[i] or f"file {i + 1}")
        read = 0
        while len(ids) < most and read < size:
            name = next(self._files, None)
            if name is None:
                rows.end = True
                break
            payload: Any = None
            try:
                payload = self._read(name)
                read += len(payload) if isinstance(payload, bytes) else 200
            except _TooLargeError as error:
                rows.refused[len(ids)] = Refusal(TOO_LARGE, f"{name}: {error}")
            except Exception as error:  # noqa: BLE001  one bad file costs no other; file systems have errors of their own
                rows.refused[len(ids)] = Refusal(BAD_ROW, f"{_printable(name)}: {said(error)}")
            rows.payloads.append(payload)
            ids.append(name if len(name) <= ID_LIMIT and _printable(name) == name else None)
            self._last = name
        return rows

    def one(self, name: str) -> Any:
        """A file by its path in the folder, as its payload.

        Raises:
            ValueError: it is too large, or not in the folder.
            OSError: it cannot be read.
        """
        if set(name.split("/")) & {"", ".", ".."}:
            raise ValueError("it is no path within the folder")
        return self._read(name)

    def _read(self, name: str) -> Any:
        if _printable(name) != name:
            raise ValueError("the name is not UTF-8")
        if len(name) > ID_LIMIT:
            raise ValueError(f"the path has {len(name)} characters of at most {ID_LIMIT}")
        path = f"{self._root.rstrip('/')}/{name}"
        if self._roots is not None and self._local and Path(path).is_symlink() and not self._roots.hold(path):
            raise ValueError("the link leads out of what this producer may read")
        size = self._system.size(path)
        if self._payload == "bytes":
            if size is not None and size > self._limit:
                raise _TooLargeError(f"the file has {size:,} bytes of at most {self._limit:,}; send it as a reference")
            with self._system.open(path, "rb") as file:
                return file.read(self._limit + 1)
        digest = hashlib.sha256()
        read = 0
        with self._system.open(path, "rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
                read += len(block)
        return {"url": self._system.unstrip_protocol(path), "sha256": digest.hexdigest(), "size": read}

    def _walk(self, folder: str, depth: int, after: list[str] | None) -> Iterator[str]:
        """The files below ``folder`` that match, after the path whose parts below it are ``after``."""
        for name, is_folder in self._entries(folder):
            below: list[str] | None = None
            if after:
                if name < after[0] or (name == after[0] and len(after) == 1):
                    continue
                below = after[1:] if name == after[0] else None
            path = f"{folder}/{name}" if folder else name
            if not is_folder:
                if self._pattern.fullmatch(path):
                    yield path
            elif self._depth is None or depth < self._depth:
                yield from self._walk(path, depth + 1, below)

    def _entries(self, folder: str) -> list[tuple[str, bool]]:
        """The names in a folder, sorted, and whether each is a folder itself."""
        path = f"{self._root.rstrip('/')}/{folder}" if folder else self._root
        if self._local:
            with os.scandir(Path(path)) as found:
                # links to folders could go round in circles; they are not followed
                entries = [(e.name, e.is_dir(follow_symlinks=False)) for e in found if _plain_file(e)]
        else:
            found = self._system.ls(path, detail=True)
            entries = [(e["name"].rstrip("/").rpartition("/")[2], e["type"] == "directory") for e in found]
        return sorted(entry for entry in entries if not entry[0].startswith("."))

    def close(self) -> None:
        """Nothing is held open."""


class _TooLargeError(ValueError):
    """A file over the limit."""


def _plain_file(entry: os.DirEntry[str]) -> bool:
    """Files and folders; no sockets, pipes or devices, which could be read for ever, and no links to folders."""
    if entry.is_dir(follow_symlinks=False) or entry.is_file():
        return True
    return entry.is_symlink() and not Path(entry.path).exists()  # a broken link is listed, to be refused


def _printable(name: str) -> str:
    """The name with whatever is not UTF-8 in it replaced."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _translate(pattern: str) -> re.Pattern[str]:
    """A glob over paths: ``*`` and ``?`` stay within a folder's name, ``**`` goes through any number of folders."""
    said = ""
    for token in re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern):
        match token:
            case "**/":
                said += "(?:[^/]+/)*"
            case "**":
                said += ".*"
            case "*":
                said += "[^/]*"
            case "?":
                said += "[^/]"
            case _ if token.startswith("[") and token.endswith("]"):
                said += "[" + token[1:-1].replace("\\", "\\\\").replace("!", "^", 1) + "]"
            case _:
                said += re.escape(token)
    return re.compile(said, re.DOTALL)

"""Which files and URLs a job that came over the API may read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from manyhands.errors import SourceError
from manyhands_producer.sources.files import filesystem, is_local

#: Schemes that fsspec takes for the local file system.
_LOCAL = ("file", "local")
#: Where one part of a URL ends and the next begins, for whichever server reads it.
_PARTS = re.compile(r"[/\\?#;]")
#: Control characters: some readers of URLs drop them, so that what is checked would not be what is read.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Roots:
    """Folders, and prefixes of URLs such as ``s3://bucket/incoming``.

    ``never`` are files and folders that lie in none of them, wherever they are, nor does a folder around them: the
    process's own secrets.
    """

    def __init__(self, roots: Sequence[str], never: Sequence[Path] = ()) -> None:
        self._urls = [root.rstrip("/") for root in roots if _is_url(root)]
        self._folders = [folder for root in roots if not _is_url(root) and (folder := _local(root)) is not None]
        self._never = [path.resolve() for path in never]

    def hold(self, path: str) -> bool:
        """Whether a path or URL lies in one of the roots, links resolved, by whichever way it is written."""
        if _CONTROL.search(path) or "::" in path:  # fsspec's chains reach any file system through another
            return False
        if _is_url(path):
            # one decoding is the server's; a second is that of a proxy before it
            if any(".." in _PARTS.split(said) for said in (path, unquote(path), unquote(unquote(path)))):
                return False
            return any(path == root or path.startswith(f"{root}/") for root in self._urls)
        # as fsspec reads it, for it knows ~ as well
        there = _local(path)
        if there is None or any(there.is_relative_to(one) or one.is_relative_to(there) for one in self._never):
            return False
        return any(there.is_relative_to(folder) for folder in self._folders)


def _is_url(path: str) -> bool:
    """Whether it is a URL of another file system than this machine's."""
    scheme, mark, _ = path.partition("://")
    return bool(mark) and scheme.lower() not in _LOCAL


def _local(path: str) -> Path | None:
    """What fsspec opens on this machine, links resolved; None where it would not look on this machine."""
    try:
        system, inner = filesystem(path)
        return Path(inner).resolve() if is_local(system) else None
    except (SourceError, OSError, RuntimeError, ValueError):  # links in a circle, or no path at all
        return None

"""Folders as sources."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import fsspec
import pytest

from manyhands.errors import SourceError
from manyhands_producer.sources import Roots, check_source, open_source
from tests.unit.producer.support import job_spec, read_all, refusals

FILES = ("a.png", "b/c.png", "b/d/e.png", "b.png", "b-2/x.txt", "z.png", ".hidden", ".git/x.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with some files in it."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["a.png", "b.png", "z.png"]),
        ("**", ["a.png", "b/c.png", "b/d/e.png", "b-2/x.txt", "b.png", "z.png"]),
        ("**/*.png", ["a.png", "b/c.png", "b/d/e.png", "b.png", "z.png"]),
        ("*/*", ["b/c.png", "b-2/x.txt"]),
        ("[!a]*.png", ["b.png", "z.png"]),
        ("?.png", ["a.png", "b.png", "z.png"]),
        ("nothing", []),
    ],
)
def test_patterns(folder: Path, pattern: str, names: list[str]) -> None:
    """A pattern says which files; ``**`` goes into folders, hidden files are passed over."""
    rows = read_all(job_spec({"path": str(folder), "pattern": pattern}), most=1, reopen=True)
    assert rows.ids == (names or None) or (rows.ids, names) == ([], [])
    assert rows.payloads == [name.encode() for name in names]


def test_references(folder: Path) -> None:
    """By reference a file travels as its URL, digest and size."""
    spec = job_spec({"path": str(folder), "payload": "reference"})
    body = b"a.png"
    assert read_all(spec).payloads[0] == {
        "url": f"file://{folder}/a.png",
        "sha256": hashlib.sha256(body).hexdigest(),
        "size": len(body),
    }


def test_a_file_over_the_limit_is_refused_unread(folder: Path) -> None:
    """A large file fails alone, with the advice to send it as a reference."""
    (folder / "b.png").write_bytes(b"x" * 5000)
    rows = open_source(job_spec({"path": str(folder)}), limit=4096).read(10, 1 << 20)
    assert [(i, r.code) for i, r in rows.refused.items()] == [(1, "too-large")]
    assert "send it as a reference" in rows.refused[1].message
    assert rows.ids == ["a.png", "b.png", "z.png"]


def test_an_unreadable_file_is_bad(folder: Path) -> None:
    """A link that leads nowhere, or a name that is not UTF-8, costs only itself."""
    (folder / "c.png").symlink_to("/nowhere/at/all")
    (folder / os.fsdecode(b"d\xff.png")).write_bytes(b"x")
    os.mkfifo(folder / "pipe")
    rows = read_all(job_spec({"path": str(folder)}), most=1, reopen=True)
    assert rows.ids == ["a.png", "b.png", "c.png", None, "z.png"]
    assert refusals(rows) == {
        2: ("bad-row", "c.png: there is no such file"),
        3: ("bad-row", "d\ufffd.png: the name is not UTF-8"),
    }


def test_a_folder_elsewhere() -> None:
    """Folders on other file systems are walked in the same order."""
    system = fsspec.filesystem("memory")
    for name in ("b/y.txt", "a.txt", "c.txt"):
        system.pipe(f"/walk/{name}", name.encode())
    rows = read_all(job_spec({"path": "memory://walk", "pattern": "**"}), most=1, reopen=True)
    assert rows.payloads == [b"a.txt", b"b/y.txt", b"c.txt"]


def test_what_is_wrong_is_told_before_anything_is_published(folder: Path) -> None:
    """A folder that is not there, a file without a known ending, and columns of a folder are refused at once."""
    for source, said in (
        ({"path": f"{folder}/none"}, "there is no"),
        ({"path": f"{folder}/a.png"}, "tells no format"),
        ({"path": f"{folder}/a.png", "format": "folder"}, "there is no folder"),
        ({"path": str(folder), "id": "x"}, "a folder has no columns"),
    ):
        with pytest.raises(SourceError, match=said):
            check_source(job_spec(source))


def test_links_stay_within_the_roots(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """For a job of the API a link to a file is read where it stays within the roots, and refused where it leads out."""
    outside = tmp_path_factory.mktemp("outside") / "passwd"
    outside.write_bytes(b"secret")
    (folder / "in.lnk").symlink_to(folder / "a.png")
    (folder / "out.lnk").symlink_to(outside)
    spec = job_spec({"path": str(folder), "pattern": "*.lnk"})
    rows = open_source(spec, roots=Roots([str(folder)])).read(10, 1 << 20)
    assert rows.payloads == [b"a.png", None]
    assert refusals(rows)[1][1].endswith("the link leads out of what this producer may read")
    assert open_source(spec).read(10, 1 << 20).payloads == [b"a.png", b"secret"]

"""Which files may be opened, and what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from manyhands.errors import SourceError
from manyhands_producer.sources.files import allowed, filesystem, format_of


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("{root}/a.csv", True),
        ("{root}/x/../a.csv", True),
        ("{root}/../a.csv", False),
        ("{root}-2/a.csv", False),
        ("/etc/passwd", False),
        ("file://{root}/a.csv", True),
        ("file:///etc/passwd", False),
        ("file:/etc/passwd", False),
        ("local:///etc/passwd", False),
        ("FILE:///etc/passwd", False),
        ("{root}/link/passwd", False),
        ("s3://bucket/data/a.csv", True),
        ("s3://bucket/data-2/a.csv", False),
        ("s3://bucket/data/../a.csv", False),
        ("s3://bucket/data/%2e%2e/a.csv", False),
        ("s3://other/data/a.csv", False),
        ("simplecache::file:///etc/passwd", False),
        ("zip://x::s3://bucket/data/a.zip", False),
    ],
)
def test_sources_lie_in_the_roots(tmp_path: Path, path: str, expected: bool) -> None:
    """Only what lies in one of the roots may be read, whichever way its path is written."""
    root = tmp_path / "data"
    root.mkdir()
    (root / "link").symlink_to("/etc")
    assert allowed(path.format(root=root), [str(root), "s3://bucket/data/"]) is expected


def test_the_ending_tells_the_format(tmp_path: Path) -> None:
    """Formats are known by ending, also of compressed files; a path without one is a folder if there is one."""
    assert format_of("x.csv") == format_of("s3://b/X.CSV.gz") == "csv"
    assert format_of("x.jsonl") == format_of("x.ndjson.bz2") == "jsonl"
    assert format_of("x.parquet") == "parquet"
    assert format_of(str(tmp_path)) == "folder"


def test_an_unknown_file_system_is_one_sentence() -> None:
    """A URL that nobody knows, or whose library is not installed, is an error of the source."""
    for url in ("nowhere://x/y.csv", "s3://bucket/x.csv"):
        with pytest.raises(SourceError):
            filesystem(url)

"""What files are."""

from __future__ import annotations

from pathlib import Path

import pytest

from manyhands.errors import SourceError
from manyhands_producer.sources.files import filesystem, format_of


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

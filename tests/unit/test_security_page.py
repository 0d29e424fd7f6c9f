"""SECURITY.md says which tests show what it claims."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_test_that_it_names_is_there() -> None:
    """A claim whose test was renamed or removed is found."""
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    files = list((ROOT / "tests").rglob("test_*.py"))
    known = {file.stem for file in files}
    for file in files:
        known.update(re.findall(r"^ *def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"\btest_\w+", page))
    assert len(named) > 20
    assert named - known == set()


def test_every_cannot_of_a_worker_has_one() -> None:
    """In the table of what a worker that was taken over cannot do, each line names what shows it."""
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    table = page.partition("| a worker that was taken over cannot |")[2].partition("\n\n")[0]
    lines = table.splitlines()[2:]
    assert len(lines) > 8
    assert [line for line in lines if not re.search(r"test_\w+|tests/", line.split("|")[2])] == []

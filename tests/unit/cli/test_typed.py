"""Answers of other types than choice, and rankings, from CSV files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from manyhands_aggregator.truth.types import METHODS
from manyhands_cli.exits import Exit
from manyhands_cli.main import app
from manyhands_cli.typed import Typed

HEAD = "task,worker,label\n"
#: Of each type: judgments, truths, what the default method writes, and how right that is.
FILES: dict[str, tuple[str, str, list[str], float]] = {
    "number": (
        f"{HEAD}a,x,1\na,y,1\na,z,4\nb,x,10\nb,y,10\nb,z,x\nb,w,nan\n",
        "task,label\na,1\nb,11\n",
        ["a,1.0", "b,10.0"],
        0.5,
    ),
    "text": (
        f'{HEAD}a,x,Main St.\na,y,main st\na,z,Maine\nb,x,"A, b"\n',
        "task,truth\na,MAIN ST\nb,c\n",
        ["a,Main St.", 'b,"A, b"'],
        0.5,
    ),
    "choices": (
        f"{HEAD}a,x,p|q\na,y,q | p\na,z,r\nb,x,r\nb,y,r\n",
        "task,label\na,q|p\nb,q\n",
        ["a,p|q", "b,r"],
        0.5,
    ),
    "pairwise": (
        "worker,left,right,label\n" + "x,a,b,a\ny,b,a,a\nx,b,c,b\ny,c,b,b\nz,a,c,a\n" * 3 + "z,a,a,a\nz,a,b,c\n",
        "item,truth\na,3\nb,2\nc,2.5\n",
        ["a,", "b,", "c,"],
        2 / 3,
    ),
}


def call(tmp_path: Path, type_: str, *arguments: str) -> Any:
    """Run the command over the files of a type."""
    said, truth, _, _ = FILES[type_]
    (tmp_path / "a.csv").write_text(said)
    (tmp_path / "t.csv").write_text(truth)
    files = [str(tmp_path / "a.csv"), "--truth", str(tmp_path / "t.csv"), "--type", type_]
    return CliRunner().invoke(app, ["aggregate", *files, *arguments])


@pytest.mark.parametrize("type_", FILES)
def test_answers_and_how_right_they_are(tmp_path: Path, type_: str) -> None:
    """The default method; the file has what comes of it, and a confidence."""
    done = call(tmp_path, type_, "--json", "-o", str(tmp_path / "o.csv"))
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["accuracy"] == pytest.approx(FILES[type_][3], abs=1e-6)
    assert found.keys() >= {"method", "seconds", "workers", "judgments", "known"}
    lines = (tmp_path / "o.csv").read_text().splitlines()
    assert lines[0] in ("task,label,confidence", "item,score,confidence")
    for line, start in zip(lines[1:], FILES[type_][2], strict=True):
        if type_ == "number":
            assert float(line.split(",")[1]) == pytest.approx(float(start.split(",")[1]), abs=0.6)
        else:
            assert line.startswith(start)
        assert 0 <= float(line.rsplit(",", 1)[1]) <= 1


@pytest.mark.parametrize("type_", FILES)
def test_all_methods_of_a_type(tmp_path: Path, type_: str) -> None:
    """A list; as a table, too. There is no output file of all, and no method of another type."""
    found = json.loads(call(tmp_path, type_, "--method", "all", "--json").stdout)
    if type_ != "pairwise":
        assert [one["method"] for one in found] == list(METHODS[type_])  # type: ignore[index]  # it is one of them
    assert len(call(tmp_path, type_, "--method", "all").stdout.splitlines()) == len(found) + 1
    assert call(tmp_path, type_, "--method", "all", "-o", "o.csv").exit_code != 0
    refused = call(tmp_path, type_, "--method", "nobody")
    assert refused.exit_code != 0
    assert f"for {type_}" in " ".join(refused.stderr.split())


def test_bad_rows_are_named(tmp_path: Path) -> None:
    """By their lines, and why."""
    said = call(tmp_path, "number").stderr
    assert "line 7: 'x' is no number" in said
    assert "line 8: 'nan' is not finite" in said
    said = call(tmp_path, "pairwise").stderr
    assert "line 17: 'a' is not one of two items" in said
    assert "line 18: 'c' is not one of two items" in said


def test_truths_that_are_no_numbers(tmp_path: Path) -> None:
    """They are named by their task, and not counted."""
    (tmp_path / "a.csv").write_text(f"{HEAD}a,x,1\nb,x,2\n")
    (tmp_path / "t.csv").write_text("task,label\na,1\nb,two\n")
    files = [str(tmp_path / "a.csv"), "--truth", str(tmp_path / "t.csv"), "--type", "number", "--json"]
    done = CliRunner().invoke(app, ["aggregate", *files])
    assert "task 'b': 'two' is no number" in done.stderr
    assert json.loads(done.stdout)["known"] == 1


def test_numbers_near_the_end_of_floats(tmp_path: Path) -> None:
    """Every method has an answer, and JSON has figures: no squares are taken of what has none."""
    (tmp_path / "a.csv").write_text(f"{HEAD}a,x,1e308\na,y,-1e308\na,z,1.7e308\nb,x,1e300\nb,y,3e300\nb,z,2e300\n")
    (tmp_path / "t.csv").write_text("task,label\na,1e308\nb,-1.7e308\n")
    files = [str(tmp_path / "a.csv"), "--truth", str(tmp_path / "t.csv"), "--type", "number"]
    done = CliRunner().invoke(app, ["aggregate", *files, "--method", "all", "--json"])
    assert done.exit_code == 0, done.output
    assert not {"NaN", "Infinity"} & set(re.split(r"\W+", done.stdout))
    assert all(0 < one["mean_error"] <= one["root_mean_square_error"] for one in json.loads(done.stdout))


def test_nothing_to_read(tmp_path: Path) -> None:
    """A file without a row that can be used is an error that says so."""
    (tmp_path / "a.csv").write_text("worker,left,right,label\n")
    done = CliRunner().invoke(app, ["aggregate", str(tmp_path / "a.csv"), "--type", "pairwise"])
    assert done.exit_code == Exit.INPUT
    assert "no row of it can be used" in done.stderr


def test_every_type_can_be_read() -> None:
    """All of the truth package but json, and pairwise."""
    assert set(get_args(Typed)) == set(METHODS) - {"json"} | {"pairwise"}

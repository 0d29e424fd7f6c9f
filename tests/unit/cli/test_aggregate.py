"""Answers from a CSV file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from manyhands_aggregator.truth import methods
from manyhands_cli.aggregate import METHODS
from manyhands_cli.exits import Exit
from manyhands_cli.main import app

#: What ann, bob and cat say of t1 to t4; cat is mostly alone, and t4 is level.
ANSWERS = "task,worker,label\n" + "".join(
    f"t{task},{worker},{label}\n"
    for task, said in enumerate(("xxy", "yyx", "xxx", "xy"), 1)
    for worker, label in zip(("ann", "cat", "bob") if len(said) == 2 else ("ann", "bob", "cat"), said, strict=False)
)
KEYS = {"method", "accuracy", "seconds", "tasks", "workers", "judgments"}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """The answers, and truths of all but t3."""
    answers, truth = tmp_path / "answers.csv", tmp_path / "truth.csv"
    answers.write_text(ANSWERS)
    truth.write_text("task,label\nt1,x\nt2,y\nt4,x\n")
    return str(answers), str(truth)


def call(*arguments: str) -> Any:
    """Run the command in this process."""
    return CliRunner().invoke(app, ["aggregate", *arguments])


def test_the_help_names_every_method() -> None:
    """And the default is the one that the services use."""
    assert set(METHODS) == set(methods.METHODS)
    assert METHODS[-1] == methods.DEFAULT


def test_one_method_is_an_object(files: tuple[str, str]) -> None:
    """Of t4 either label is half right."""
    done = call(files[0], "--method", "majority", "--truth", files[1], "--json")
    found = json.loads(done.stdout)
    assert found.keys() == KEYS
    assert {key: found[key] for key in KEYS - {"seconds"}} == {
        "method": "majority", "accuracy": round(2.5 / 3, 6), "tasks": 4, "workers": 3, "judgments": 11,
    }  # fmt: skip
    assert 0 <= found["seconds"] < 5


def test_all_methods_are_a_list(files: tuple[str, str]) -> None:
    """In the order of the help."""
    found = json.loads(call(*files[:1], "--method", "all", "--truth", files[1], "--json").stdout)
    assert [one["method"] for one in found] == list(METHODS)
    assert all(one.keys() == KEYS for one in found)
    assert "zero-based-skill" in call(files[0], "--method", "all").stdout


def test_judgments_come_from_standard_input(files: tuple[str, str]) -> None:
    """As ``-``; the truths cannot come from there, too."""

    def told(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["aggregate", "-", *arguments], input=ANSWERS)

    assert json.loads(told("--truth", files[1], "--json").stdout)["judgments"] == 11
    done = told("--truth", "-", "--json")
    assert (done.exit_code, "standard input can be read once" in done.stderr) == (Exit.INPUT, True)


def test_truths_that_nobody_gave_are_counted(files: tuple[str, str]) -> None:
    """They may be labels that are written in another way, as where a table had gaps."""
    Path(files[1]).write_text("task,label\nt1,x\nt2,1.0\nt4,2.0\n")
    done = call(files[0], "--truth", files[1], "--json")
    assert json.loads(done.stdout)["accuracy"] < 0.5
    assert done.stderr.startswith("2 of the truths are labels that nobody gave")


def test_without_truths_there_is_no_accuracy(files: tuple[str, str]) -> None:
    """In JSON it is null; people are told how to get it, and the answers."""
    done = call(files[0], "--json")
    assert json.loads(done.stdout)["accuracy"] is None
    assert done.stderr == ""
    for method, hint in (("majority", "-o OUT.csv writes"), ("all", "--method NAME -o OUT.csv writes")):
        done = call(files[0], "--method", method)
        assert not re.search(r"accuracy|known|calibration|  -", done.stdout)
        assert done.stderr.startswith(hint)
        assert len(done.stderr.splitlines()) == 1
    done = call(files[0], "--truth", files[1])
    assert re.search(r"^accuracy +[01]", done.stdout, re.MULTILINE)
    assert done.stderr == ""


def test_what_is_read_is_not_written_over(files: tuple[str, str], tmp_path: Path) -> None:
    """Nor by another name; and no file of another format, and no folder, is made."""
    link = tmp_path / "link.csv"
    link.symlink_to(files[0])
    for type_ in ("choice", "text"):
        for out in (*files, str(link), str(tmp_path / "answers.json"), str(tmp_path / "none" / "o.csv")):
            done = call(files[0], "--truth", files[1], "--type", type_, "-o", out)
            assert done.exit_code == Exit.USAGE, (type_, out)
    assert Path(files[0]).read_text() == ANSWERS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.csv", "link.csv", "truth.csv"]


def test_numbers_that_look_measured(tmp_path: Path) -> None:
    """They are taken as choices, as was asked for, and the other type is named; digits are choices."""
    file = tmp_path / "a.csv"
    file.write_text("task,worker,label\n" + "".join(f"t{n % 6},w{n},{20 + n}\n" for n in range(12)))
    assert (
        "12 of them different, and are taken as choices; for measurements say --type number"
        in call(str(file), "--json").stderr
    )
    assert call(str(file), "--json", "--type", "number").stderr == ""
    file.write_text("task,worker,label\n" + "".join(f"t{n % 20},w{n},{n % 10}\n" for n in range(60)))
    assert call(str(file), "--json").stderr == ""


def test_answers_are_written(files: tuple[str, str], tmp_path: Path) -> None:
    """In the order in which the tasks came; a tie goes to the first label."""
    out = tmp_path / "out.csv"
    assert call(files[0], "--method", "majority", "-o", str(out)).exit_code == Exit.OK
    assert out.read_text() == ("task,label,confidence\nt1,x,0.666667\nt2,y,0.666667\nt3,x,1.000000\nt4,x,0.500000\n")


def test_bad_rows_are_named(files: tuple[str, str]) -> None:
    """On standard error, with file and line; the others count."""
    with Path(files[0]).open("a") as file:
        file.write("t5,,x\nt1,ann,y\n")
    done = call(files[0], "--json")
    assert json.loads(done.stdout)["judgments"] == 11
    assert done.stderr.splitlines() == [
        f"{files[0]}, line 13: no worker; left out",
        f"{files[0]}, line 14: worker 'ann' had said otherwise of task 't1'; left out",
    ]


def test_what_cannot_be_done_is_said(files: tuple[str, str], tmp_path: Path) -> None:
    """No such method, answers of all methods, no such file, no such columns."""
    assert call(files[0], "--method", "best").exit_code == Exit.USAGE
    assert call(files[0], "--method", "all", "-o", str(tmp_path / "o.csv")).exit_code == Exit.USAGE
    assert call(str(tmp_path / "none.csv")).exit_code == Exit.INPUT
    (tmp_path / "folder.csv").mkdir()
    assert call(files[0], "-o", str(tmp_path / "folder.csv")).exit_code == Exit.USAGE
    texts = tmp_path / "texts.csv"
    texts.write_text("task,worker,label\n" + "".join(f"{n},ann,text {n}\n" for n in range(10_000)))
    done = call(str(texts))
    assert done.exit_code == Exit.INPUT
    assert "too many for 10000 labels; of free text labels say --type text" in " ".join(done.stderr.split())
    empty = tmp_path / "empty.csv"
    empty.write_text("a,b\n1,2\n")
    done = call(str(empty))
    assert done.exit_code == Exit.INPUT
    assert "no column 'task'" in done.stderr

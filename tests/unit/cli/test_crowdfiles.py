"""CSV files of judgments and of truths."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from manyhands_cli.crowdfiles import read_answers, read_truth
from manyhands_cli.table import NAMED, BadTable, name_bad


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """A file with this text."""
    path.write_text(text, encoding=encoding)
    return path


def test_judgments_in_numbers(tmp_path: Path) -> None:
    """Tasks and workers are numbered as they come, labels in their order: numbers as numbers."""
    judged = read_answers(write(tmp_path / "a.csv", "task,worker,label\nt2,ann,10\nt1,bob,9\nt2,bob,9\n"))
    assert (judged.tasks, judged.workers, judged.labels) == (["t2", "t1"], ["ann", "bob"], ["9", "10"])
    ballots = judged.ballots
    assert (ballots.task.tolist(), ballots.worker.tolist(), ballots.label.tolist()) == ([0, 1, 0], [0, 1, 1], [1, 0, 0])
    assert (ballots.tasks, ballots.workers, ballots.classes) == (2, 2, 2)
    assert judged.bad == []


def test_other_columns_in_any_order(tmp_path: Path) -> None:
    """What else is in the file does not matter; nor do a byte order mark, spaces, quotes and empty lines."""
    text = 'Label, seconds ,worker,task\n"a, b",3,ann, t1 \n\nc,4,ann,t2\n'
    judged = read_answers(write(tmp_path / "a.csv", text, "utf-8-sig"))
    assert (judged.tasks, judged.labels) == (["t1", "t2"], ["a, b", "c"])


def test_bad_rows_are_named_and_left_out(tmp_path: Path) -> None:
    """Each by its line; a repeated row is no error, one that contradicts is."""
    text = "task,worker,label\nt1,ann,a\nt1,,b\nt1,ann,a\nt1,ann,b\nt2,bob\nt2,bob,b\n"
    judged = read_answers(write(tmp_path / "a.csv", text))
    assert judged.bad == [
        "line 3: no worker",
        "line 5: worker 'ann' had said otherwise of task 't1'",
        "line 6: no label",
    ]
    assert (len(judged.ballots), judged.repeated) == (2, 1)


def test_of_many_bad_rows_the_first_are_named(tmp_path: Path) -> None:
    """Nobody reads a million lines."""
    said = list(name_bad(tmp_path / "a.csv", [f"line {n}: no label" for n in range(NAMED + 5)]))
    assert len(said) == NAMED + 1
    assert said[0] == f"{tmp_path / 'a.csv'}, line 0: no label; left out"
    assert said[-1] == f"{tmp_path / 'a.csv'}: 5 more rows left out"


def test_a_quote_that_nothing_closes_costs_no_more_than_it_must(tmp_path: Path) -> None:
    """What is swallowed up to the greatest field is one bad row; the rows behind it count."""
    rows = "".join(f"t{n},bob,b\n" for n in range(20_000))
    path = write(tmp_path / "a.csv", 'task,worker,label\nt,ann,a\nt,cat,"b\n' + rows)
    before = csv.field_size_limit(1 << 24)  # a CSV source of the same process has a greater one
    try:
        judged = read_answers(path)
        assert csv.field_size_limit() == 1 << 24
    finally:
        csv.field_size_limit(before)
    assert len(judged.bad) == 1
    assert "field larger than field limit" in judged.bad[0]
    assert len(judged.ballots) > 5_000


def test_a_quote_that_nothing_closes_is_told_by_its_lines(tmp_path: Path) -> None:
    """What is behind it to the end of the file is no label; the rows before it count."""
    judged = read_answers(write(tmp_path / "a.csv", 'task,worker,label\nt,ann,a\nt,bob,"b\nt,cat,a\nt,dan,b\n'))
    assert judged.bad == ["lines 3 to 5: a quote that nothing closes"]
    assert judged.labels == ["a"]


def test_a_row_of_several_lines_is_told_by_its_first(tmp_path: Path) -> None:
    """That is where one looks for it."""
    judged = read_answers(write(tmp_path / "a.csv", 'task,worker,label\n"t\n1","an\nn",\n"t\n1",ann,"a\nb"\n'))
    assert (judged.tasks, judged.labels, judged.bad) == (["t\n1"], ["a\nb"], ["line 2: no label"])


def test_quotes_behind_a_space_are_quotes(tmp_path: Path) -> None:
    """Some programs write a space behind each comma."""
    judged = read_answers(write(tmp_path / "a.csv", '"task", "worker", "label"\nt1, ann, "a, b"\nt1, bob, c\n'))
    assert (judged.labels, judged.bad) == (["a, b", "c"], [])


@pytest.mark.parametrize(
    ("start", "said"),
    [(b"\x1f\x8b\x08", "gunzip"), (b"PK\x03\x04\xff", "workbook"), (b"\xff\xfet\x00", "it is UTF-16")],
)
def test_files_of_other_kinds(tmp_path: Path, start: bytes, said: str) -> None:
    """The error says what it is."""
    path = tmp_path / "a.csv"
    path.write_bytes(start + b"\xff")
    with pytest.raises(BadTable, match=said):
        read_answers(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task,worker,label,label\nt1,ann,a,b\n", "two columns 'label'"),
        ("", "no column 'task'"),
        ("task,worker\nt1,ann\n", "no column 'label'"),
        ("task;worker;label\nt1;ann;a\n", "no column 'task'; .* with commas between; it names 'task;worker;label'"),
        ("task,worker,label\n", "no row of it can be used"),
        ("task,worker,label\nt1,ann\n", "no row of it can be used; line 2: no label"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    """The error says what is missing."""
    with pytest.raises(BadTable, match=said):
        read_answers(write(tmp_path / "a.csv", text))


def test_a_row_that_is_no_text(tmp_path: Path) -> None:
    """It is named by its line, and the others count; without a head that can be read there is nothing."""
    path = tmp_path / "a.csv"
    path.write_bytes("task,worker,label\nt1,ann,é\n".encode() + b"t2,ann,\xff\nt3,ann,a\n")
    judged = read_answers(path)
    assert (judged.tasks, judged.bad) == (["t1", "t3"], ["line 3: it is not UTF-8"])
    path.write_text("task,worker,label\nt1,ann,a\n", "utf-16")
    with pytest.raises(BadTable, match="its first line is not UTF-8"):
        read_answers(path)


def test_more_cells_than_the_head(tmp_path: Path) -> None:
    """A row that says more than the head names is bad; commas at its end are not."""
    judged = read_answers(write(tmp_path / "a.csv", "task,worker,label\nt1,ann,a,b\nt2,ann,a,,\n"))
    assert (judged.tasks, judged.bad) == (["t2"], ["line 2: 4 cells, and the first line has 3"])


def test_the_truth_of_what_was_judged(tmp_path: Path) -> None:
    """Unknown is -1; a label nobody gave equals none; a task nobody judged is passed over."""
    judged = read_answers(write(tmp_path / "a.csv", "task,worker,label\nt1,ann,a\nt2,ann,b\nt3,ann,b\nt4,ann,a\n"))
    truth, bad = read_truth(write(tmp_path / "t.csv", "truth,task\nb,t1\nz,t2\na,t9\n,t3\n"), judged)
    assert truth.tolist() == [1, 2, -1, -1]
    assert bad == ["line 5: no label"]


def test_a_column_of_truths_comes_before_one_of_labels(tmp_path: Path) -> None:
    """Judgments and truths may stand in one table."""
    path = write(tmp_path / "a.csv", "task,worker,label,truth\nt1,ann,a,b\nt1,bob,b,b\n")
    assert read_truth(path, read_answers(path))[0].tolist() == [1]


def test_truths_that_cannot_be_used(tmp_path: Path) -> None:
    """Two truths of a task, or none of any task that was judged."""
    judged = read_answers(write(tmp_path / "a.csv", "task,worker,label\nt1,ann,a\nt2,ann,b\n"))
    with pytest.raises(BadTable, match=r"line 3: task 't1' has two truths"):
        read_truth(write(tmp_path / "t.csv", "task,label\nt1,a\nt1,b\n"), judged)
    with pytest.raises(BadTable, match="truth of no task that was judged"):
        read_truth(write(tmp_path / "t.csv", "task,label\nt9,a\n"), judged)

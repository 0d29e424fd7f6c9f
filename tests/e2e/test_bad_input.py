"""What bad input gets, through the command a user types. One test for each line of the table in docs/bad-input.md."""

from __future__ import annotations

import csv
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import command

WriteJob = Callable[..., Path]

ECHO = """
from manyhands import judge

@judge("echo")
def echo(payload):
    return str(payload)
"""
ROWS = "".join(f'{{"id": "r{n}", "text": "t{n}"}}\n' for n in range(10))
BY_ID = {"id": "id", "input": "text"}


def run(file: Path, *options: str) -> tuple[int, str, dict[str, Any], list[dict[str, str]]]:
    """Run a job: exit code, what was said, the summary and the rows of the answers (empty where there is none)."""
    out = file.parent / "out"
    done = command("run", str(file), "--out", str(out), "--children", "1", *options)
    summary = json.loads((out / "summary.json").read_text()) if (out / "summary.json").exists() else {}
    rows = list(csv.DictReader((out / "answers.csv").open())) if (out / "answers.csv").exists() else []
    if summary:
        audited = command("audit", str(out), "--json")
        assert audited.returncode == 0, audited.stdout + audited.stderr
        assert summary["conserved"] is True
    assert "Traceback" not in done.stderr, done.stderr
    assert summary or done.returncode in (3, 6), done.stderr
    return done.returncode, done.stderr, summary, rows


def failures(file: Path) -> list[dict[str, str]]:
    """The rows of failed.csv."""
    return list(csv.DictReader((file.parent / "out" / "failed.csv").open()))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"colour": "red"}, "colour: this key is not known; known are name, source"),
        ({"suite": "many"}, "suite: Input should be a valid integer"),
        ({"stages": [{"judges": []}]}, "stages.0.judges: List should have at least 1 item"),
        ({"stages": [{"judges": ["nobody"]}]}, "no handler is called 'nobody'; there are: echo"),
    ],
    ids=["unknown-key", "wrong-type", "no-judge", "missing-judge"],
)
def test_a_wrong_job_file_is_refused(job: WriteJob, keys: dict[str, Any], said: str) -> None:
    """An unknown key, a wrong type, a missing judge: file, line, key and what was expected; nothing is begun."""
    file = job(ECHO, ROWS, **keys)
    code, stderr, summary, _ = run(file)
    assert code == 3
    assert f"{file}:1: " in stderr
    assert said in stderr
    assert not summary
    assert not (file.parent / "out").exists()


def test_a_missing_source_is_refused(job: WriteJob) -> None:
    """The source is not there: one sentence that names it."""
    file = job(ECHO, ROWS, source={"path": "nowhere.jsonl"})
    code, stderr, summary, _ = run(file)
    assert code == 3
    assert "nowhere.jsonl" in stderr
    assert not summary


BAD_ROWS = {
    "not-utf-8": ("rows.csv", b"id,text\na,fine\nb,caf\xe9\nc,fine\n", 1),
    "torn-json": ("rows.jsonl", b'{"id": "a", "text": "fine"}\n{"id": "b", "te\n{"id": "c", "text": "fine"}\n', 1),
    "too-few-cells": ("rows.csv", b"id,text\na,fine\nb\nc,fine\n", 1),
    "duplicate-id": ("rows.csv", b"id,text\na,fine\na,again\nc,fine\n", 1),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_bad_row_stops_the_job(job: WriteJob, kind: str) -> None:
    """By default a bad row ends the job as cancelled, and the reason names the row."""
    name, content, _ = BAD_ROWS[kind]
    file = job(ECHO, content, name, source={"path": name, **BY_ID})
    code, stderr, summary, _ = run(file)
    assert code == 1
    assert summary["state"] == "cancelled"
    assert "row 2" in summary["reason"], stderr
    assert summary["answered"] + summary["failed"] + summary["cancelled"] == summary["tasks"]


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_bad_row_is_set_aside(job: WriteJob, kind: str) -> None:
    """With set-aside it counts as failed and is listed; every other row is answered."""
    name, content, bad = BAD_ROWS[kind]
    file = job(ECHO, content, name, source={"path": name, "on_bad_row": "set-aside", **BY_ID})
    code, _, summary, rows = run(file)
    assert code == 1
    assert summary["state"] == "partial"
    assert (summary["tasks"], summary["answered"], summary["failed"]) == (3, 2, 1)
    assert [row["answer"] for row in rows] == ["fine", "", "fine"]
    assert [row["position"] for row in failures(file)] == [str(bad)]


def test_an_empty_source_completes(job: WriteJob) -> None:
    """No rows: the job completes with 0 tasks."""
    code, _, summary, rows = run(job(ECHO, ""))
    assert (code, summary["state"], summary["tasks"], rows) == (0, "complete", 0, [])


def test_one_payload_over_the_limit_fails_alone(job: WriteJob) -> None:
    """A task whose payload no message may carry fails with a reason; the rest go on."""
    noise = os.urandom(2_000_000).hex()
    rows = [{"id": "a", "text": "x"}, {"id": "b", "text": noise}, {"id": "c", "text": "y"}]
    file = job(ECHO, "".join(json.dumps(row) + "\n" for row in rows), source={"path": "rows.jsonl", **BY_ID})
    _, _, summary, answers = run(file)
    assert (summary["state"], summary["answered"], summary["failed"]) == ("partial", 2, 1)
    assert [row["answer"] for row in answers] == ["x", "", "y"]
    assert failures(file)[0]["code"] == "too-large"


WRONG = """
from manyhands import judge
import pathlib

SEEN = pathlib.Path(__file__).with_name("seen")

@judge("echo")
def echo(payload):
    if payload == "t3":
        return float("nan")
    if payload == "t5" and not SEEN.exists():
        SEEN.touch()
        return 1000
    return 1
"""


def test_an_answer_that_is_none_is_judged_again(job: WriteJob) -> None:
    """A value outside the answer type is set aside and its task judged again; if it stays wrong, it fails."""
    keys = {"answer": {"type": "number", "min": 0, "max": 10}, "source": {"path": "rows.jsonl", **BY_ID}}
    file = job(WRONG, ROWS, **keys)
    _, _, summary, rows = run(file)
    assert (summary["answered"], summary["failed"]) == (9, 1)
    assert rows[5]["answer"] == "1"
    assert [(row["id"], row["code"]) for row in failures(file)] == [("r3", "invalid-answer")]


BREAKING = """
import os
from manyhands import judge, RejectTask, RetryTask
import pathlib

SEEN = pathlib.Path(__file__).with_name("seen")

@judge("echo")
def echo(payload):
    if payload == "t1":
        raise RejectTask("never")
    if payload == "t2" and not SEEN.exists():
        SEEN.touch()
        raise ValueError("once")
    if payload == "t7":
        os._exit(3)
    return payload
"""


def test_a_failing_task_costs_no_other(job: WriteJob) -> None:
    """A rejected task, one that fails once, and one that kills its process: only the first and the last fail."""
    file = job(BREAKING, ROWS, source={"path": "rows.jsonl", **BY_ID})
    _, _, summary, rows = run(file)
    assert (summary["answered"], summary["failed"]) == (8, 2)
    assert {row["id"] for row in failures(file)} == {"r1", "r7"}
    assert rows[2]["answer"] == "t2"


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    """A process whose port is taken says so and ends with an exit code."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        store = f"sqlite:///{tmp_path / 'm.db'}"
        for process in ("producer", "aggregator", "worker"):
            options = ["--handlers", "manyhands.testing"] if process == "worker" else ["--store", store]
            done = command(process, "--broker", "amqp://127.0.0.1:1", "--port", str(port), *options, timeout=60)
            assert done.returncode == 3, done.stderr
            assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr
            assert "Traceback" not in done.stderr


def test_no_permission_is_one_sentence(job: WriteJob, tmp_path: Path) -> None:
    """An output folder that cannot be written: one sentence and an exit code."""
    file = job(ECHO, ROWS)
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    blocked.chmod(stat.S_IRUSR)
    done = command("run", str(file), "--out", str(blocked / "out"))
    assert done.returncode == 6
    assert str(blocked) in done.stderr
    assert "Traceback" not in done.stderr

"""Judges that are programs."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from manyhands import Judgment
from manyhands_worker.command import Command, CommandFailed
from manyhands_worker.judging import NoJudgment
from tests.services import wait_until
from tests.unit.worker.harness import PATIENCE, dead, judge, judgments, pool, suite, values

#: Answers each line by what it contains; dies, hangs and babbles on demand.
PROGRAM = r"""
{
    if (/"die"/) { print "cannot go on" > "/dev/stderr"; exit 7 }
    if (/"hang"/) system("sleep 600")
    if (/"wrong"/) print "{\"error\": \"no opinion\"}"
    else if (/"babble"/) print "so be it"
    else if (/"twice"/) { print "{\"value\": 1}"; print "{\"value\": 2}" }
    else if (/"late"/) print "{\"position\": 0, \"value\": 1}"
    else print "{\"value\": \"" length($0) "\", \"confidence\": 0.5}"
    fflush()
}
"""
#: mawk, which is awk on Debian, reads blocks of 4 KiB unless told otherwise; the others know no such option.
START = 'case $(awk -W version </dev/null 2>&1) in mawk*) set -- -Winteractive;; esac; exec awk "$@" "$0"'
AWK = ("sh", "-c", START, PROGRAM)


@contextmanager
def command(
    *words: str, folder: str = ".", limit: float | None = None, patience: float = PATIENCE
) -> Iterator[Command]:
    """A program, ended at the end."""
    made = Command(words, folder, limit, patience, lambda _group: None)
    try:
        yield made
    finally:
        made.close()


def ask(judge: Command, *payloads: Any) -> list[Any]:
    """What the program says of the payloads, at positions 10, 11, ..."""
    return judge(range(10, 10 + len(payloads)), payloads)


def kinds(said: Sequence[Any]) -> list[type]:
    """The types of what was said."""
    return [type(one) for one in said]


def test_a_program_judges() -> None:
    """In order, with confidences; a task may be answered with an error; the same program serves every suite."""
    with command(*AWK) as made:
        first = ask(made, "ab", "wrong", "abc")
        assert (first[0], kinds(first)[1]) == (Judgment("33", 0.5), NoJudgment)
        assert "no opinion" in str(first[1])
        assert len(ask(made, *["x" * 100] * 5000)) == 5000


def test_bytes_and_other_scripts() -> None:
    """Bytes travel as base64, text as UTF-8."""
    with command("sed", "-u", r's/.*"payload": \(.*\)}/{"value": \1}/') as made:
        assert ask(made, b"\xff", "好", [1, {"a": None}]) == [
            Judgment({"base64": "/w=="}), Judgment("好"), Judgment([1, {"a": None}])
        ]  # fmt: skip


@pytest.mark.parametrize("payload", ["die", "hang"])
def test_the_task_it_dies_of_fails_alone(payload: str) -> None:
    """The culprit is found, also where several stand together; the others are judged by a new program."""
    with command(*AWK, limit=0.5 if payload == "hang" else None) as made:
        said = ask(made, "a", payload, payload, "b", payload, "c")
    failed = TimeoutError if payload == "hang" else CommandFailed
    assert kinds(said) == [Judgment, failed, failed, Judgment, failed, Judgment]
    if payload == "die":
        assert "status 7: cannot go on" in str(said[1])


def test_answers_that_are_none() -> None:
    """A line that is no JSON fails its task; answers out of step end the program, and it starts again."""
    with command(*AWK) as made:
        assert kinds(ask(made, "a", "babble", "b")) == [Judgment, CommandFailed, Judgment]
        assert kinds(ask(made, "a", "late", "b")) == [Judgment, CommandFailed, Judgment]
        ask(made, "twice")
        assert ask(made, "ab") == [Judgment("33", 0.5)]


def test_a_program_that_never_works_is_given_up() -> None:
    """Not there, or ending at once: all tasks fail with the reason, after a few starts and not one for each."""
    with command("no-such-program") as made:
        assert all("cannot be started" in str(one) for one in ask(made, *range(100)))
    with command("false") as made:
        assert all("status 1" in str(one) for one in ask(made, *range(100)))


def test_runs_in_its_folder_and_is_ended_with_all_it_started(tmp_path: Path) -> None:
    """A shell that started another program is ended with it."""
    script = 'sleep 600 & echo $! > child; while read -r line; do echo "{\\"value\\": 1}"; done'
    with command("sh", "-c", script, folder=str(tmp_path)) as made:
        assert ask(made, "a") == [Judgment(1)]
    assert_gone(int((tmp_path / "child").read_text()))


def test_in_a_child(tmp_path: Path) -> None:
    """Through the pool: judged by the program, and killed with its child."""
    judging = 'case $line in *hang*) sleep 600;; esac; echo "{\\"value\\": 1}"'
    script = f"echo $$ > program; while read -r line; do {judging}; done"
    config = {"command": ["sh", "-c", script], "folder": str(tmp_path), "version": "5", "time_limit": 0.5}
    with pool(commands={"c": config}) as made:
        (published,) = judge(made, suite("c", ["a", "hang"], attempt=3))
        program = int((tmp_path / "program").read_text())
        os.kill(made.pids[0], 9)
    assert values(published) == {100: 1}
    assert judgments(published).version == "5"
    assert [h["mh-code"] for _, _, h in dead(published)] == ["time-limit"]
    assert_gone(program)


def assert_gone(pid: int) -> None:
    """The process has ended, or is being ended."""

    def gone() -> bool:
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or ") Z " in stat.read_text()

    wait_until(gone, PATIENCE, f"the end of {pid}")

"""Judges that are programs."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from manyhands import Judgment
from manyhands_worker import frames
from manyhands_worker.child import Bench, Replies
from manyhands_worker.command import Command, OutOfStep
from manyhands_worker.frames import ENDED, JUDGED, LOADED, LOADING, STARTED, unit
from manyhands_worker.judging import NoJudgment
from manyhands_worker.program import CommandFailed
from tests.services import wait_until
from tests.unit.worker.harness import PATIENCE, dead, delivery, judge, judgments, pool, setup, suite, values

#: Answers each line by what it contains; dies, hangs and babbles on demand.
PROGRAM = r"""
{
    payload = $0; sub(/.*"payload": /, "", payload); sub(/}$/, "", payload)
    if (/"die"/) { print "cannot go on" > "/dev/stderr"; exit 7 }
    if (/"hang"/) system("sleep 600")
    if (/"wrong"/) print "{" line "\"error\": \"no opinion\"}"
    else if (/"babble"/) print "so be it"
    else if (/"twice"/) { print "{" line "\"value\": 1}"; print "{" line "\"value\": 2}" }
    else if (/"late"/) { print "{" line "\"value\": 1}"; fflush(); system("sleep 0.2"); print "{" line "\"value\": 2}" }
    else if (/"stray"/) { print "{" line "\"value\": 1}"; fflush(); system("sleep 0.2"); print "{\"value\": 2}" }
    else if (/"other"/) print "{\"position\": 0, \"value\": 1}"
    else print "{" line "\"value\": " payload ", \"confidence\": 0.5}"
    fflush()
}
"""
#: mawk, which is awk on Debian, reads blocks of 4 KiB unless told otherwise; the others know no such option.
START = 'case $(awk -W version </dev/null 2>&1) in mawk*) set -- -Winteractive;; esac; exec awk "$@" "$0"'
AWK = ("sh", "-c", START, PROGRAM)
#: The same, which repeats the line.
NUMBERING = ("sh", "-c", START, r'{ match($0, /"line": [0-9]+/); line = substr($0, RSTART, RLENGTH) ", " }' + PROGRAM)
both = pytest.mark.parametrize("words", [AWK, NUMBERING], ids=["plain", "numbering"])


@contextmanager
def command(
    *words: str,
    folder: str = ".",
    limit: float | None = None,
    patience: float = PATIENCE,
    starts: list[int] | None = None,
) -> Iterator[Command]:
    """A program, ended at the end; each start is added to ``starts``."""
    running: set[int] = set()

    def groups(group: int, runs: bool) -> None:
        (running.add if runs else running.remove)(group)
        if runs and starts is not None:
            starts.append(group)

    made = Command(words, folder, limit, patience, groups)
    try:
        yield made
    finally:
        made.close()
    assert not running


def ask(judge: Command, *payloads: Any) -> list[Any]:
    """What the program says of the payloads, at positions 10, 11, ..."""
    return judge(range(10, 10 + len(payloads)), payloads)


def kinds(said: Sequence[Any]) -> list[type]:
    """The types of what was said."""
    return [type(one) for one in said]


@both
def test_a_program_judges(words: tuple[str, ...]) -> None:
    """In order, with confidences; a task may be answered with an error; kept running if it repeats the line."""
    starts: list[int] = []
    with command(*words, starts=starts) as made:
        first = ask(made, "ab", "wrong", "abc")
        assert (first[0], kinds(first)[1], first[2]) == (Judgment("ab", 0.5), NoJudgment, Judgment("abc", 0.5))
        assert "no opinion" in str(first[1])
        many = [f"{n:100}" for n in range(5000)]
        assert ask(made, *many) == [Judgment(one, 0.5) for one in many]
        assert ask(made) == []
    assert len(starts) == (1 if words == NUMBERING else 2)


def test_bytes_and_other_scripts() -> None:
    """Bytes travel as base64, text as UTF-8."""
    with command("sed", "-u", r's/.*"payload": \(.*\)}/{"value": \1}/') as made:
        assert ask(made, b"\xff", "好", [1, {"a": None}]) == [
            Judgment({"base64": "/w=="}), Judgment("好"), Judgment([1, {"a": None}])
        ]  # fmt: skip


@both
@pytest.mark.parametrize("payload", ["die", "hang"])
def test_the_task_it_dies_of_fails_alone(words: tuple[str, ...], payload: str) -> None:
    """The culprit is found, also where several stand together; the others are judged by a new program."""
    with command(*words, limit=0.5 if payload == "hang" else None) as made:
        said = ask(made, "a", payload, payload, "b", payload, "c")
    failed = TimeoutError if payload == "hang" else CommandFailed
    assert kinds(said) == [Judgment, failed, failed, Judgment, failed, Judgment]
    assert [one.value for one in said if isinstance(one, Judgment)] == ["a", "b", "c"]
    if payload == "die":
        assert "status 7: cannot go on" in str(said[1])


@both
@pytest.mark.parametrize("payload", ["babble", "other"])
def test_answers_that_are_none(words: tuple[str, ...], payload: str) -> None:
    """A line that is no JSON, or is for another position, fails its task alone."""
    with command(*words) as made:
        said = ask(made, "a", payload, "b")
    assert [said[0], said[2]] == [Judgment("a", 0.5), Judgment("b", 0.5)]
    assert isinstance(said[1], CommandFailed)


@both
@pytest.mark.parametrize("payload", ["twice", "late", "stray"])
def test_a_line_too_many_is_no_other_tasks_answer(words: tuple[str, ...], payload: str) -> None:
    """At once or late, at the end of a suite or amid it; the next suite has the same positions, like another job's."""
    with command(*words) as made:
        for tasks in ((payload,), ("ab",), ("a", payload, "b"), ("c", payload), ("d", "e"), (payload, payload), ("f",)):
            said = ask(made, *tasks)
            assert [one for task, one in zip(tasks, said, strict=True) if task != payload] == [
                Judgment(task, 0.5) for task in tasks if task != payload
            ]
            own = [one for task, one in zip(tasks, said, strict=True) if task == payload]
            if words == NUMBERING:  # the first line was the task's own, and the other was seen to be none
                assert own == [Judgment(1)] * len(own)
            else:
                assert kinds(own) == [OutOfStep] * len(own)
                assert all("more lines than" in str(one) for one in own)


def test_a_line_too_many_does_not_have_a_program_given_up() -> None:
    """Also where it takes several failures to find the culprit, in the first suite."""
    with command(*AWK) as made:
        assert kinds(ask(made, "twice", *"abcdefghi")) == [OutOfStep] + [Judgment] * 9


def test_a_program_that_neither_repeats_the_line_nor_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it has more to say cannot be known, so its tasks fail with a sentence that says so."""
    monkeypatch.setattr("manyhands_worker.program.ENDING", 0.2)
    script = 'while read -r line; do echo "{\\"value\\": 1}"; done; sleep 600'
    with command("sh", "-c", script) as made:
        assert all("did not end within 0.2 s" in str(one) for one in ask(made, "a", "b", "c"))


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
    judging = 'case $line in *hang*) sleep 600;; esac; rest=${line#*,}; echo "${line%"$rest"} \\"value\\": 1}"'
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


def test_a_group_that_has_ended_is_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number may be another's by then: what a child leaves behind is only what has not ended."""
    killed: list[int] = []
    monkeypatch.setattr("manyhands_worker.process.os.killpg", lambda group, _signal: killed.append(group))
    config = {"command": AWK, "folder": ".", "version": "1"}
    with pool(commands={"c": config}) as made:
        (child,) = made.pids
        judge(made, *(suite("c", ["a"]) for _ in range(3)))  # each by a program of its own
    assert killed == [child]


def test_a_child_forgets_a_group_that_has_ended() -> None:
    """It would kill them all when its worker ends."""
    here, there = Pipe()
    groups: set[int] = set()
    given = setup(commands={"c": {"command": AWK, "folder": ".", "version": "1"}})
    with here, there:
        said = Bench(given, Replies(there), groups).judge(unit(delivery(suite("c", ["a"]))))
        assert said[0] == JUDGED
        notes = []
        while here.poll():
            notes += [what for _, what, _ in frames.unpack(here.recv_bytes())]
        assert notes == [LOADING, LOADED, STARTED, ENDED]
    assert not groups


def assert_gone(pid: int) -> None:
    """The process has ended, or is being ended."""

    def gone() -> bool:
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or ") Z " in stat.read_text()

    wait_until(gone, PATIENCE, f"the end of {pid}")

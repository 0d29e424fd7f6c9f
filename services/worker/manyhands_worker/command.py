"""A judge that is a program: JSON lines in, JSON lines out, one program for each child.

In: ``{"line": 1, "position": 0, "payload": ...}`` a task; bytes travel as ``{"base64": "..."}``. Out, in the same
order: ``{"line": 1, "value": ..., "confidence": 0.9}`` or ``{"line": 1, "error": "why"}``. The program must write out
each answer without waiting for more tasks.

No wait is long enough to tell that a program has no more to say, and a line too many would stand beside the next task.
So an answer counts when it repeats the ``line`` of its task, which no other task of that program ever had; or else
when the program was ended by closing its input, and had then written as many lines as it was given tasks. A program
that repeats ``line`` is kept running; one that does not serves one suite.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from itertools import pairwise, takewhile
from typing import Any, NamedTuple

from manyhands.handlers import Judgment
from manyhands_worker.jsonform import judgment, plain
from manyhands_worker.program import CommandFailed, Program

#: Failures in a row of a program that never answered anything, after which it and not a task is at fault.
GIVE_UP = 3


class OutOfStep(CommandFailed):
    """The program wrote what is not the answer to the task that comes next."""


class _Task(NamedTuple):
    number: int
    position: int
    line: bytes


class _Answer(NamedTuple):
    says: Judgment | Exception
    #: Whether it repeated the task's number, and so is the task's own whatever else was written.
    numbered: bool


class Command:
    """Judges with a program, which is started when first needed and again when it has died or is out of step.

    The task on which it dies, or takes longer than ``time_limit`` seconds for a suite, fails alone: what is left
    without a sure answer is given to new ones in parts until the culprit is found, for ``patience`` seconds at most.
    ``groups`` is told of the process group of each program, so that whoever kills this process can end that too; and of
    its end, for its number may be another's from then on.
    """

    def __init__(
        self, command: Sequence[str], folder: str, time_limit: float | None, patience: float,
        groups: Callable[[int, bool], None],
    ) -> None:  # fmt: skip
        self._command, self._folder, self._limit = list(command), folder, time_limit
        self._patience, self._groups = patience, groups
        self._program: Program | None = None
        self._works = False
        self._given = 0

    def __call__(self, positions: Sequence[int], payloads: Sequence[Any]) -> list[Any]:
        """The judgments, or an exception for a task without one."""
        tasks = [
            _Task(number, position, _line(number, position, payload))
            for number, (position, payload) in enumerate(zip(positions, payloads, strict=True), self._given + 1)
        ]
        self._given += len(tasks)
        said: list[Any] = [None] * len(tasks)
        until = time.monotonic() + self._patience
        failures, todo = 0, [range(len(tasks))] if tasks else []
        while todo:
            part = todo.pop()
            heard: list[_Answer] = []
            failed: Exception | None = None
            before = self._program
            try:
                self._ask(tasks[part.start : part.stop], heard)
            except (CommandFailed, TimeoutError) as error:
                # then it may be the line of an earlier task that stands where this one's answer should
                innocent = before is not None and before is self._program and isinstance(error, OutOfStep)
                self.close()
                failed = error
                failures += 1
                heard, lines = list(takewhile(lambda answer: answer.numbered, heard)), len(heard)
            said[part.start : part.start + len(heard)] = [answer.says for answer in heard]
            self._works = self._works or bool(heard)
            if failed is None or len(heard) == len(part):
                continue
            if time.monotonic() > until or (failures >= GIVE_UP and not self._works):
                for i in (*part[len(heard) :], *(i for other in todo for i in other)):
                    said[i] = failed
                break
            if len(part) == 1 and not innocent:
                said[part.start] = failed
            else:
                todo += reversed(_parts(part, len(heard), lines))
        return said

    def _ask(self, tasks: Sequence[_Task], heard: list[_Answer]) -> None:
        """Add the answers to ``heard`` as they come; unless this raises, all of them are sure."""
        if self._program is None or not self._program.fresh():
            self.close()
            self._program = Program(self._command, self._folder)
            self._groups(self._program.pid, True)
        program = self._program
        for line in program.ask([task.line for task in tasks], self._limit):
            answer = _read(line, tasks[len(heard)])
            if program.numbers and not answer.numbered:
                raise OutOfStep(f"its answer is without the line that others have: {_quoted(line)}")
            program.numbers = answer.numbered
            heard.append(answer)
        if not all(answer.numbered for answer in heard):
            more = program.finish()
            self.close()
            self._works = True
            if more:
                raise OutOfStep(f"it wrote more lines than it was given tasks: {_quoted(more)}")

    def close(self) -> None:
        """End the program, if one runs."""
        if self._program is not None:
            self._program.kill()
            self._groups(self._program.pid, False)
            self._program = None


def _parts(part: range, sure: int, heard: int) -> list[range]:
    """What to ask next of a part that failed after ``heard`` answers, the first ``sure`` of which stand."""
    start, stop = part.start, part.stop
    if heard < len(part):  # most likely it failed on the first one unanswered
        cuts = [start + sure, start + heard, start + heard + 1, stop]
    else:
        cuts = [start + sure, start + (sure + len(part)) // 2, stop]
    return [range(*ends) for ends in pairwise(cuts) if ends[0] < ends[1]]


def _line(number: int, position: int, payload: Any) -> bytes:
    task = {"line": number, "position": position, "payload": payload}
    return json.dumps(task, ensure_ascii=False, default=plain).encode() + b"\n"


def _read(line: bytes, task: _Task) -> _Answer:
    try:
        said = json.loads(line)
    except ValueError as error:
        return _Answer(CommandFailed(f"its answer is no JSON ({error}): {_quoted(line)}"), False)
    if not isinstance(said, dict):
        return _Answer(judgment(said), False)
    if said.get("line", task.number) != task.number:
        raise OutOfStep(f"its answer is for line {said['line']!r}, not {task.number}")
    if said.get("position", task.position) != task.position:
        raise OutOfStep(f"its answer is for position {said['position']!r}, not {task.position}")
    return _Answer(judgment(said), "line" in said)


def _quoted(line: bytes) -> str:
    return line[:200].decode(errors="replace")

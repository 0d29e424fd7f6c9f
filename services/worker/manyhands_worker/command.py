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

import base64
import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, takewhile
from typing import IO, Any, NamedTuple

from manyhands.errors import ManyhandsError
from manyhands.handlers import Judgment
from manyhands_worker.judging import NoJudgment

#: Bytes of what the program last wrote on standard error that an error quotes.
TAIL = 2000
#: Failures in a row of a program that never answered anything, after which it and not a task is at fault.
GIVE_UP = 3
CHUNK = 1 << 16
#: The longest line a program may answer with.
LINE_LIMIT = 1 << 24
#: Seconds that a program has to end once its input has.
ENDING = 5.0
#: Seconds between two looks whether it has ended; its output's end mostly tells sooner.
LOOK = 0.05


class CommandFailed(ManyhandsError):
    """The program did not judge the task."""


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
    ``started`` is told the process group of each program, so that whoever kills this process can end that too.
    """

    def __init__(
        self, command: Sequence[str], folder: str, time_limit: float | None, patience: float,
        started: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._command, self._folder, self._limit = list(command), folder, time_limit
        self._patience, self._started = patience, started
        self._program: _Program | None = None
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
            self._program = _Program(self._command, self._folder)
            self._started(self._program.pid)
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
            self._program = None


class _Program:
    """A running program, and its three pipes."""

    def __init__(self, command: Sequence[str], folder: str) -> None:
        self._name = command[0]
        try:
            self._process = subprocess.Popen(
                command, cwd=folder, bufsize=0, process_group=0,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            raise CommandFailed(f"{command[0]} cannot be started: {error}") from error
        process = self._process
        self._in, self._out, self._err = (_unblocked(p) for p in (process.stdin, process.stdout, process.stderr))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._selector.register(self._err, selectors.EVENT_READ)
        self._read = b""
        self._tail = b""
        #: Whether its last answer repeated its task's number: then all later ones must.
        self.numbers = False

    @property
    def pid(self) -> int:
        """Its process id, which is its group's too."""
        return self._process.pid

    def fresh(self) -> bool:
        """Whether it runs and has said nothing that it was not asked: else its answers are no longer in step."""
        if self._process.poll() is not None or self._read:
            return False
        try:
            self._read = os.read(self._out, CHUNK)
        except BlockingIOError:
            return True
        return False

    def ask(self, lines: Sequence[bytes], limit: float | None) -> Iterator[bytes]:
        """Write the lines; yield as many lines as they come back.

        Raises:
            CommandFailed: it ended before.
            TimeoutError: not all came within ``limit`` seconds.
        """
        deadline = None if limit is None else time.monotonic() + limit
        unsent, open_answers = memoryview(b"".join(lines)), len(lines)
        self._selector.register(self._in, selectors.EVENT_WRITE)
        try:
            while open_answers or unsent:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"{self._name} took longer than its {limit:g} s")
                for key, _ in self._selector.select(left):
                    if key.fd == self._in:
                        unsent = self._write(unsent)
                    elif key.fd == self._err:
                        self._hear()
                    else:
                        answers = self._take()
                        yield from answers[:open_answers]
                        open_answers -= len(answers)
                        if open_answers < 0:
                            self._read = b"\n".join((*answers[open_answers:], self._read))  # not to be asked again
                            return
        finally:
            if self._in in self._selector.get_map():
                self._selector.unregister(self._in)

    def finish(self) -> bytes:
        """Close its input and wait for its end, which alone tells that it has no more to say; or return what it says.

        Raises:
            CommandFailed: it did not end.
        """
        assert self._process.stdin is not None  # noqa: S101  as in _unblocked
        self._process.stdin.close()
        until = time.monotonic() + ENDING
        while not self._read:
            # asked before its output is read: all that it wrote can then be read, even where another holds the pipe
            ended = self._process.poll() is not None
            ready = {key.fd for key, _ in self._selector.select(0 if ended else LOOK)}
            if self._err in ready:
                self._hear()
            if self._out in ready:
                self._read = os.read(self._out, CHUNK)
                if not self._read:
                    break
            elif ended:
                break
            elif time.monotonic() > until:
                raise CommandFailed(
                    f"{self._name} did not end within {ENDING:g} s of its input's end, "
                    "as one must whose answers do not repeat the line"
                )
        return self._read

    def _write(self, unsent: memoryview) -> memoryview:
        try:
            unsent = unsent[os.write(self._in, unsent[:CHUNK]) :]
        except BrokenPipeError:
            unsent = unsent[:0]  # how it ended is told by its output's end
        if not unsent:
            self._selector.unregister(self._in)
        return unsent

    def _take(self) -> list[bytes]:
        chunk = os.read(self._out, CHUNK)
        if not chunk:
            raise CommandFailed(self._end())
        *answers, self._read = (self._read + chunk).split(b"\n")
        if len(self._read) > LINE_LIMIT:
            raise CommandFailed(f"an answer is longer than {LINE_LIMIT:,} bytes")
        return answers

    def _hear(self) -> bool:
        chunk = os.read(self._err, CHUNK)
        self._tail = (self._tail + chunk)[-TAIL:]
        if not chunk:
            self._selector.unregister(self._err)
        return bool(chunk)

    def _end(self) -> str:
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            how = "closed its output"
        else:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
        try:
            while self._err in self._selector.get_map() and self._hear():
                pass
        except BlockingIOError:
            pass  # whoever it started still holds the pipe; what is there has been read
        said = self._tail.decode(errors="replace").strip()
        return f"{self._name} {how}{f': {said}' if said else ''}"

    def kill(self) -> None:
        """End it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def _unblocked(pipe: IO[bytes] | None) -> int:
    assert pipe is not None  # noqa: S101  told to the type checker: all three were asked for
    os.set_blocking(pipe.fileno(), False)
    return pipe.fileno()


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


def plain(value: object) -> object:
    """Bytes as JSON can carry them."""
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


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


def judgment(said: object) -> Judgment | Exception:
    """What ``{"value": ..., "confidence"?: ...}`` or ``{"error": "why"}`` says of a task."""
    if isinstance(said, dict) and said.get("error") is not None:
        return NoJudgment(str(said["error"]))
    if not isinstance(said, dict) or "value" not in said:
        return NoJudgment(f'an answer is {{"value": ...}} or {{"error": "why"}}, not {str(said)[:200]}')
    return Judgment(said["value"], said.get("confidence"))

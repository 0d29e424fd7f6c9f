"""A judge that is a program: JSON lines in, JSON lines out, one program for each child, kept running.

In: ``{"position": 0, "payload": ...}`` a task; bytes travel as ``{"base64": "..."}``. Out, in the same order:
``{"value": ..., "confidence": 0.9}`` or ``{"error": "why"}``. The program must write out each answer without waiting
for more tasks.
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
from typing import IO, Any

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


class CommandFailed(ManyhandsError):
    """The program did not judge the task."""


class Command:
    """Judges with a program, which is started when first needed and again when it has died.

    The task on which it dies, or takes longer than ``time_limit`` seconds for a suite, fails alone: what it left
    unanswered is given to a new one task by task until the culprit is found, for ``patience`` seconds at most.
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

    def __call__(self, positions: Sequence[int], payloads: Sequence[Any]) -> list[Any]:
        """The judgments, or an exception for a task without one."""
        lines = [_line(position, payload) for position, payload in zip(positions, payloads, strict=True)]
        said: list[Any] = []
        until = time.monotonic() + self._patience
        failures, together = 0, True
        while len(said) < len(lines):
            ahead = lines[len(said) :] if together else lines[len(said) : len(said) + 1]
            try:
                for answer in self._ask(ahead):
                    said.append(_read(answer, positions[len(said)]))
                    self._works = True
            except (CommandFailed, TimeoutError) as error:
                self.close()
                failures += 1
                if time.monotonic() > until or (failures >= GIVE_UP and not self._works):
                    said.extend([error] * (len(lines) - len(said)))
                elif len(ahead) == 1:
                    said.append(error)
                    together = True
                else:
                    together = False
        return said

    def _ask(self, lines: Sequence[bytes]) -> Iterator[bytes]:
        if self._program is None or not self._program.fresh():
            self.close()
            self._program = _Program(self._command, self._folder)
            self._started(self._program.pid)
        return self._program.ask(lines, self._limit)

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
            while open_answers:
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
                            self._read = b"more answers than tasks"  # out of step: not to be asked again
                            return
        finally:
            if self._in in self._selector.get_map():
                self._selector.unregister(self._in)

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


def _line(position: int, payload: Any) -> bytes:
    return json.dumps({"position": position, "payload": payload}, ensure_ascii=False, default=plain).encode() + b"\n"


def plain(value: object) -> object:
    """Bytes as JSON can carry them."""
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _read(answer: bytes, position: int) -> Judgment | Exception:
    try:
        said = json.loads(answer)
    except ValueError as error:
        return CommandFailed(f"its answer is no JSON ({error}): {answer[:200].decode(errors='replace')}")
    if isinstance(said, dict) and said.get("position", position) != position:
        raise CommandFailed(f"its answer is for position {said['position']!r}, not {position}")
    return judgment(said)


def judgment(said: object) -> Judgment | Exception:
    """What ``{"value": ..., "confidence"?: ...}`` or ``{"error": "why"}`` says of a task."""
    if isinstance(said, dict) and said.get("error") is not None:
        return NoJudgment(str(said["error"]))
    if not isinstance(said, dict) or "value" not in said:
        return NoJudgment(f'an answer is {{"value": ...}} or {{"error": "why"}}, not {str(said)[:200]}')
    return Judgment(said["value"], said.get("confidence"))

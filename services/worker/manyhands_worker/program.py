"""A program that answers line by line: its process and its three pipes."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import IO

from manyhands.errors import ManyhandsError

#: Bytes of what the program last wrote on standard error that an error quotes.
TAIL = 2000
CHUNK = 1 << 16
#: The longest line a program may answer with.
LINE_LIMIT = 1 << 24
#: Seconds that a program has to end once its input has.
ENDING = 5.0
#: Seconds between two looks whether it has ended; its output's end mostly tells sooner.
LOOK = 0.05


class CommandFailed(ManyhandsError):
    """The program did not judge the task."""


class Program:
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

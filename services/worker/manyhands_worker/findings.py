"""What was found of the tasks of a suite: columns of values, and the problems of those that have none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from manyhands import replays
from manyhands.outcome import GiveBack, Retry, failure, fate, trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a task has no value, and what becomes of it.

    ``retry`` is the rung of the retry ladder in seconds; None means that it failed for good, with a dead letter unless
    ``letter`` is false. ``counts`` is false for a try that was not the task's fault. Of one that killed its child there
    are ``exit``, the signal or status, ``memory_mib``, the most that the child held, and a line for each death.
    ``tries`` counts those deaths; it is 1 for whatever killed nobody.
    """

    code: str
    message: str
    traceback: str = ""
    retry: float | None = None
    counts: bool = True
    letter: bool = True
    exit: str = ""
    memory_mib: int = 0
    history: Sequence[str] = ()
    tries: int = 1


@dataclass(slots=True, kw_only=True)
class Findings:
    """Columns beside the positions of a suite, and ``problems`` by index; a column is None where nobody has one."""

    values: list[Any]
    confidences: list[float | None] | None = None
    costs: list[float | None] | None = None
    workers: list[str | None] | None = None
    problems: dict[int, Problem] = field(default_factory=dict)


def problem(error: BaseException, attempt: int, max_attempts: int, random: Callable[[], float]) -> Problem:
    """The problem of a task whose ``attempt``-th try raised ``error``."""
    said = failure(error)
    message = _sendable(said.message)
    match fate(error, attempt, max_attempts, random):
        case Retry(delay):
            return Problem(code=said.code, message=message, retry=delay)
        case GiveBack(delay):
            return Problem(code=said.code, message=message, retry=delay, counts=False)
        case _:
            return Problem(code=said.code, message=message, traceback=_sendable(trace(error)))


def other_version(headers: Mapping[str, Any], version: str, now: float) -> Problem | None:
    """The problem of tasks that were replayed for other versions of the handler than this; None for all others.

    They go on to another worker, until none has come for too long.
    """
    if replays.suits(headers, version):
        return None
    rung = replays.rung(headers, now)
    said = f"it was replayed for another version of the handler than {version}"
    if rung is None:
        said += f", and none came within {replays.PATIENCE / 3600:g} hours"
    return Problem(code="other-version", message=said, retry=rung, counts=False)


def problem_of(row: Sequence[Any]) -> Problem:
    """The problem whose fields, in their order, are a list."""
    names = [field.name for field in fields(Problem)]
    return Problem(**dict(zip(names, row, strict=True)))


def _sendable(text: str) -> str:
    """The text without halves of surrogate pairs, which have no UTF-8."""
    return text.encode(errors="replace").decode()


def all_failed(count: int, found: Problem) -> Findings:
    """Findings in which every one of ``count`` tasks has the same problem."""
    return Findings(values=[None] * count, problems=dict.fromkeys(range(count), found))

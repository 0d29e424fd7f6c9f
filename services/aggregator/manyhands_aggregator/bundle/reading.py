"""A bundle's files read side by side, a suite at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import msgpack
import orjson

from manyhands.messages import GOLD_ID, Failure, Judgments
from manyhands_aggregator.bundle.files import ANSWERS_JSONL, JUDGMENTS, TASKS, NoBundle
from manyhands_aggregator.course import Slot
from manyhands_aggregator.suite import SuiteState

#: A line of one of the files: ``record`` says what it holds.
Line = dict[str, Any]


@dataclass(slots=True)
class Suite:
    """What the files say of a suite: a line for each task and its answer, and one for each judgment."""

    number: int
    tasks: list[Line]
    judgments: list[Line]
    answers: list[Line]

    @property
    def first(self) -> int:
        """The position of its first task."""
        return int(self.tasks[0]["position"])

    @property
    def ids(self) -> list[str]:
        """The ids of its tasks."""
        return [task["id"] for task in self.tasks]

    @property
    def open(self) -> bool:
        """Whether the job had ended before it was decided."""
        return bool(self.tasks[0].get("open"))

    def state(self) -> SuiteState:
        """The suite as the aggregator has it in hand when all has been said."""
        refused = {t["position"]: Failure(**t["refused"]) for t in self.tasks if "refused" in t}
        truths = [task.get("truth") for task in self.tasks]
        known = msgpack.packb(truths) if any(truth is not None for truth in truths) else None
        count = len(self.tasks)
        state = SuiteState(self.number, self.first, count, count - len(refused), known, refused)
        for message in self.messages():
            slot: Slot = (message.stage, message.judge, message.slot)
            state.said.setdefault(slot, []).append(message)
            state.course.ask(slot, message.positions)
        return state

    def messages(self) -> list[Judgments]:
        """What was said of it, as messages."""
        said: dict[tuple[Any, ...], list[Line]] = {}
        for line in self.judgments:
            # a failure and the value that came later may have all else in common
            said.setdefault(("error" in line, *(line[key] for key in _MESSAGE)), []).append(line)
        return [self._message(lines) for lines in said.values()]

    def _message(self, lines: list[Line]) -> Judgments:
        """The message that such lines are of, or were part of."""
        stated = any("confidence" in line for line in lines)
        return Judgments(
            job="",
            suite=self.number,
            positions=[line["position"] for line in lines],
            values=[line["value"] for line in lines],
            confidences=[line.get("confidence") for line in lines] if stated else None,
            errors={line["position"]: Failure(**line["error"]) for line in lines if "error" in line},
            **{key: lines[0][key] for key in _MESSAGE},
        )


#: What the lines of one message have in common.
_MESSAGE = ("stage", "judge", "slot", "worker", "version", "attempt", "started", "finished")


def suites(folder: Path) -> Iterator[Suite]:
    """The suites of a bundle, in the order of their tasks; memory is that of one suite.

    Raises:
        NoBundle: a file is not as a bundle has it.
    """
    with fitting_together(folder):
        yield from _suites(folder)


@contextmanager
def fitting_together(folder: Path) -> Iterator[None]:
    """Read what is in a bundle.

    Raises:
        NoBundle: the files do not fit together.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # whatever a line lacks, or has instead
        raise NoBundle(f"{folder}: its files do not fit together: {error.__class__.__name__}: {error}") from error


def settled(folder: Path) -> Iterator[tuple[Line, Line]]:
    """Each task of a bundle and its answer; gold that was mixed in has none."""
    asked = (task for task in _lines(folder / TASKS) if task["id"] != GOLD_ID)
    return zip(asked, _lines(folder / ANSWERS_JSONL), strict=True)


def span(folder: Path) -> tuple[float, float] | None:
    """The least and the greatest of a bundle's answers, which are numbers; None where there is none."""
    numbers = (line["answer"] for line in _lines(folder / ANSWERS_JSONL) if "error" not in line)
    low, high = math.inf, -math.inf
    for number in numbers:
        low, high = min(low, number), max(high, number)
    return (low, high) if low <= high else None


def _suites(folder: Path) -> Iterator[Suite]:
    judgments, answers = _Ahead(folder / JUDGMENTS), _Ahead(folder / ANSWERS_JSONL)
    expected = 0
    for number, lines in groupby(_lines(folder / TASKS), key=lambda line: line["suite"]):
        tasks = list(lines)
        if [task["position"] for task in tasks] != list(range(expected, expected + len(tasks))):
            raise ValueError(f"{TASKS}: positions have a gap at {expected}")
        expected += len(tasks)
        yield Suite(number, tasks, judgments.before(expected), answers.before(expected))
    if left := judgments.before(1 << 62):
        raise ValueError(f"{JUDGMENTS}: there is no task {left[0]['position']}")


class _Ahead:
    """The lines of a file sorted by position, as far as they are asked for."""

    def __init__(self, file: Path) -> None:
        self._lines = _lines(file)
        self._next: Line | None = next(self._lines, None)

    def before(self, position: int) -> list[Line]:
        """The lines that come next and are of positions before this one."""
        found: list[Line] = []
        while self._next is not None and self._next["position"] < position:
            found.append(self._next)
            self._next = next(self._lines, None)
        return found


def _lines(file: Path) -> Iterator[Line]:
    with file.open("rb") as opened:
        for line in opened:
            yield orjson.loads(line)

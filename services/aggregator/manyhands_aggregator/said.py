"""The judgments of a job as columns of numbers, for what is measured of workers; no I/O."""

from __future__ import annotations

import contextlib
import json
import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyhands.messages import Judgments
from manyhands.spec import PEOPLE
from manyhands_aggregator import values
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.truth.ballots import Ballots, Floats
from manyhands_aggregator.truth.plain import plain

#: The number of a truth that nobody said.
UNSAID = -2.0


@dataclass(slots=True)
class Columns:
    """A row a judgment, in any order: ``task``, ``worker`` (of ``names``), ``value``, ``seconds``, ``finished``.

    ``truth`` has a number a task, nan where it is not known. Of a task with several labels each option is a task of its
    own, with the values 0 and 1: a judgment is ``width`` rows then, of which the first alone has the time it took.
    """

    plan: Plan
    names: dict[str, int] = field(default_factory=dict)
    task: array[int] = field(default_factory=lambda: array("i"))
    worker: array[int] = field(default_factory=lambda: array("i"))
    value: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("d"))
    finished: array[float] = field(default_factory=lambda: array("d"))
    truth: array[float] = field(default_factory=lambda: array("d"))

    @property
    def width(self) -> int:
        """Rows of a judgment."""
        return len(self.plan.spec.answer.options or ()) if self.plan.spec.answer.type == "choices" else 1

    @property
    def machines(self) -> NDArray[np.bool_]:
        """Who is a machine, shape (W,)."""
        return np.array([not name.startswith(f"{PEOPLE}/") for name in self.names], bool)

    def add(self, messages: Iterable[Judgments], first: int, count: int, truths: Sequence[Any] | None) -> None:
        """Take in all that was said of a suite.

        Of what a worker says of a task the first counts: the slots of one machine are one voter.
        """
        codes, width, start = _Codes(self.plan), self.width, len(self.truth)
        said: set[tuple[int, int]] = set()
        for message in messages:
            name = f"{PEOPLE}/{message.worker}" if message.judge == PEOPLE else message.judge
            number = self.names.setdefault(name, len(self.names))
            took = max(0.0, message.finished - message.started) / max(1, len(message.positions))
            for position, value in zip(message.positions, message.values, strict=True):
                if position in message.errors or (position, number) in said:
                    continue
                said.add((position, number))
                coded = codes.of(value)
                task = start + (position - first) * width
                self.task.extend(range(task, task + width))
                self.value.extend(coded)
                self.worker.extend([number] * width)
                self.seconds.extend([took, *[math.nan] * (width - 1)])
                self.finished.extend([message.finished] * width)
        for truth in truths or [None] * count:
            self.truth.extend(codes.truth(truth))

    def ballots(self) -> tuple[Ballots, Floats, Floats, Floats]:
        """In the order in which they were given: labels, values, seconds, (n,) each; truths (T,).

        Of numbers, texts and JSON a label is a value that was said; a truth that nobody said is :data:`UNSAID`.
        """
        order = np.argsort(np.array(self.finished), kind="stable")
        value, truth = np.array(self.value)[order], np.array(self.truth)
        if self.plan.spec.answer.type in ("choice", "choices"):
            labels = value.astype(np.int32)
        else:
            values, at = np.unique(value, return_inverse=True)
            labels = at.astype(np.int32)
            if self.plan.spec.answer.type != "number" and len(values):
                place = np.minimum(np.searchsorted(values, truth), len(values) - 1)
                truth = np.where(np.isnan(truth), np.nan, np.where(values[place] == truth, place, UNSAID))
        ballots = Ballots.of(
            np.array(self.task, np.int32)[order],
            np.array(self.worker, np.int32)[order],
            labels,
            tasks=len(truth),
            workers=len(self.names),
            classes=self._classes(labels),
        )
        return ballots, value, np.array(self.seconds)[order], truth

    def _classes(self, labels: NDArray[np.int32]) -> int:
        match self.plan.spec.answer.type:
            case "choice":
                return len(self.plan.spec.answer.options or ())
            case "choices":
                return 2
            case _:
                return int(labels.max(initial=0)) + 1


class _Codes:
    """Values as numbers: an option's place, each option's 0 or 1, a number itself, or else a digest."""

    def __init__(self, plan: Plan) -> None:
        self._answer, self._check = plan.spec.answer, plan.check
        self._options = list(self._answer.options or ())
        self._plain = values.are_plain(plan.spec)
        self._places = {option: float(place) for place, option in enumerate(self._options)}

    def of(self, value: Any) -> Sequence[float]:
        """The numbers of a judgment."""
        match self._answer.type:
            case "number":
                return (float(value),)
            case "choice":
                return (self._places[value],)
            case "choices":
                return [float(option in value) for option in self._options]
            case _:
                word = values.canonical(plain(value) if self._plain else value).encode("utf-8", "surrogatepass")
                digest = blake2b(word, digest_size=8).digest()
                return (float(int.from_bytes(digest) >> 12),)  # all of which a float can have

    def truth(self, truth: Any) -> Sequence[float]:
        """The numbers of a truth; nan where there is none, or none that could be an answer."""
        normal = _normal(self._check, truth, _READ.get(self._answer.type))
        if normal is None:
            return [math.nan] * (len(self._options) if self._answer.type == "choices" else 1)
        return self.of(normal[0])


#: How a truth is read that is text, as from a CSV file, by the type of the answer.
_READ: dict[str, Callable[[str], Any]] = {"number": float, "choices": json.loads, "json": json.loads}


def _normal(check: values.Check, truth: Any, read: Callable[[str], Any] | None) -> tuple[Any] | None:
    """The truth in the normal form of answers, by itself since it may be None; text is read first."""
    if truth is None:
        return None
    candidates = [truth]
    if read is not None and isinstance(truth, str):
        with contextlib.suppress(ValueError):
            candidates.insert(0, read(truth))
    for candidate in candidates:
        try:
            return (check(candidate),)
        except ValueError:
            continue
    return None

"""A bundle gone over as a whole, by any method of the truth package."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from manyhands.spec import Answer, JobSpec
from manyhands_aggregator.agreement import gather, voters
from manyhands_aggregator.bundle.files import NoMethod
from manyhands_aggregator.bundle.reading import Suite
from manyhands_aggregator.truth import types
from manyhands_aggregator.truth.types import Columns, Found


def named(answer: Answer, method: str) -> None:
    """See that there is such a method for answers of this type.

    Raises:
        NoMethod: there is none; it names those that there are.
    """
    there = types.METHODS[answer.type]
    if method not in there:
        raise NoMethod(f"{method}; for {answer.type} there are {', '.join(there)}")


def columns(spec: JobSpec, suites: Iterable[Suite]) -> Columns:
    """All the judgments of a bundle, some forty bytes each; a voter's first judgment of a task is the one that counts.

    Truths are not among them, so that what is made of the judgments can be held against the truths.
    """
    known = {name: number for number, name in enumerate(voters(spec))}
    task, voter, said = [], [], _Said()
    count = 0
    for suite in suites:
        positions = [each["position"] for each in suite.tasks]
        found = gather(suite.messages(), {suite.number: -suite.first}, positions, known)
        task.append((found.task + suite.first).astype(np.int32))
        voter.append(found.voter.astype(np.int32))
        said.extend(found.values)
        count = suite.first + len(positions)
    none = [np.empty(0, np.int32)]
    span = None if spec.answer.min is None or spec.answer.max is None else spec.answer.max - spec.answer.min
    return Columns(
        task=np.concatenate(task or none), worker=np.concatenate(voter or none), values=said.values, tasks=count,
        workers=len(known), options=spec.answer.options or (), span=span,
    )  # fmt: skip


class _Said:
    """Values, of which equal texts are one and the same: a million judgments of ten options are ten texts."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._texts: dict[str, str] = {}

    def extend(self, values: Sequence[Any]) -> None:
        """Take in some more."""
        self.values += [self._texts.setdefault(v, v) if isinstance(v, str) else v for v in values]


def found(spec: JobSpec, method: str, suites: Callable[[], Iterator[Suite]]) -> Found:
    """What a method makes of the judgments of a bundle."""
    return types.infer(spec.answer.type, columns(spec, suites()), method)

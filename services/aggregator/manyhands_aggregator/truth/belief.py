"""What is believed of voters so far, and of a task given its votes; kept up as each message arrives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Before anything is known a voter is taken to be right as Beta(2.8, 1.2) has it: 70 %, worth four judgments.
RIGHT, WRONG = 2.8, 1.2


class Vote(NamedTuple):
    """What a voter said of a task: one of K labels, numbered from 0, and its own confidence (0..1) if it stated one.

    A voter is a judge for machines, all its replicas and slots in one, and a person for people.
    """

    worker: str
    label: int
    confidence: float | None = None


class Beliefs:
    """How often each voter was right, in whole numbers; what was learned in another order is the same state.

    A task's posterior starts from equal chances for the K classes: learned class shares feed on their own guesses.
    Memory grows with the voters, never with the tasks.
    """

    def __init__(self, classes: int) -> None:
        if classes < 1:
            raise ValueError("there must be at least one class")
        self.classes = classes
        self._counts: dict[str, list[int]] = {}  # voter: right, judged

    def learn(self, worker: str, said: int, truth: int, confidence: float | None = None) -> None:  # noqa: ARG002
        """Count one judgment of a voter against gold or an accepted answer."""
        counts = self._counts.setdefault(worker, [0, 0])
        counts[0] += said == truth
        counts[1] += 1

    def skill(self, worker: str) -> float:
        """The probability, 0..1, that the voter's next judgment is right."""
        right, judged = self._counts.get(worker, (0, 0))
        return (right + RIGHT) / (judged + RIGHT + WRONG)

    def posterior(self, votes: Sequence[Vote]) -> NDArray[np.float64]:
        """The probability of each of the K classes, shape (K,), given the votes of a task; equal ones without votes.

        Several votes of one voter weigh together as much as one: a model asked twice is no second opinion.
        """
        scores = np.zeros(self.classes)
        said = _by_voter(votes)
        for worker, labels in said.items():
            right = self.skill(worker)
            gain = np.log(right / (1 - right) * max(1, self.classes - 1))
            for label in labels:
                scores[label] += gain / len(labels)
        scores = np.exp(scores - scores.max())
        return np.asarray(scores / scores.sum(), np.float64)

    def counts(self) -> dict[str, Any]:
        """The whole state as plain values, to store; `of_counts` makes the same beliefs of it."""
        return {"classes": self.classes, "voters": {worker: list(counts) for worker, counts in self._counts.items()}}

    @classmethod
    def of_counts(cls, counts: Mapping[str, Any]) -> Beliefs:
        """The beliefs that `counts` described."""
        beliefs = cls(counts["classes"])
        beliefs._counts = {worker: list(found) for worker, found in counts["voters"].items()}
        return beliefs


def tally(votes: Sequence[Vote], classes: int) -> list[float]:
    """How many voters say each of the K labels; one who said several counts for each in part."""
    counts = [0.0] * classes
    for labels in _by_voter(votes).values():
        for label in labels:
            counts[label] += 1 / len(labels)
    return counts


def _by_voter(votes: Sequence[Vote]) -> dict[str, list[int]]:
    said: dict[str, list[int]] = {}
    for vote in votes:
        said.setdefault(vote.worker, []).append(vote.label)
    return said

"""What is believed of voters so far, and of a task given its votes; kept up as each message arrives."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyhands_aggregator.truth.calibrate import Calibration

#: Before anything is known a voter is taken to be right as Beta(2.8, 1.2) has it: 70 %, worth four judgments.
RIGHT, WRONG = 2.8, 1.2
NEW = RIGHT / (RIGHT + WRONG)
#: The prior of a studied voter, as so many judgments of which the votes of the task leave no doubt.
HELD = 3.0
#: How often a voter is taken to be right where it is reckoned how much a task's votes can tell of one of them.
MIDDLING = 0.75
#: Votes of a task that leave no doubt of what they tell; more do not tell more.
MANY = 50
#: Mistakes fall together: who errs as well says one of (K - 1) ** TOGETHER wrong answers in effect, not one of K - 1.
TOGETHER = 0.8
#: Nobody is believed to be right more often than this; errors that agree are not seen until they are paid for.
SUREST = 0.995
#: Lessons are counted in whole thousandths of a judgment, so that sums do not depend on their order.
UNIT = 1000


class Vote(NamedTuple):
    """What a voter said of a task: one of K labels, numbered from 0, and its own confidence (0..1) if it stated one.

    A voter is a judge for machines, all its replicas and slots in one, and a person for people.
    """

    worker: str
    label: int
    confidence: float | None = None


class Beliefs:
    """How often each voter is right, in whole numbers; what was learned in another order is the same state.

    Of a task whose truth is not known, the votes are studied (`lessons`). What is believed is a sum over the tasks of a
    function of their votes alone: it feeds on no guess of its own, it does not matter when a task was looked at, and
    that tasks of which the votes agree need fewer of them does not make voters look better than they are. A voter's
    skill is then that of the crowd and a ridge regression of its lessons on how much each could tell of it.

    A task's posterior starts from equal chances for the K classes: learned class shares feed on their own guesses.
    Memory grows with the voters, never with the tasks: six whole numbers each, and 29 pairs for one that states its
    confidence.
    """

    def __init__(self, classes: int) -> None:
        if classes < 1:
            raise ValueError("there must be at least one class")
        self.classes = classes
        self._studied: dict[str, list[int]] = {}  # voter: the sums of what its lessons count, and how many they are
        self._known: dict[str, list[int]] = {}  # voter: right, and of how many that were compared
        self._crowd = [0, 0, 0, 0]  # the sums over what was studied
        self._stated: dict[str, Calibration] = {}

    @property
    def voters(self) -> int:
        """How many voters something is known of, at the most."""
        return len(self._studied) + len(self._known) + len(self._stated)

    def study(self, votes: Sequence[Vote], before: Sequence[Vote] = ()) -> None:
        """Take in a task's votes, in the place of those ``before`` of them that were studied already."""
        for sign, some in ((-1, before), (1, votes)):
            for worker, lesson in lessons(some, self.classes):
                for sums in (self._studied.setdefault(worker, [0, 0, 0, 0]), self._crowd):
                    for place, count in enumerate(lesson):
                        sums[place] += sign * count

    def learn(self, worker: str, said: int, truth: int, confidence: float | None = None) -> None:
        """Count one judgment of a voter against gold or an accepted answer; it is not to be studied as well."""
        counts = self._known.setdefault(worker, [0, 0])
        counts[0] += said == truth
        counts[1] += 1
        if confidence is not None:
            self.heed(worker, said, truth, confidence)

    def heed(self, worker: str, said: int, truth: int, confidence: float) -> None:
        """Count what a voter stated of itself against gold, or an accepted answer that rests on others than itself."""
        self._stated.setdefault(worker, Calibration()).learn(confidence, said == truth)

    def borne_out(self, worker: str, confidence: float) -> float | None:
        """How often the voter was right when it was so sure, 0..1; None before enough was compared."""
        known = self._stated.get(worker)
        return None if known is None else known.right(confidence)

    def skill(self, worker: str) -> float:
        """The probability, 0..1, that the voter's next judgment is right."""
        return self._skill(worker, {}, self._crowd)

    def _skill(self, worker: str, own: Mapping[str, Lesson], crowd: Sequence[int]) -> float:
        """The same without its own lesson of a task, where it has one, and with the sums of the crowd as given."""
        sums: Sequence[int] = self._studied.get(worker, (0, 0, 0, 0))
        if worker in own:
            sums = [count - left_out for count, left_out in zip(sums, own[worker], strict=True)]
        agreed, told, squares, judged = sums
        middle = (crowd[0] / UNIT**2 + RIGHT * (1 - NEW)) / (crowd[1] / UNIT + (RIGHT + WRONG) * (1 - NEW))
        weight = judged + RIGHT + WRONG
        found = (RIGHT + judged * middle) / weight
        found += (agreed / UNIT**2 - middle * told / UNIT) / (squares / UNIT**2 + HELD)
        right, known = self._known.get(worker, (0, 0))
        return min(1.0, max(0.0, (max(0.0, min(1.0, found)) * weight + right) / (weight + known)))

    def posterior(self, votes: Sequence[Vote], studied: Sequence[Vote] = ()) -> NDArray[np.float64]:
        """The probability of each of the K classes, shape (K,), given the votes of a task; equal ones without votes.

        Each voter is right with its own probability and else says any other class as likely as the next (the one-coin
        model of Dawid and Skene, 1979): the probability that it states, if that may be believed, or its skill. Who errs
        as others did is likelier to say the same: every vote for a class but the first weighs somewhat less. Several
        votes of one voter weigh together as much as one: a model asked twice is no second opinion. What those of them
        taught that were ``studied`` is left out: a vote is no evidence for itself.
        """
        return weighed(votes, self.rights(votes, studied), self.classes)

    def rights(self, votes: Sequence[Vote], studied: Sequence[Vote] = ()) -> list[float]:
        """How probable it is by itself that each of these votes is right, 0..1; of those ``studied`` as above."""
        own = dict(lessons(studied, self.classes))
        crowd = [total - sum(counts) for total, *counts in zip(self._crowd, *own.values(), strict=True)]
        skills: dict[str, float] = {}
        found = []
        for vote in votes:
            right = None if vote.confidence is None else self.borne_out(vote.worker, vote.confidence)
            if right is None:
                if vote.worker not in skills:
                    skills[vote.worker] = self._skill(vote.worker, own, crowd)
                right = skills[vote.worker]
            found.append(max(0.5 / self.classes, min(SUREST, right)))
        return found

    def counts(self) -> dict[str, Any]:
        """The whole state as plain values, to store; `of_counts` makes the same beliefs of it."""
        return {
            "classes": self.classes,
            "studied": {worker: list(counts) for worker, counts in self._studied.items() if any(counts)},
            "known": {worker: list(counts) for worker, counts in self._known.items()},
            "stated": {worker: list(map(list, of.bins().items())) for worker, of in self._stated.items()},
        }

    @classmethod
    def of_counts(cls, counts: Mapping[str, Any]) -> Beliefs:
        """The beliefs that `counts` described."""
        beliefs = cls(counts["classes"])
        beliefs._studied = {worker: list(found) for worker, found in counts["studied"].items()}
        beliefs._known = {worker: list(found) for worker, found in counts["known"].items()}
        beliefs._crowd = [sum(column) for column in zip((0,) * 4, *beliefs._studied.values(), strict=True)]
        beliefs._stated = {
            worker: Calibration({place: (right, compared) for place, (right, compared) in bins})
            for worker, bins in counts["stated"].items()
        }
        return beliefs


def weighed(votes: Sequence[Vote], rights: Sequence[float], classes: int) -> NDArray[np.float64]:
    """The posterior of a task, shape (K,), whose votes are right with these probabilities; see `Beliefs.posterior`."""
    if classes == 1:
        return np.ones(1)
    scores, heads, times = [0.0] * classes, [0.0] * classes, Counter(vote.worker for vote in votes)
    for vote, right in zip(votes, rights, strict=True):
        scores[vote.label] += math.log(right / (1 - right) * (classes - 1)) / times[vote.worker]
        heads[vote.label] += 1 / times[vote.worker]
    return np.array(_shares([score - _in_common(count, classes) for score, count in zip(scores, heads, strict=True)]))


def _in_common(heads: float, classes: int) -> float:
    """What is taken from the logarithm of an answer of so many voters, for they may share a mistake."""
    return max(0.0, heads - 1) * (1 - TOGETHER) * math.log(classes - 1)


class Lesson(NamedTuple):
    """What one task teaches of one of its voters, in whole numbers: y x, x, x² and 1.

    y, in thousandths, is how far the votes of the task, its own among them, bear the voter out; x, in thousandths, how
    much higher that is for a voter who is always right than for one who never is. With few votes it is little.
    """

    agreed: int
    told: int
    squares: int
    judged: int = 1


def lessons(votes: Sequence[Vote], classes: int) -> list[tuple[str, Lesson]]:
    """What the votes of a task teach of each of its voters.

    How far they bear a voter out is the posterior of what it said where every voter, itself among them, is right as
    often as a new one. The vote of somebody who is alone with a task teaches nothing.
    """
    said = _by_voter(votes)
    if len(said) < 2 or classes < 2:
        return []
    shares = _borne_out(tuple(tally(votes, classes)))
    told = _told(min(len(said), MANY), classes)
    return [
        (worker, Lesson(round(UNIT * sum(shares[vote.label] for vote in own) / len(own)) * told, told, told * told))
        for worker, own in said.items()
    ]


@functools.lru_cache(4096)
def _borne_out(tally: tuple[float, ...]) -> list[float]:
    gain = math.log(NEW / (1 - NEW) * (len(tally) - 1))
    return _shares([gain * count - _in_common(count, len(tally)) for count in tally])


@functools.cache
def _told(voters: int, classes: int) -> int:
    """How much the votes of so many tell of one of them, in thousandths: what x is in `Lesson`.

    The others are right, each by itself, as often as ``MIDDLING`` says; their mistakes fall on all classes alike, and
    none on the voter's.
    """
    found = 0.0
    for right in range(voters):
        counts = [float(right)] + [0.0] * (classes - 1)
        for wrong in range(voters - 1 - right):
            counts[1 + wrong % (classes - 1)] += 1
        least = counts.index(min(counts[1:]), 1)
        if_right = _borne_out((counts[0] + 1, *counts[1:]))[0]
        counts[least] += 1
        chance = math.comb(voters - 1, right) * MIDDLING**right * (1 - MIDDLING) ** (voters - 1 - right)
        found += chance * (if_right - _borne_out(tuple(counts))[least])
    return round(UNIT * found)


def tally(votes: Sequence[Vote], classes: int) -> list[float]:
    """How many voters say each of the K labels; one who said several counts for each in part."""
    counts = [0.0] * classes
    for own in _by_voter(votes).values():
        for vote in own:
            counts[vote.label] += 1 / len(own)
    return counts


def _by_voter(votes: Sequence[Vote]) -> dict[str, list[Vote]]:
    said: dict[str, list[Vote]] = {}
    for vote in votes:
        said.setdefault(vote.worker, []).append(vote)
    return said


def _shares(scores: Sequence[float]) -> list[float]:
    best = max(scores)
    weights = [math.exp(score - best) for score in scores]
    total = math.fsum(weights)
    return [weight / total for weight in weights]

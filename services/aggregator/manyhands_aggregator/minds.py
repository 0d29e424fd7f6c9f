"""What is believed of the voters of each job, in memory; made again from the store where it is not there.

A suite teaches with every message, and once more when it is settled, in the place of what it taught before. What it
teaches follows from what stands in the store, so beliefs need no transaction: they are brought up to date behind the
commit, replicas may know more or less than one another, and a restart believes the same.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from manyhands_aggregator.cascade import Opinion
from manyhands_aggregator.plan import Plan

if TYPE_CHECKING:
    from manyhands_aggregator.judged import Taught
    from manyhands_aggregator.opinions import Lesson
    from manyhands_aggregator.truth.belief import Vote

#: Jobs, their voters and their tasks under way of which beliefs are kept in memory, at most, all together: up to 0.7
#: KB each. Of others they are made again from the store; those of one job are kept however many they are.
KEPT = 400_000


class Mind:
    """The beliefs of one job, and what its suites under way have taught so far."""

    def __init__(self, classes: int) -> None:
        from manyhands_aggregator.truth.belief import Beliefs

        self.beliefs = Beliefs(classes)
        #: Of each task under way, the votes that have taught.
        self.studied: dict[int, Sequence[Vote]] = {}
        self._under_way: dict[int, list[Lesson]] = {}
        #: A byte for each suite: whether it has taught all that it will.
        self._settled = bytearray()

    @property
    def size(self) -> int:
        """Of how much it knows: itself, voters, and tasks under way."""
        return 1 + self.beliefs.voters + len(self.studied)

    @classmethod
    def of(cls, plan: Plan) -> Mind:
        """That of a job of which nothing was said yet; a type that is no choice has no classes to tell apart."""
        return cls(len(plan.spec.answer.options or ()) if plan.spec.answer.type == "choice" else 1)

    def learn(self, suite: int, lessons: list[Lesson], *, settled: bool) -> None:
        """Take in what a suite teaches now, in the place of what it taught while it was under way.

        Once it is settled it teaches nothing more: who recalled it behind a commit has learned what is said then.
        """
        if suite < len(self._settled) and self._settled[suite]:
            return
        if settled:
            self._settled.extend(bytes(max(0, suite + 1 - len(self._settled))))
            self._settled[suite] = 1
        for lesson in self._under_way.pop(suite, ()):
            lesson.withdraw(self.beliefs)
            self.studied.pop(lesson.position, None)
        for lesson in lessons:
            lesson.teach(self.beliefs)
        if not settled and lessons:
            self._under_way[suite] = lessons
            self.studied |= {lesson.position: lesson.votes for lesson in lessons}


class Minds:
    """The beliefs of the jobs that are at work. May be used by several threads."""

    def __init__(self) -> None:
        self._minds: dict[str, Mind] = {}  # the one that was asked for last is the last
        self._sizes: dict[str, int] = {}
        self._kept = 0  # the sum of the sizes
        self._lock = threading.Lock()
        self._random = random.Random(0)

    def opinion(self, connection: sa.Connection, job: str, plan: Plan) -> Opinion:
        """What to think of a job's votes, with what is believed by now."""
        # numpy takes its time to import, and most installations need none
        from manyhands_aggregator import opinions

        mind = self.mind(connection, job, plan)
        return opinions.opinion(plan, mind.beliefs, mind.studied)

    def mind(self, connection: sa.Connection, job: str, plan: Plan) -> Mind:
        """What is believed of the voters of a job by now."""
        with self._lock:
            mind = self._minds.pop(job, None)
            if mind is None:
                mind = _recalled(connection, job, plan)
            self._minds[job] = mind
            self._weigh(job, mind)
            return mind

    def _weigh(self, job: str, mind: Mind) -> None:
        """Take note of how large a mind is by now, and forget others as long as all are too much together.

        The older of any two is forgotten: always the oldest would be just the next where all jobs take their turns.
        """
        self._kept += mind.size - self._sizes.get(job, 0)
        self._sizes[job] = mind.size
        while self._kept > KEPT and len(self._minds) > 1:
            place = min(self._random.randrange(len(self._minds) - 1) for _ in range(2))
            forgotten = next(itertools.islice(self._minds, place, None))
            del self._minds[forgotten]
            self._kept -= self._sizes.pop(forgotten)

    def learn(self, taught: Mapping[str, Taught]) -> None:
        """Take in what suites have taught, by job, after it was committed."""
        with self._lock:
            for job, some in taught.items():
                if (mind := self._minds.get(job)) is not None:  # else it is learned when it is asked for
                    for suite, lessons in some.under_way.items():
                        mind.learn(suite, lessons, settled=False)
                    for suite, lessons in some.settled.items():
                        mind.learn(suite, lessons, settled=True)
                    self._weigh(job, mind)


def _recalled(connection: sa.Connection, job: str, plan: Plan) -> Mind:
    """What the suites of a job teach."""
    from manyhands_aggregator.opinions import glimpses, lessons
    from manyhands_aggregator.settled import pages, under_way

    mind = Mind.of(plan)
    for page in pages(connection, job):
        for state, decision in page:
            mind.learn(state.suite, lessons(plan, state, decision), settled=True)
    for state in under_way(connection, job):
        mind.learn(state.suite, glimpses(plan, state), settled=False)
    return mind

"""What is believed of the voters of each job, in memory; made again from the store where it is not there.

A settled suite teaches, once. What was accepted stands in the store, so beliefs need no transaction: they are brought
up to date behind the commit, and replicas may know more or less than one another.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import sqlalchemy as sa

from manyhands_aggregator.cascade import Opinion
from manyhands_aggregator.plan import Plan

if TYPE_CHECKING:
    from manyhands_aggregator.opinions import Lesson
    from manyhands_aggregator.truth.belief import Beliefs

#: Jobs whose beliefs are kept in memory, at most; of others they are made again from the store.
JOBS = 100


class Minds:
    """The beliefs of the jobs that are at work. May be used by several threads."""

    def __init__(self) -> None:
        self._beliefs: dict[str, Beliefs] = {}
        self._lock = threading.Lock()

    def opinion(self, connection: sa.Connection, job: str, plan: Plan) -> Opinion:
        """What to think of a job's votes, with what is believed by now."""
        # numpy takes its time to import, and most installations need none
        from manyhands_aggregator.opinions import Believed, Compared

        if plan.spec.answer.type != "choice":
            return Compared(plan)
        with self._lock:
            beliefs = self._beliefs.get(job)
            if beliefs is None:
                beliefs = self._beliefs[job] = _recalled(connection, job, plan)
                if len(self._beliefs) > JOBS:
                    self._beliefs.pop(next(iter(self._beliefs)))
        return Believed(plan, beliefs)

    def learn(self, lessons: Mapping[str, Iterable[Lesson]]) -> None:
        """Take in what suites that were settled and committed have taught, by job."""
        with self._lock:
            for job, some in lessons.items():
                if (beliefs := self._beliefs.get(job)) is not None:  # else it is learned when it is asked for
                    for lesson in some:
                        lesson.teach(beliefs)


def _recalled(connection: sa.Connection, job: str, plan: Plan) -> Beliefs:
    """What the settled suites of a job teach."""
    from manyhands_aggregator.opinions import lessons
    from manyhands_aggregator.settled import pages
    from manyhands_aggregator.truth.belief import Beliefs

    beliefs = Beliefs(len(plan.spec.answer.options or ()))
    for page in pages(connection, job):
        for state, decision in page:
            for lesson in lessons(plan, state, decision):
                lesson.teach(beliefs)
    return beliefs

"""What this process knows of the jobs it works on: shared by its threads, always made again from the store."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from manyhands import metrics, tracing
from manyhands.clock import Clock
from manyhands.measure import observe_all
from manyhands.spec import JobSpec
from manyhands_producer.record import State
from manyhands_producer.spool import Cut


@dataclass(slots=True, kw_only=True, eq=False)
class Live:
    """A job that has something left to be said or done. Read and written under the board's lock.

    ``suites`` and ``tasks`` count what was cut; suites from ``next`` on are not published yet, ``waiting`` is their
    bytes and ``largest`` the bytes of the largest suite there was. ``unsettled`` are published suites that take up the
    window, the oldest first, each with the time it was published at, in seconds of the monotonic clock. While the
    publisher looks into the spool, ``early`` collects what is settled meanwhile. ``anew`` counts how often the job was
    published from its first unsettled suite on; it is ``again`` where the publisher is to do so. ``heard`` counts what
    was asked for beyond that: a sign of life. ``retired`` are workers that the aggregator has no use for any more, as
    far as it was heard; whoever forgets them asks in vain, and does no harm.
    """

    number: int
    job: str
    spec: JobSpec
    digest: str
    opened: float
    state: State
    reason: str | None
    suites: int
    tasks: int
    announced: bool
    closed: bool
    published: int
    next: int
    waiting: int = 0
    largest: int = 0
    unsettled: dict[int, float] = field(default_factory=dict)
    early: set[int] | None = None
    anew: int = 0
    again: int = 0
    heard: int = 0
    retired: set[str] = field(default_factory=set)

    @property
    def ahead(self) -> int:
        """How many suites are cut and not published."""
        return self.suites - self.next

    @property
    def over(self) -> bool:
        """Whether nobody wants judgments any more."""
        return self.state in ("cancelled", "ended")


#: States only move on.
_ORDER: dict[State, int] = {"open": 0, "sealed": 1, "ended": 2, "cancelled": 2}


class Board:
    """The live jobs, a lock, and a bell that wakes whoever waits for something to change."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.changed = threading.Condition(threading.RLock())
        self._jobs: dict[str, Live] = {}
        self._judges: set[str] = set()  # of which a gauge was set: it must go back to 0
        self._rung = 0
        #: Whether there may be ids of jobs in the store that take no more tasks.
        self.purge = True

    def put(self, live: Live) -> Live:
        """Take a job on; one that is there already stays as it is."""
        with self.changed:
            live = self._jobs.setdefault(live.job, live)
            self.ring()
            return live

    def get(self, job: str) -> Live | None:
        """A job, if it is live."""
        return self._jobs.get(job)

    def remove(self, live: Live) -> None:
        """Let a job go."""
        with self.changed:
            self._jobs.pop(live.job, None)
            self.ring()

    def clear(self) -> None:
        """Let all of them go."""
        with self.changed:
            self._jobs.clear()
            self.measure()  # whoever leads now has other numbers
            self.ring()

    def jobs(self) -> list[Live]:
        """All of them, the oldest first."""
        with self.changed:
            return list(self._jobs.values())

    def ring(self) -> None:
        """Say that something has changed."""
        with self.changed:
            self._rung += 1
            self.changed.notify_all()

    def rung(self) -> int:
        """How often it was rung: to be given to :meth:`wait`, so that nothing is slept through."""
        return self._rung

    def wait(self, rung: int, timeout: float) -> None:
        """Wait until it is rung again."""
        with self.changed:
            self.changed.wait_for(lambda: self._rung != rung, timeout)

    # -- what happened to a job ----------------------------------------------------------------------------------------

    def added(self, live: Live, cuts: Iterable[Cut], state: State, reason: str | None = None) -> None:
        """Suites were spooled behind those there were, and the state set."""
        with self.changed:
            for cut in cuts:
                live.suites = max(live.suites, cut.suite + 1)
                live.tasks = max(live.tasks, cut.first + cut.count)
                live.waiting += cut.size
                live.largest = max(live.largest, cut.size)
            if live.state == "open":
                live.state, live.reason = state, reason
            self.purge = self.purge or state != "open"
            self.ring()

    def moved(self, row: Any) -> None:
        """The job's row was changed by somebody else."""
        with self.changed:
            self.purge = self.purge or row.state != "open"
            live = self._jobs.get(row.job)
            if live is None:
                return
            before = (live.suites, live.state)
            live.suites, live.tasks = max(live.suites, row.suites), max(live.tasks, row.tasks)
            if _ORDER[row.state] > _ORDER[live.state]:  # a row may have been read before the last change
                live.state, live.reason = row.state, row.reason
                live.closed = live.closed and row.closed
            again, live.again = live.again, max(live.again, row.anew)
            if (live.suites, live.state) != before or live.again != again:
                self.ring()

    def heard(self, job: str) -> None:
        """Something was asked for again, or of others."""
        with self.changed:
            if (live := self._jobs.get(job)) is not None:
                live.heard += 1

    def retire(self, job: str, worker: str) -> None:
        """What a worker says is of no use to a job any more."""
        with self.changed:
            if (live := self._jobs.get(job)) is not None:
                live.retired.add(worker)

    def settled(self, job: str, suites: Iterable[int]) -> None:
        """Suites that were in the spool are settled and gone."""
        with self.changed:
            live = self._jobs.get(job)
            if live is None:
                return
            now, took, spans = self._clock.monotonic(), [], tracing.spans
            for suite in suites:
                published = live.unsettled.pop(suite, None)
                if published is not None:
                    exemplar = None if spans is None else spans.settled(job, suite, live.opened, now - published)
                    if exemplar is None:
                        took.append(now - published)
                    else:
                        metrics.TURNAROUND_SECONDS.observe(now - published, exemplar)
                elif live.early is not None:
                    live.early.add(suite)
            observe_all(metrics.TURNAROUND_SECONDS, took)
            self.ring()

    def measure(self) -> None:
        """Bring the gauges up to date."""
        with self.changed:
            jobs = [live for live in self._jobs.values() if not live.over]
            metrics.JOBS_OPEN.labels("producer").set(len(jobs))
            metrics.SUITES_IN_FLIGHT.set(sum(len(live.unsettled) for live in jobs))
            metrics.SUITES_SPOOLED.set(sum(live.ahead for live in jobs))
            self._measure_ages(jobs)

    def _measure_ages(self, jobs: Iterable[Live]) -> None:
        now = self._clock.monotonic()
        oldest = dict.fromkeys(self._judges, now)
        for live in jobs:
            first = next(iter(live.unsettled.values()), now)
            for judge in live.spec.judge_names:
                oldest[judge] = min(oldest.get(judge, now), first)
        self._judges.update(oldest)
        for judge, since in oldest.items():
            metrics.OLDEST_SUITE.labels(judge).set(now - since)

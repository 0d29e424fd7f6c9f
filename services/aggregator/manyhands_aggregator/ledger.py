"""The conservation law, from the store: every task of a job in one account, and the counters as the rows have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from manyhands.errors import UnknownJob
from manyhands.spec import received
from manyhands_aggregator import judging, rewards, tables
from manyhands_aggregator.course import Course
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import unpack_answers
from manyhands_service.store import Store

_jobs, _suites, _early = tables.jobs, tables.suites, tables.early

#: Suites looked at in one go.
PAGE = 500
#: Suites that are counted in one look, about; and what a job costs beside its suites, in suites.
MOST, JOB = 50_000, 100
#: Names of ended jobs that are kept; if more end than are looked at, all that have ended are gone through again.
NAMES = 10_000
#: Counters of a job that the rows must bear out.
_COUNTERS = ("tasks", "answered", "failed", "cancelled")


def audit(store: Store, job: str) -> dict[str, Any]:
    """Counts every task from the rows themselves, not from the counters, and says whether the two agree.

    All of it is of one moment. Of an open job there is also how many of its open tasks were ``judged`` by somebody, how
    many ``slots`` each suite has, how many suites are ``unsettled`` and how many of their slots have said all
    (``whole``), and how many messages are ``held`` for want of news; ``asked``
    are slots of later stages that have not said all they were asked.

    Raises:
        UnknownJob: the aggregator has not heard of it.
    """
    return store.read(lambda c: _audit(c, job))


def _audit(connection: sa.Connection, job: str) -> dict[str, Any]:
    row = connection.execute(sa.select(_jobs).where(_jobs.c.job == job)).one_or_none()
    if row is None:
        raise UnknownJob(f"{job!r}; `manyhands status` lists the jobs")
    counted: Counter[str] = Counter()
    expected, gaps, last = 0, 0, -1
    while True:
        query = sa.select(*(_suites.c[name] for name in ("suite", "first", "count", "sent", "answers", "course")))
        query = query.where(_suites.c.job == job, _suites.c.suite > last).order_by(_suites.c.suite).limit(PAGE)
        page = connection.execute(query).all()
        unsettled: dict[int, int] = {}
        courses: dict[int, Course] = {}
        for suite, first, count, sent, packed, course in page:
            gaps += first != expected
            expected, last = first + count, suite
            counted["suites"] += 1
            if packed is None:
                counted["unsettled"] += count
                counted["waiting"] += 1
                unsettled[suite] = sent
                courses[suite] = Course.unpack(course)
                continue
            decision = unpack_answers(packed)
            counted["failed"] += len(decision.errors)
            counted["answered"] += len(decision.values) - len(decision.errors)
        if row.state == "open":
            counted.update(_judged(connection, job, unsettled, courses))
        if len(page) < PAGE:
            break
    account = {"job": job, "state": row.state, **balance(row, counted, gaps), **_under_way(connection, row, counted)}
    if row.spec and (paid := rewards.audit(connection, job, Plan.of(received(row.spec)))):
        account["rewards"] = paid
        account["conserved"] = account["conserved"] and paid["owed"] == 0
    return account


def _judged(
    connection: sa.Connection, job: str, sent: Mapping[int, int], courses: Mapping[int, Course]
) -> dict[str, int]:
    """Of suites that are not settled: tasks of which somebody has said something, and slots that have said all.

    Slots that were ``asked`` something beyond the first stage, and have not said all of it, are counted by themselves.
    """
    tasks: dict[int, set[int]] = {}
    slots: dict[tuple[Any, ...], set[int]] = {}
    for message in judging.said_of(connection, job, list(sent)):
        tasks.setdefault(message.suite, set()).update(message.positions)
        slot = message.suite, message.stage, message.judge, message.slot
        slots.setdefault(slot, set()).update(message.positions)
    later = {(suite, *slot): positions for suite, course in courses.items() for slot, positions in course.asked.items()}
    whole = sum(len(positions) >= sent[slot[0]] for slot, positions in slots.items() if slot not in later)
    asked = sum(not positions <= slots.get(slot, set()) for slot, positions in later.items())
    return {"judged": sum(map(len, tasks.values())), "whole": whole, "asked": asked}


def _under_way(connection: sa.Connection, row: sa.Row[Any], counted: Mapping[str, int]) -> dict[str, int]:
    slots = len(Plan.of(received(row.spec)).slots) if row.spec else 0
    held = connection.scalar(sa.select(sa.func.count()).where(_early.c.job == row.job))
    return {
        "judged": counted["judged"], "slots": slots, "unsettled": counted["waiting"], "whole": counted["whole"],
        "asked": counted["asked"], "held": int(held or 0),
    }  # fmt: skip


def balance(row: Any, counted: Mapping[str, int], gaps: int = 0) -> dict[str, Any]:
    """The account of a job: its row, and what was counted in its suites."""
    announced = counted["answered"] + counted["failed"] + counted["unsettled"]
    ended = row.state != "open"
    overdue = counted["unsettled"] if row.state in ("partial", "complete") else 0
    cancelled = row.tasks - counted["answered"] - counted["failed"] if row.state == "cancelled" else 0
    failed = counted["failed"] + overdue
    open_tasks = 0 if ended else counted["unsettled"]
    difference = row.tasks - counted["answered"] - failed - cancelled - open_tasks
    # suites may be announced in any order, also after a cancellation or the deadline: until all are, a gap is no fault
    whole = row.sealed_tasks is not None and announced >= row.sealed_tasks
    agrees = (row.answered, row.failed, row.cancelled) == (counted["answered"], failed, cancelled)
    return {
        "tasks": row.tasks, "sealed": row.sealed_tasks is not None, "suites": counted["suites"], "announced": announced,
        "answered": counted["answered"], "failed": failed, "cancelled": cancelled, "open": open_tasks,
        "difference": difference, "conserved": difference == 0 and agrees and (gaps == 0 or not whole),
    }  # fmt: skip


class Ledger:
    """Watches the law: the counters of all jobs at each look, and the rows of some jobs, in turn.

    Those that are open are looked at again and again; one that has ended when it is told of, by its end or because a
    replay has moved it, and once after the start, until its books are right. So memory holds few names at any time.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._over: set[str] = set()  # to be looked at, although they have ended
        self._off: dict[str, int] = {}  # by how much, of those whose books are not right
        self._known: str | None = ""  # up to this one, the jobs that had ended before were taken up; None: all were
        self._last = ""

    def tell(self, over: Iterable[str]) -> None:
        """Tell of jobs that have ended, or have moved since they had."""
        self._over.update(over)
        if len(self._over) > NAMES:
            self._over.clear()
            self._known = ""

    def look(self) -> int:
        """Tasks that are in no account, or in two, as far as is known by now; must be 0.

        Raises:
            StoreUnavailable: it is asked again the next time.
        """
        return self._store.read(self._look)

    def _look(self, connection: sa.Connection) -> int:
        cost = 0
        for row in self._due(connection):
            counted = _sums(connection, row.job)
            self._last = row.job
            self._over.discard(row.job)
            self._off[row.job] = _off(row, counted)
            if not self._off[row.job]:
                del self._off[row.job]
            cost += JOB + counted["suites"]
            if cost > MOST:
                break
        return max(_counters_off(connection), sum(self._off.values()))

    def _due(self, connection: sa.Connection) -> list[sa.Row[Any]]:
        """The jobs to look at, in turn."""
        if self._known is not None and len(self._over) < PAGE:
            earlier = sa.select(_jobs.c.job).where(_jobs.c.state != "open", _jobs.c.job > self._known)
            names = connection.scalars(earlier.order_by(_jobs.c.job).limit(PAGE)).all()
            self._over.update(names)
            self._known = names[-1] if names else None
        told = sorted(self._over | self._off.keys(), key=self._turn)[:PAGE]
        columns = [_jobs.c[name] for name in ("job", "state", "sealed_tasks", *_COUNTERS)]
        query = sa.select(*columns).where(sa.or_(_jobs.c.state == "open", _jobs.c.job.in_(told)))
        return sorted(connection.execute(query), key=lambda row: self._turn(row.job))

    def _turn(self, job: str) -> tuple[bool, str]:
        return job <= self._last, job


def _sums(connection: sa.Connection, job: str) -> dict[str, int]:
    settled = _suites.c.answers.is_not(None)

    def total(column: Any, where: Any) -> Any:
        return sa.func.coalesce(sa.func.sum(sa.case((where, column), else_=0)), 0)

    said = connection.execute(
        sa.select(
            total(_suites.c.answered, settled).label("answered"),
            total(_suites.c.failed, settled).label("failed"),
            total(_suites.c.count, ~settled).label("unsettled"),
            sa.func.count().label("suites"),
        ).where(_suites.c.job == job)
    ).one()
    return {name: int(number) for name, number in said._mapping.items()}


def _off(row: Any, counted: Mapping[str, int]) -> int:
    said = balance(row, counted)
    apart: int = sum(abs(getattr(row, name) - said[name]) for name in ("answered", "failed", "cancelled"))
    difference: int = abs(said["difference"])
    return max(difference, apart)


def _counters_off(connection: sa.Connection) -> int:
    """The same by the counters alone: nothing is open when a job has ended, and nothing is settled that is no task."""
    left = _jobs.c.tasks - _jobs.c.answered - _jobs.c.failed - _jobs.c.cancelled
    wrong = sa.or_(left < 0, sa.and_(_jobs.c.state != "open", left != 0))
    return int(connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(sa.func.abs(left)), 0)).where(wrong)) or 0)

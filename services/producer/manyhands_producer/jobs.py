"""Jobs in the store: their states, their counts, and how far they are published."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from manyhands.errors import UnknownJob
from manyhands.spec import JobSpec
from manyhands_producer import suites, tables
from manyhands_producer.errors import Moved
from manyhands_producer.record import Added, Progress, State

_jobs, _spool = tables.jobs, tables.spool

# What every suite asks is built once: building a statement costs more than running it.
_THIS = _jobs.c.number == sa.bindparam("b_number")
_NUMBERS = sa.select(_jobs.c.job, _jobs.c.number).where(_jobs.c.job.in_(sa.bindparam("jobs", expanding=True)))
_ADD = (
    sa.update(_jobs)
    .where(_THIS, _jobs.c.suites == sa.bindparam("b_suites"), _jobs.c.state == "open")
    .values(
        tasks=_jobs.c.tasks + sa.bindparam("more_tasks"),
        refused=_jobs.c.refused + sa.bindparam("more_refused"),
        suites=_jobs.c.suites + sa.bindparam("more_suites"),
        state=sa.bindparam("b_state"),
        reason=sa.bindparam("b_reason"),
        cursor=sa.func.coalesce(sa.bindparam("b_cursor", type_=sa.Text), _jobs.c.cursor),
    )
)
_ADVANCE = (
    sa.update(_jobs)
    .where(_THIS, _jobs.c.anew == sa.bindparam("b_anew"))
    .values(published=sa.bindparam("b_published"), announced=sa.bindparam("b_announced"))
)
_SETTLE = sa.update(_jobs).where(_THIS).values(settled=_jobs.c.settled + sa.bindparam("more"))


def find(connection: sa.Connection, job: str) -> sa.Row[Any] | None:
    """The row of a job, or None."""
    return connection.execute(sa.select(_jobs).where(_jobs.c.job == job)).one_or_none()


def one(connection: sa.Connection, job: str) -> sa.Row[Any]:
    """The row of a job.

    Raises:
        UnknownJob: there is none of this name.
    """
    row = find(connection, job)
    if row is None:
        raise UnknownJob(job)
    return row


def everyone(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    """The rows of all jobs, the newest first."""
    return connection.execute(sa.select(_jobs).order_by(_jobs.c.number.desc())).all()


def live(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    """The rows of jobs that have something left to be said or done."""
    left = sa.or_(_jobs.c.state.in_(("open", "sealed")), _jobs.c.closed.is_(sa.false()))
    return connection.execute(sa.select(_jobs).where(left).order_by(_jobs.c.number)).all()


def numbers(connection: sa.Connection, names: Sequence[str]) -> dict[str, int]:
    """The numbers of those of the jobs that there are."""
    return dict(connection.execute(_NUMBERS, {"jobs": names}).all())


def insert(connection: sa.Connection, job: str, spec: JobSpec, opened: float) -> int:
    """A new job, without suites; returns its number."""
    values = {
        "job": job, "spec": json.dumps(spec.plain()), "digest": spec.digest, "state": "open", "opened": opened,
        "tasks": 0, "refused": 0, "suites": 0, "published": 0, "settled": 0,
        "announced": False, "closed": False, "secret": secrets.token_bytes(32),
    }  # fmt: skip
    key = connection.execute(sa.insert(_jobs).values(values)).inserted_primary_key
    return int(key[0]) if key else 0


def add(connection: sa.Connection, number: int, suites: int, added: Added) -> None:
    """Count what is added, and note the source's cursor and the job's state.

    Raises:
        Moved: the job is not open, or has not the number of ``suites`` that these follow.
    """
    changes = {
        "b_number": number, "b_suites": suites, "more_suites": len(added.cuts), "more_tasks": added.tasks,
        "more_refused": sum(c.refused for c in added.cuts), "b_state": added.state, "b_reason": added.reason,
        "b_cursor": _cursor(added),
    }  # fmt: skip
    if connection.execute(_ADD, changes).rowcount != 1:
        raise Moved


def stands_at(connection: sa.Connection, number: int, added: Added) -> bool:
    """Whether this is what was added to a job last."""
    cursor = connection.scalar(sa.select(_jobs.c.cursor).where(_jobs.c.number == number))
    return cursor is not None and cursor == _cursor(added)


def _cursor(added: Added) -> str | None:
    return None if added.cursor is None else json.dumps(added.cursor)


def end(connection: sa.Connection, job: str, state: State, reason: str | None) -> None:
    """Seal or cancel a job; one that is no longer open stays sealed or cancelled as it is."""
    before = ("open",) if state == "sealed" else ("open", "sealed")
    connection.execute(
        sa.update(_jobs)
        .where(_jobs.c.job == job, _jobs.c.state.in_(before))
        # what was said of a sealed job is not what there is to say of a cancelled one
        .values(state=state, reason=reason, closed=False)
    )


def difference(connection: sa.Connection) -> int:
    """Suites of jobs that have not ended that are neither settled nor in the spool, or both.

    Of one that has ended, the news of the last suites may be missing and the spool be gone.
    """
    spooled = sa.select(sa.func.count()).where(tables.spool.c.job == _jobs.c.number).scalar_subquery()
    off = sa.func.abs(_jobs.c.suites - _jobs.c.settled - spooled)
    query = sa.select(sa.func.coalesce(sa.func.sum(off), 0)).where(_jobs.c.state.in_(("open", "sealed")))
    return int(connection.scalar(query) or 0)


def advance(connection: sa.Connection, progress: Progress) -> None:
    """Note how far a job is confirmed; drop its spool if it was cancelled or ended and is closed."""
    which = {"b_number": progress.number, "b_anew": progress.anew}
    connection.execute(_ADVANCE, {**which, "b_published": progress.published, "b_announced": progress.announced})
    if progress.closed is None:
        return
    meant = (_jobs.c.number == progress.number) & (_jobs.c.anew == progress.anew)
    # a job that was cancelled while it said that it is sealed has not said the last word yet
    told = ("sealed", "ended") if progress.closed == "sealed" else (progress.closed,)
    mine = meant & _jobs.c.state.in_(told)
    connection.execute(sa.update(_jobs).where(mine).values(closed=True))
    _let_go(connection, mine & (_jobs.c.state != "sealed"))


def republish(connection: sa.Connection, job: str) -> bool:
    """Take everything said of a job for unsaid, unless its end was heard of; whether anything is to be said again."""
    changed = connection.execute(
        sa.update(_jobs)
        .where(_jobs.c.job == job, _jobs.c.outcome.is_(None))
        .values(published=0, announced=False, closed=False, anew=_jobs.c.anew + 1)
    )
    return changed.rowcount == 1


def settle(connection: sa.Connection, number: int, settled: Sequence[int]) -> tuple[int, ...]:
    """Drop settled suites and count them; returns which were still in the spool."""
    found = suites.drop(connection, number, settled)
    if found:
        connection.execute(_SETTLE, {"b_number": number, "more": len(found)})
    return found


def complete(connection: sa.Connection, number: int, data: Mapping[str, Any]) -> None:
    """Note the end of a job, as the aggregator tells it; what was told before it was complete may come late."""
    mine = _jobs.c.number == number
    said = connection.scalar(sa.select(_jobs.c.outcome).where(mine).with_for_update())
    if said is not None and json.loads(said).get("state") == "complete":
        data = json.loads(said)
    connection.execute(sa.update(_jobs).where(mine).values(outcome=json.dumps(dict(data), default=str)))
    connection.execute(sa.update(_jobs).where(mine, _jobs.c.state.in_(("open", "sealed"))).values(state="ended"))
    # of a job that ended early, what is not announced yet stays until it is
    _let_go(connection, mine & _jobs.c.closed)


def _let_go(connection: sa.Connection, over: sa.ColumnElement[bool]) -> None:
    """Drop the spool of jobs that are over. With a job that has ended, what was left of it is settled, whatever news
    of that may still be on its way.
    """
    left = sa.select(sa.func.count()).where(_spool.c.job == _jobs.c.number).scalar_subquery()
    ended = sa.update(_jobs).where(over, _jobs.c.state == "ended")
    connection.execute(ended.values(settled=_jobs.c.settled + left))
    suites.drop_all(connection, sa.select(_jobs.c.number).where(over))

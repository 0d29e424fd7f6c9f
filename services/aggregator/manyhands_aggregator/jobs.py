"""Jobs in the store: news from the producer, progress, and their end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from manyhands.errors import SpecError
from manyhands.messages import JOB_CANCELLED, JOB_COMPLETED, JOB_OPENED, JOB_SEALED, SUITES_OPENED, Event, Failure
from manyhands.spec import JobSpec, parse
from manyhands_aggregator import tables
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import About

_jobs, _suites = tables.jobs, tables.suites

#: Plans of open jobs that are kept in memory, at most; others are read again from the store.
PLANS = 500


class Plans:
    """The plans of jobs, read once from the store."""

    def __init__(self) -> None:
        self._plans: dict[str, Plan] = {}

    def get(self, connection: sa.Connection, job: str) -> Plan | None:
        """The plan of a job, or None while its job file has not come."""
        plan = self._plans.get(job)
        if plan is None:
            spec = connection.scalar(sa.select(_jobs.c.spec).where(_jobs.c.job == job))
            if spec is None:
                return None
            plan = Plan.of(JobSpec.model_validate_json(spec))
            if len(self._plans) >= PLANS:
                del self._plans[next(iter(self._plans))]
            self._plans[job] = plan
        return plan


def apply(connection: sa.Connection, event: Event, now: float) -> list[int]:
    """Take in an event of the producer; returns the suites it opened.

    Every event is an upsert of what it says, so they may come in any order and twice.

    Raises:
        ValueError: the event's data are not what its name promises.
    """
    try:
        return _APPLY[event.name](connection, event, now)
    except KeyError as error:
        raise ValueError(
            f"{event.name} lacks {error.args[0]!r}" if event.name in _APPLY else "unknown event"
        ) from error
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{event.name}: {error}") from error


def _row(connection: sa.Connection, job: str) -> sa.Row[Any]:
    tables.insert_new(connection, _jobs, [{"job": job}])
    return connection.execute(sa.select(_jobs).where(_jobs.c.job == job).with_for_update()).one()


def _update(connection: sa.Connection, job: str, **values: Any) -> None:
    connection.execute(sa.update(_jobs).where(_jobs.c.job == job).values(**values))


def _opened(connection: sa.Connection, event: Event, now: float) -> list[int]:
    try:
        spec = parse(dict(event.data["spec"]), file=event.job)
    except SpecError as error:
        raise ValueError(str(error)) from error
    row = _row(connection, event.job)
    if row.spec is None:
        _update(connection, event.job, spec=json.dumps(spec.plain()), opened=float(event.data.get("opened", now)))
    return []


def _suites_opened(connection: sa.Connection, event: Event, _now: float) -> list[int]:
    data = event.data
    columns = [data[key] for key in ("suites", "firsts", "counts", "ids", "truths", "refused")]
    if len({len(column) for column in columns}) != 1:
        raise ValueError("suites.opened: its columns differ in length")
    row = _row(connection, event.job)
    numbers = [int(n) for n in data["suites"]]
    known = set(
        connection.scalars(sa.select(_suites.c.suite).where(_suites.c.job == event.job, _suites.c.suite.in_(numbers)))
    )
    rows = []
    for suite, first, count, ids, truths, refused in zip(*columns, strict=True):
        if suite not in known:
            failures = {p: Failure(code=f["code"], message=f["message"]) for p, f in (refused or {}).items()}
            about = About(ids=ids, truths=truths, refused=failures)
            rows.append({"job": event.job, "suite": suite, "first": first, "count": count, "about": about.pack()})
    if rows:
        tables.insert_new(connection, _suites, rows)
        tasks = sum(r["count"] for r in rows)
        changes: dict[str, Any] = {"tasks": _jobs.c.tasks + tasks}
        if row.state == "cancelled":  # its total was told with the cancellation
            changes = {}
        elif row.state != "open":  # ended by its deadline while these were on their way
            changes["failed"] = _jobs.c.failed + tasks
        if changes:
            _update(connection, event.job, **changes)
    return numbers


def _sealed(connection: sa.Connection, event: Event, _now: float) -> list[int]:
    _row(connection, event.job)
    _update(connection, event.job, sealed_tasks=int(event.data["tasks"]))
    return []


def _cancelled(connection: sa.Connection, event: Event, now: float) -> list[int]:
    row = _row(connection, event.job)
    if row.state == "open":
        tasks = max(int(event.data["tasks"]), row.tasks)
        _update(
            connection, event.job, state="cancelled", ended=now, reason=str(event.data.get("reason", "")), tasks=tasks,
            sealed_tasks=tasks, cancelled=tasks - row.answered - row.failed,
        )  # fmt: skip
    return []


_APPLY = {JOB_OPENED: _opened, SUITES_OPENED: _suites_opened, JOB_SEALED: _sealed, JOB_CANCELLED: _cancelled}


def add(connection: sa.Connection, job: str, deltas: Mapping[str, int]) -> None:
    """Add to a job's counters."""
    changes = {name: _jobs.c[name] + delta for name, delta in deltas.items() if delta}
    if changes:
        connection.execute(sa.update(_jobs).where(_jobs.c.job == job).values(**changes))


def end_if_done(connection: sa.Connection, names: Iterable[str], now: float) -> list[Event]:
    """End those of the jobs that are done, and say of each that has ended, now or before, that it has.

    A job is done when it is sealed, all its suites are announced and every task has an answer or has failed. One that
    ended partial becomes complete when its last failed task was replayed and answered.
    """
    jobs = sorted(set(names))
    if not jobs:
        return []
    done = (_jobs.c.sealed_tasks == _jobs.c.tasks) & (_jobs.c.answered + _jobs.c.failed == _jobs.c.tasks)
    for state, which in (
        ("complete", _jobs.c.state.in_(("open", "partial")) & (_jobs.c.failed == 0)),
        ("partial", (_jobs.c.state == "open") & (_jobs.c.failed > 0)),
    ):
        connection.execute(
            sa.update(_jobs)
            .where(_jobs.c.job.in_(jobs), _jobs.c.spec.is_not(None), done, which)
            .values(state=state, ended=sa.func.coalesce(_jobs.c.ended, now))
        )
    rows = connection.execute(sa.select(_jobs).where(_jobs.c.job.in_(jobs), _jobs.c.state != "open"))
    return [completed(row) for row in rows]


def completed(row: sa.Row[Any]) -> Event:
    """The event that says that a job has ended."""
    keys = ("state", "tasks", "answered", "failed", "cancelled")
    return Event(name=JOB_COMPLETED, job=row.job, data={key: getattr(row, key) for key in keys})


def unannounced(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    """Ended jobs of whose end no confirmed event has told yet."""
    return connection.execute(
        sa.select(_jobs).where(_jobs.c.state != "open", _jobs.c.announced.is_(sa.false())).limit(100)
    ).all()


def announced(connection: sa.Connection, names: Sequence[str]) -> None:
    """Note that the producer was told."""
    connection.execute(sa.update(_jobs).where(_jobs.c.job.in_(names)).values(announced=True))

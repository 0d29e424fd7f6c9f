"""What the store tells of a job: its progress, its judges, what became of one task."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from manyhands.errors import UnknownJob
from manyhands.spec import received
from manyhands_aggregator import judging, tables
from manyhands_aggregator.jobs import DUE
from manyhands_aggregator.plan import MILLION, Plan

_jobs, _suites, _judgments = tables.jobs, tables.suites, tables.judgments


def progress(connection: sa.Connection, job: str, now: float) -> dict[str, Any]:
    """How far a job is, and what was spent for it, if anything is.

    ``due`` is true while the answers of a job that has ended are still to be gone over as a whole.

    Raises:
        UnknownJob: the aggregator has not heard of it.
    """
    row = _job(connection, job)
    said = _progress(row, now)
    if row.spec:
        plan = Plan.of(received(row.spec))
        spent = plan.cost(row.sent, row.spent)
        if spent or plan.budget is not None:
            said["spent"] = spent / MILLION
    return said


def _progress(row: sa.Row[Any], now: float) -> dict[str, Any]:
    job = row.job
    name = json.loads(row.spec)["name"] if row.spec else job
    settled = row.answered + row.failed
    open_tasks = row.tasks - settled - row.cancelled
    seconds = max((row.ended or now) - (row.opened or now), 0.0)
    rate = settled / seconds if seconds else 0.0
    said: dict[str, Any] = {
        "job": job, "name": name, "state": row.state, "sealed": row.sealed_tasks is not None,
        "tasks": row.tasks, "answered": row.answered, "failed": row.failed, "cancelled": row.cancelled,
        "open": open_tasks, "judgments": row.judgments, "rate": round(rate, 2),
        "eta_seconds": _eta(row, open_tasks, rate), "opened": row.opened, "ended": row.ended,
        "seconds": round(seconds, 3), "conserved": open_tasks >= 0 and (row.state == "open" or open_tasks == 0),
    }  # fmt: skip
    if row.gold:
        said |= {"gold": row.gold, "accuracy": round(row.gold_right / row.gold, 6)}
    if row.reason:
        said["reason"] = row.reason
    if row.fit == DUE and row.state in ("complete", "partial"):
        said["due"] = True
    return said


def _eta(row: sa.Row[Any], open_tasks: int, rate: float) -> float | None:
    """Seconds left at the mean rate so far; unknown while the source is still being read or nothing is settled."""
    if row.state != "open":
        return 0.0
    return round(open_tasks / rate, 1) if row.sealed_tasks is not None and rate > 0 else None


def listing(connection: sa.Connection, now: float, limit: int = 200) -> list[dict[str, Any]]:
    """The progress of every job, the newest first."""
    newest = sa.select(_jobs).order_by(sa.func.coalesce(_jobs.c.opened, 0).desc(), _jobs.c.job).limit(limit)
    return [_progress(row, now) for row in connection.execute(newest)]


def provenance(connection: sa.Connection, job: str, position: int) -> list[dict[str, Any]]:
    """Every judgment of one task: who said what, when, with which version.

    Raises:
        UnknownJob: no such job, or it has no such position.
    """
    _job(connection, job)
    suite = connection.scalar(
        sa.select(_suites.c.suite)
        .where(_suites.c.job == job, _suites.c.first <= position, _suites.c.first + _suites.c.count > position)
        .order_by(_suites.c.first.desc())
        .limit(1)
    )
    if suite is None:
        raise UnknownJob(f"{job} has no position {position}")
    said = []
    for m in judging.said_of(connection, job, [suite]):
        if position in m.positions:
            at = list(m.positions).index(position)
            failure = m.errors.get(position)
            said.append(
                {
                    "stage": m.stage,
                    "judge": m.judge,
                    "slot": m.slot,
                    "worker": m.worker,
                    "version": m.version,
                    "attempt": m.attempt,
                    "value": m.values[at],
                    "started": m.started,
                    "finished": m.finished,
                    "confidence": m.confidences[at] if m.confidences else None,
                    "cost": m.costs[at] if m.costs else None,
                    "error": {"code": failure.code, "message": failure.message} if failure else None,
                }
            )
    return said


def judges(connection: sa.Connection, job: str) -> list[str]:
    """The judges of a job; none while its job file has not come.

    Raises:
        UnknownJob: the aggregator has not heard of it.
    """
    spec = _job(connection, job).spec
    return received(spec).judge_names if spec else []


def _job(connection: sa.Connection, job: str) -> sa.Row[Any]:
    row = connection.execute(sa.select(_jobs).where(_jobs.c.job == job)).one_or_none()
    if row is None:
        raise UnknownJob(f"{job!r}; `manyhands status` lists the jobs")
    return row

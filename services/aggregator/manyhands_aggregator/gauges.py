"""What the gauges say of the open jobs together, worked out from the store now and then."""

from __future__ import annotations

from itertools import product

import sqlalchemy as sa

from manyhands import metrics
from manyhands.spec import PEOPLE
from manyhands_aggregator import rewards, tables
from manyhands_aggregator.jobs import Plans

_jobs, _workers = tables.jobs, tables.workers

_OPEN = _jobs.c.state == "open"
_SETTLED = _jobs.c.answered + _jobs.c.failed + _jobs.c.cancelled
_WORK = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(_jobs.c.tasks - _SETTLED), 0)).where(_OPEN)
_BOOKS = sa.select(_jobs.c.job, _jobs.c.sent, _jobs.c.spent, _jobs.c.tasks, _jobs.c.sealed_tasks).where(
    _OPEN, _jobs.c.spec.like('%"budget"%') | _jobs.c.spec.like('%"per_job"%')
)
_OF_PEOPLE = _workers.c.worker.startswith(f"{PEOPLE}/")
_RATED = (
    sa.select(_OF_PEOPLE, _workers.c.action, sa.func.count())
    .join(_jobs, _jobs.c.job == _workers.c.job)
    .where(_OPEN, _workers.c.action.in_(metrics.ACTIONS))
    .group_by(_OF_PEOPLE, _workers.c.action)
)


def measure(connection: sa.Connection, plans: Plans) -> None:
    """Bring them up to date."""
    open_jobs, tasks = connection.execute(_WORK).one()
    metrics.JOBS_OPEN.labels("aggregator").set(open_jobs)
    metrics.OPEN_TASKS.set(int(tasks))
    metrics.BELOW_FLOOR.set(rewards.below_floor(connection))
    metrics.BUDGET_USED.set(budget_used(connection, plans))
    rated = {(bool(people), action): workers for people, action, workers in connection.execute(_RATED)}
    for people, action in product((True, False), metrics.ACTIONS):
        metrics.WORKERS_RATED.labels("people" if people else "machines", action).set(rated.get((people, action), 0))


def budget_used(connection: sa.Connection, plans: Plans) -> float:
    """The greatest share of its budget that an open job has used, of those that may still ask for something."""
    most = 0.0
    for job, sent, spent, tasks, sealed in connection.execute(_BOOKS):
        plan = plans.get(connection, job)
        if plan is not None and plan.budget and (plan.cascades or sealed is None or tasks < sealed):
            most = max(most, plan.cost(sent, spent) / plan.budget)
    return most

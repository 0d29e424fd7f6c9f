"""Jobs in the store: their accounts, which balance at every moment, and their plans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import sqlalchemy as sa

from manyhands.messages import JOB_COMPLETED, Event, Failure
from manyhands.spec import received
from manyhands_aggregator import ratings, tables
from manyhands_aggregator.budget import Purse, Traffic
from manyhands_aggregator.judged import Judged
from manyhands_aggregator.news import Announced, Cancelled, Opened, Sealed
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import Counts, unjudged, unpack_failures

_jobs, _suites = tables.jobs, tables.suites

#: Plans of jobs that are kept in memory, at most; others are read again from the store.
PLANS = 500
#: Why a job has less than it asked for: its budget did not allow more.
BUDGET = "budget"
#: Whether the answers of a job, whose method weighs voters, have been gone over as a whole.
DUE, DONE = "due", "done"


@dataclass(slots=True)
class Account:
    """A job's row, without its job file: tasks = answered + failed + cancelled + open, and open = 0 once it has ended.

    The methods are upserts of what they are told: they may come in any order, and twice.
    """

    job: str
    known: bool
    ended: float | None
    state: str
    reason: str | None
    announced: bool
    sealed_tasks: int | None
    tasks: int
    answered: int
    failed: int
    cancelled: int
    judgments: int
    gold: int
    gold_right: int
    sent: int
    spent: int
    fit: str | None
    traffic: str | None
    overdue_at: float | None
    _read: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self._read = self._settled()

    def _settled(self) -> dict[str, int]:
        return {"answered": self.answered, "failed": self.failed, "cancelled": self.cancelled}

    def settled(self) -> Counter[str]:
        """Tasks settled since it was read, by result; one that had failed and is answered now is an answer more."""
        return +Counter({result: tasks - self._read[result] for result, tasks in self._settled().items()})

    @property
    def over(self) -> bool:
        """Whether the job has ended."""
        return self.state != "open"

    def announce(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Suites that were not announced before."""
        if self.state == "cancelled":  # they are in the total that came with the cancellation
            return
        tasks = sum(row["count"] for row in rows)
        self.tasks += tasks
        # past the deadline, what was on its way then has failed like all the rest
        self.failed += tasks if self.over else sum(row["failed"] for row in rows)
        self.gold += sum(row["gold"] for row in rows)
        self.sent += sum(row["sent"] for row in rows)
        if not self.over and any(_unpaid(row["refused"]) for row in rows):
            self.reason = BUDGET

    def cancel(self, news: Cancelled, now: float) -> None:
        """Count what is open as cancelled."""
        if not self.over:
            self.state, self.ended, self.reason = "cancelled", now, news.reason
            self.tasks = self.sealed_tasks = max(news.tasks, self.tasks)
            self.cancelled = self.tasks - self.answered - self.failed

    def end_overdue(self, now: float, reason: str) -> None:
        """Count what is open as failed; if that is nothing, it is complete, as any repeat would make it."""
        if not self.over:
            self.state, self.ended, self.reason = "partial", now, reason
            self.failed = self.tasks - self.answered
            self.end_if_done(now)

    def add(self, judgments: int, counts: Counts) -> None:
        """Add to the counters."""
        self.judgments += judgments
        self.answered += counts.answered
        self.failed += counts.failed
        self.gold += counts.gold
        self.gold_right += counts.gold_right
        if self.fit == DONE and (judgments or any(counts)):
            self.fit = DUE

    def correct(self, counts: Counts) -> None:
        """Take in what other answers in the place of some have changed: how many of them are right."""
        self.gold_right += counts.gold_right

    def spend(self, judged: Judged, plan: Plan) -> None:
        """Add what was spent beyond the first stage's price, and say so where the budget did not allow all of it."""
        self.spent += judged.spent + judged.dearer
        if plan.counts_traffic and self.traffic is not None:
            self.traffic = Traffic.unpack(self.traffic).plus(judged.traffic).pack()
        if judged.short and not self.over:
            self.reason = BUDGET

    def purse(self, plan: Plan) -> Purse:
        """What may still be asked."""
        return _purse(plan, self.sent, self.spent, self.tasks, self.sealed_tasks, self.traffic)

    def stop_if_overspent(self, plan: Plan, now: float) -> None:
        """Have upkeep end it as by a deadline where judges have cost more than the budget, and more is to come.

        The producer sends as many tasks as the budget pays for at their price, until it hears that the job has ended.
        """
        if not self.over and plan.budget is not None and self.purse(plan).overspent():
            self.overdue_at = now if self.overdue_at is None else min(now, self.overdue_at)

    def overspent(self, plan: Plan, purse: Purse, judged: Judged) -> bool:
        """Whether too much is asked now, because others have spent what was in the ``purse`` meanwhile."""
        before, now = purse.left(), replace(self.purse(plan), out=purse.out).left()
        return before is not None and now is not None and judged.spent > 0 and now < min(before, _cost(purse, judged))

    def end_if_done(self, now: float) -> None:
        """End it when it is sealed, all its suites are announced and every task has an answer or has failed.

        One whose answers are to be gone over ends behind that; see :mod:`manyhands_aggregator.fitting`.
        One that ended partial becomes complete when its last failed task was replayed and answered.
        """
        if not self.known or self.sealed_tasks != self.tasks or self.answered + self.failed != self.tasks:
            return
        if self.state == "open" and self.fit == DUE:
            return
        if self.state == "open" or (self.state == "partial" and not self.failed):
            self.state = "partial" if self.failed else "complete"
            self.ended = now if self.ended is None else self.ended
            self.reason = self.reason if self.failed or self.reason == BUDGET else None

    def completed(self) -> Event:
        """The event that says that it has ended."""
        keys = ("state", "tasks", "answered", "failed", "cancelled")
        return Event(name=JOB_COMPLETED, job=self.job, data={key: getattr(self, key) for key in keys})


def _unpaid(refused: bytes | None) -> bool:
    """Whether there were tasks that the budget did not pay for."""
    return any(failure.code == BUDGET for failure in unpack_failures(refused).values())


_COLUMNS = tuple(f.name for f in fields(Account) if f.init and f.name not in ("job", "known"))
_ACCOUNT = sa.select(_jobs.c.job, _jobs.c.spec.is_not(None), *(_jobs.c[name] for name in _COLUMNS))
_LOCK = _ACCOUNT.where(_jobs.c.job.in_(sa.bindparam("jobs", expanding=True))).order_by(_jobs.c.job).with_for_update()
_STATES = sa.select(_jobs.c.job, _jobs.c.state).where(_jobs.c.job.in_(sa.bindparam("jobs", expanding=True)))
_SAVE = (
    sa.update(_jobs)
    .where(_jobs.c.job == sa.bindparam("b_job"))
    .values({name: sa.bindparam(f"b_{name}") for name in _COLUMNS})
)


class Plans:
    """The plans of jobs, read once from the store; a job file never changes."""

    def __init__(self) -> None:
        self._plans: dict[str, Plan] = {}

    def get(self, connection: sa.Connection, job: str) -> Plan | None:
        """The plan of a job, or None while its job file has not come."""
        plan = self._plans.get(job)
        if plan is None:
            spec = connection.scalar(sa.select(_jobs.c.spec).where(_jobs.c.job == job))
            if spec is None:
                return None
            plan = Plan.of(received(spec))
            if len(self._plans) >= PLANS:
                self._plans.pop(next(iter(self._plans)), None)
            self._plans[job] = plan
        return plan


_PURSE = sa.select(*(_jobs.c[name] for name in ("sent", "spent", "tasks", "sealed_tasks", "traffic"))).where(
    _jobs.c.job == sa.bindparam("job")
)


def purse(connection: sa.Connection, job: str, plan: Plan) -> Purse:
    """What a job may still be asked, unlocked: the account says whether it was so."""
    if not plan.counts_traffic:
        return Purse(plan)
    found = _purse(plan, *connection.execute(_PURSE, {"job": job}).one())
    return replace(found, out=out(connection, job, plan))


def out(connection: sa.Connection, job: str, plan: Plan) -> frozenset[str]:
    """The workers whose judgments do not count by now; nobody where the job has no rules for them."""
    return ratings.out(connection, job) if plan.spec.quality else frozenset()


def _purse(plan: Plan, sent: int, spent: int, tasks: int, total: int | None, traffic: str | None) -> Purse:
    """The purse of a job of which so many ``tasks`` were announced, so many of them ``sent``.

    Of a budget, the first stage of tasks that are still to come is kept back: of the ``total`` once that is known, and
    before of as many as the budget pays for, for nobody waits for what is kept back and the producer, which sends them,
    does not know what was spent.
    """
    affordable = plan.spec.affordable
    payable = None if affordable is None else max(affordable - sent, 0)
    known = 0 if total is None else max(total - tasks, 0)
    announced = known if payable is None else min(known, payable)
    to_come = (payable or 0) if total is None else announced
    more = total is None or tasks < total
    return Purse(plan, sent, to_come, announced, spent, Traffic.unpack(traffic), more, traffic is not None)


def deadline(connection: sa.Connection, job: str, plan: Plan) -> float | None:
    """When a job is to end at the latest, by its job file."""
    opened = connection.scalar(sa.select(_jobs.c.opened).where(_jobs.c.job == job))
    return None if opened is None or plan.spec.deadline is None else opened + plan.spec.deadline


def past_deadline(connection: sa.Connection, job: str, plan: Plan, now: float) -> bool:
    """Whether a job has a deadline, and it has passed."""
    until = deadline(connection, job, plan)
    return until is not None and until <= now


def ended_by(connection: sa.Connection, job: str) -> Failure:
    """What the tasks of a job that has ended have failed of that nobody had judged."""
    state, reason = connection.execute(sa.select(_jobs.c.state, _jobs.c.reason).where(_jobs.c.job == job)).one()
    return unjudged(state, reason)


def _cost(purse: Purse, judged: Judged) -> int:
    """What these judgments take from a purse: what is newly asked, and what came dearer than it was reckoned."""
    return (purse.left() or 0) - (judged.left(purse).left() or 0)


def states(connection: sa.Connection, names: Iterable[str]) -> dict[str, str]:
    """The states of those of the jobs that are known, unlocked: see :func:`lock`."""
    return dict(connection.execute(_STATES, {"jobs": list(names)}).all())


def lock(connection: sa.Connection, names: Iterable[str], *, create: bool = False) -> dict[str, Account]:
    """The accounts of jobs, locked until the transaction ends; with ``create`` also of those never heard of."""
    wanted = sorted(set(names))
    if not wanted:
        return {}
    if create:
        tables.insert_new(connection, _jobs, [{"job": job} for job in wanted])
    return {row[0]: Account(*row) for row in connection.execute(_LOCK, {"jobs": wanted})}


def save(connection: sa.Connection, accounts: Iterable[Account]) -> None:
    """Write back accounts that are locked."""
    rows = [{f"b_{name}": getattr(account, name) for name in ("job", *_COLUMNS)} for account in accounts]
    if rows:
        connection.execute(_SAVE, rows)


def note(
    connection: sa.Connection, news: Opened | Announced | Sealed | Cancelled, account: Account, now: float
) -> list[int]:
    """Take in news of a job whose account is locked; says which of the suites that it announces are settled.

    Some were settled before, when it is a repeat; others are so at once, when all their tasks were refused.
    """
    match news:
        case Opened() if not account.known:
            values = {"spec": news.spec, "opened": news.opened}
            connection.execute(sa.update(_jobs).where(_jobs.c.job == news.job).values(values))
            account.overdue_at, account.traffic = news.overdue_at, Traffic().pack()
            account.known, account.fit = True, DUE if news.fits else None
        case Announced():
            known = _announced(connection, news)
            rows = [row for row in news.rows if row["suite"] not in known]
            if account.state == "cancelled":
                rows = [{**row, "answers": None, "failed": 0, "gold": 0} for row in rows]
            if rows:
                connection.execute(_ANNOUNCE, rows)
            account.announce(rows)
            account.sealed_tasks = news.total if account.sealed_tasks is None else account.sealed_tasks
            known |= {row["suite"]: row["answers"] is not None for row in rows}
            return sorted(suite for suite, settled in known.items() if settled)
        case Sealed():
            account.sealed_tasks = news.tasks if account.sealed_tasks is None else account.sealed_tasks
        case Cancelled():
            account.cancel(news, now)
    return []


def _announced(connection: sa.Connection, news: Announced) -> dict[int, bool]:
    """Those of the suites that were announced before, and whether they are settled."""
    found: dict[int, bool] = {}
    for some in (news.rows[i : i + IN] for i in range(0, len(news.rows), IN)):
        asked = {"job": news.job, "suites": [row["suite"] for row in some]}
        found |= dict(connection.execute(_ANNOUNCED, asked).all())
    return found


_ANNOUNCE = sa.insert(_suites)
_ANNOUNCED = sa.select(_suites.c.suite, _suites.c.answers.is_not(None)).where(
    _suites.c.job == sa.bindparam("job"), _suites.c.suite.in_(sa.bindparam("suites", expanding=True))
)
#: Values in one ``IN (...)``: stores have limits on parameters.
IN = 1000


def unannounced(connection: sa.Connection) -> list[Account]:
    """Ended jobs of whose end no confirmed event has told yet."""
    query = _ACCOUNT.where(_jobs.c.announced.is_(sa.false()), _jobs.c.state != "open").order_by(_jobs.c.job).limit(100)
    return [Account(*row) for row in connection.execute(query)]


def announced(connection: sa.Connection, names: Sequence[str]) -> None:
    """Note that the producer was told."""
    for job in sorted(names):
        connection.execute(sa.update(_jobs).where(_jobs.c.job == job).values(announced=True))

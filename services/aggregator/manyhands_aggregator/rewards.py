"""The ledger of what people have earned, in the store: written with the judgments and answers that it follows from.

Entries of a job are made under the lock of its account, so replicas make them one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgpack
import sqlalchemy as sa

from manyhands.errors import UnknownJob
from manyhands.messages import Judgments
from manyhands.spec import PEOPLE, received
from manyhands_aggregator import fairness, incentives, jobs, judging, shares, tables, values
from manyhands_aggregator.incentives import Entry, Key, Ledger, Paid, Rules, Sum, Work, works
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import unpack_answers
from manyhands_service.store import Store

_ledger, _suites, _jobs = tables.ledger, tables.suites, tables.jobs

#: Suites looked at in one go.
PAGE = 100

_KEYS = [_ledger.c[name] for name in Key._fields]
_ALL = [sa.func.sum(_ledger.c[name]) for name in Sum._fields]
_SUMS = sa.select(*_KEYS, sa.func.count(), *_ALL).group_by(*_KEYS)
_BALANCES = sa.select(_ledger.c.worker, *_ALL).group_by(_ledger.c.worker)
#: Jobs in which somebody has earned something.
_PAYING = sa.select(_ledger.c.job).distinct()


def reckon(connection: sa.Connection, job: str, plan: Plan, suites: Iterable[int], now: float) -> list[Entry]:
    """Write what these suites lead to now, beside what the ledger has; the job's account must be locked."""
    if plan.spec.rewards is None:
        return []
    numbers = sorted(set(suites))
    done = [work for _, some in _works(connection, job, plan, numbers) for work in some]
    if not done:
        return []
    workers = sorted({work.worker for work in done})
    about = _ledger.c.job == job, _ledger.c.worker.in_(workers)
    paid = _paid(connection, *about, _ledger.c.suite.in_([*numbers, incentives.WHOLE]))
    ledger = Ledger.of(paid, {(job, who): one.amount for who, one in _people(connection, *about).items()})
    entries = ledger.settle(Rules.of(plan.spec.rewards), done)
    if entries:
        connection.execute(sa.insert(_ledger), [_row(entry, now) for entry in entries])
    return entries


def _paid(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> dict[Key, Paid]:
    rows = connection.execute(_SUMS.where(*where))
    return {Key(*row[:7]): Paid(int(row[7]), Sum(*map(int, row[8:]))) for row in rows}


def _people(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> dict[str, Sum]:
    return {worker: Sum(*map(int, said)) for worker, *said in connection.execute(_BALANCES.where(*where))}


def _row(entry: Entry, now: float) -> dict[str, Any]:
    first, last = entry.positions or (None, None)
    return {
        **entry.key._asdict(), **entry.change._asdict(),
        "number": entry.number, "first": first, "last": last, "at": now,
    }  # fmt: skip


def _works(
    connection: sa.Connection, job: str, plan: Plan, numbers: Sequence[int]
) -> Iterable[tuple[int, Sequence[Work]]]:
    """What people have judged of these suites, and what became of it."""
    said: dict[int, list[Judgments]] = {}
    for message in judging.said_of(connection, job, numbers):
        if message.judge == PEOPLE:
            said.setdefault(message.suite, []).append(message)
    query = sa.select(_suites.c.suite, _suites.c.first, _suites.c.truths, _suites.c.answers)
    for suite, first, truths, answers in connection.execute(
        query.where(_suites.c.job == job, _suites.c.suite.in_(list(said)))
    ):
        known: dict[int, Any] = {}
        if truths is not None:
            column = msgpack.unpackb(truths, strict_map_key=False)
            known = {first + i: truth for i, truth in enumerate(column) if truth is not None}
        accepted: dict[int, Any] = {}
        if answers is not None:
            decision = unpack_answers(answers)
            accepted = {first + i: v for i, v in enumerate(decision.values) if i not in decision.errors}
        yield suite, works(job, suite, said[suite], known, accepted, lambda value, truth: _same(plan, value, truth))


def _same(plan: Plan, value: Any, truth: Any) -> bool:
    return values.same(plan.spec, plan.check, value, truth)


def audit(connection: sa.Connection, job: str, plan: Plan) -> dict[str, int]:
    """What the ledger has of a job, and how far that is from what is due, reckoned afresh; in millionths.

    ``owed`` must be 0: the sum over all keys of how far they are apart, whichever way.
    """
    if plan.spec.rewards is None:
        return {}
    rules = Rules.of(plan.spec.rewards)
    fresh, after, more = Ledger(), -1, True
    while more:
        numbers = list(
            connection.scalars(
                sa.select(_suites.c.suite)
                .where(_suites.c.job == job, _suites.c.suite > after)
                .order_by(_suites.c.suite)
                .limit(PAGE)
            )
        )
        for _, some in _works(connection, job, plan, numbers):
            fresh.settle(rules, some)
        more = len(numbers) == PAGE
        after = numbers[-1] if numbers else after
    written = {key: paid.sum for key, paid in _paid(connection, _ledger.c.job == job).items()}
    due = fresh.sums()
    owed = sum(abs(due.get(key, Sum()).less(written.get(key, Sum())).amount) for key in {*due, *written})
    return {"earned": sum(one.amount for one in written.values()), "owed": owed}


def of_job(store: Store, job: str) -> dict[str, Any]:
    """What everybody has earned in a job, and what an hour comes to; amounts are decimal numbers as text.

    Raises:
        UnknownJob: the aggregator has not heard of it, or not of its plan.
    """
    return store.read(lambda c: _of_job(c, job))


def _of_job(connection: sa.Connection, job: str) -> dict[str, Any]:
    spec = connection.scalar(sa.select(tables.jobs.c.spec).where(tables.jobs.c.job == job))
    if spec is None:
        raise UnknownJob(f"{job!r}; `manyhands status` lists the jobs")
    plan = Plan.of(received(spec))
    if plan.spec.rewards is None:
        return {"job": job, "earned": "0", "people": []}
    rules, people = Rules.of(plan.spec.rewards), _people(connection, _ledger.c.job == job)
    given = shares.given(connection, job)
    purse = jobs.purse(connection, job, plan)
    asked = shares.asked(purse) if purse.counted else None
    low = fairness.underpaid(rules, people)
    total = sum(given.values()) if rules.share is None or asked is None else asked  # the rule is about what is asked
    rows = [
        {
            "worker": worker,
            "judgments": given.get(worker, 0),
            "share": round(given.get(worker, 0) / total, 6) if total else 0.0,
            "left": fairness.left(rules, asked, given.get(worker, 0), one.amount),
            "earned": _money(one.amount),
            "seconds": one.millis / 1000,
            "hourly": None if (wage := fairness.hourly(one.amount, one.millis / 1000)) is None else _money(wage),
            "below_floor": worker in low,
        }
        for worker, one in sorted(people.items())
    ]
    return {"job": job, "earned": _money(sum(one.amount for one in people.values())), "people": rows}


def earned(connection: sa.Connection, job: str) -> str:
    """What all people have earned in a job."""
    return _money(sum(one.amount for one in _people(connection, _ledger.c.job == job).values()))


def costs(by_price: float, rewards: str) -> dict[str, float]:
    """What a job that pays rewards has cost: its judgments by their price, what people earned, and the whole."""
    return {
        "by_price": round(by_price, 6),
        "rewards": float(rewards),
        "whole": round(by_price + float(rewards), 6),
    }


def below_floor(connection: sa.Connection) -> int:
    """How many people have come to earn less by the hour than the floor of a job that is open."""
    found = 0
    query = sa.select(_jobs.c.job, _jobs.c.spec).where(_jobs.c.state == "open", _jobs.c.job.in_(_PAYING))
    for job, spec in connection.execute(query):
        said = received(spec).rewards
        if said is not None and said.floor is not None:
            found += len(fairness.underpaid(Rules.of(said), _people(connection, _ledger.c.job == job)))
    return found


def _money(amount: int) -> str:
    return format(incentives.plain(amount).normalize(), "f")

"""Jobs of which everything is settled and whose method weighs voters: gone over as a whole before they end.

It may be killed at any moment and begun again: what it finds depends on the judgments alone, and it writes answers in
the place of answers, so that every account stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import add, sub
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from manyhands import logs
from manyhands.errors import BrokerError, StoreUnavailable
from manyhands.spec import received
from manyhands_aggregator import jobs, ratings, reputations, rewards, settled, tables
from manyhands_aggregator.jobs import DONE, DUE
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import Counts, SuiteState, pack_answers, unpack_answers
from manyhands_service.store import Store

if TYPE_CHECKING:
    from manyhands_aggregator.valued import Valued, Values
    from manyhands_aggregator.wholly import Found, Gathered

_log = logs.get(__name__)
_jobs, _suites = tables.jobs, tables.suites

#: Votes that are gone over together, at most: some hundred megabytes. A larger job is gone over in parts, of which each
#: knows its voters well; of one with more than ``FEW`` options the parts have fewer votes, for each takes more room.
VOTES, FEW = 2_000_000, 10
#: Jobs looked at in one go.
SOME = 100


def part(plan: Plan, votes: int) -> int:
    """How many votes of a job are gone over together, where of a job with few options it is so many."""
    return max(1, votes * FEW // max(FEW, len(plan.spec.answer.options or ())))


class Fitting:
    """Goes over what is due; each step may be repeated, and several replicas may do the same."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], float],
        *,
        votes: int = VOTES,
        rate: Callable[[str], Sequence[Mapping[str, Any]]] | None = None,
    ) -> None:
        self._store, self._now, self._votes, self._rate = store, now, votes, rate

    def round(self) -> None:
        """Go over the jobs that are due, and end those that are open.

        Raises:
            StoreUnavailable, BrokerError: what is not done is begun again.
        """
        for job, spec, judgments in self._store.read(lambda c: c.execute(_DUE).all()):
            shown = None
            try:
                shown = self._fit(job, Plan.of(received(spec)))
            except (StoreUnavailable, BrokerError):
                raise
            except Exception:  # noqa: BLE001  every job ends; its answers stand as they were accepted
                _log.exception("a job could not be gone over", job=job)
            self._store.write(lambda c, j=job, n=judgments, s=shown: self._end(c, j, n, s))  # type: ignore[misc]  # mypy infers no lambda defaults

    def _fit(self, job: str, plan: Plan) -> Sequence[Mapping[str, Any]] | None:
        """Go over a job; what its workers have shown, where they were measured for that."""
        from manyhands_aggregator.valued import columns  # numpy takes its time to import

        out: frozenset[str] = frozenset()
        shown = None
        if plan.spec.quality:
            if self._rate is not None:
                shown = self._rate(job)  # once more, now that all is said
            out = self._store.read(lambda c: ratings.out(c, job))
        after: int | None = -1
        while after is not None:
            votes = columns(plan, out)
            begun, after = after, self._gather(job, votes, after, part(plan, self._votes))
            if votes.positions:
                self._write(job, plan, votes.found(), begun, after)
        return shown

    def _gather(self, job: str, votes: Gathered | Values, after: int, most: int) -> int | None:
        """Gather the votes behind suite ``after``; the last suite of a part, None where there are no more."""
        while page := self._store.read(lambda c, a=after: settled.page(c, job, a)):  # type: ignore[misc]  # the same
            for state, _ in page:
                votes.add(state)
            after = page[-1][0].suite
            if len(votes.task) >= most:
                return after
        return None

    def _write(self, job: str, plan: Plan, found: Found | Valued, after: int, last: int | None) -> None:
        """Write what was found in the suites behind ``after`` up to ``last``, a page a transaction."""
        at: int | None = after
        while at is not None:
            at = self._store.write(lambda c, a=at: _page(c, job, plan, found, a, last, self._now()))  # type: ignore[misc]  # the same

    def _end(
        self, connection: sa.Connection, job: str, judgments: int, shown: Sequence[Mapping[str, Any]] | None
    ) -> None:
        account = jobs.lock(connection, [job])[job]
        if account.fit == DUE and account.judgments == judgments:  # else there is more to go over by now
            account.fit = DONE
            account.end_if_done(self._now())
            jobs.save(connection, [account])
            if shown is not None:
                reputations.note(connection, job, shown, judgments)


#: Those of which nothing is open any more, and those that have ended and have had judgments since.
_DUE = (
    sa.select(_jobs.c.job, _jobs.c.spec, _jobs.c.judgments)
    .where(_jobs.c.fit == DUE, _jobs.c.spec.is_not(None))
    .where(
        sa.or_(
            _jobs.c.state.in_(("complete", "partial")),
            sa.and_(
                _jobs.c.state == "open", _jobs.c.sealed_tasks == _jobs.c.tasks,
                _jobs.c.answered + _jobs.c.failed == _jobs.c.tasks,
            ),
        )
    )
    .order_by(_jobs.c.job)
    .limit(SOME)
)  # fmt: skip
_LOCK = (
    sa.select(
        _suites.c.suite, _suites.c.first, _suites.c.count, _suites.c.sent, _suites.c.truths, _suites.c.answers,
        *(_suites.c[name] for name in Counts._fields),
    )
    .where(
        _suites.c.job == sa.bindparam("job"), _suites.c.suite > sa.bindparam("after"), _suites.c.answers.is_not(None)
    )
    .order_by(_suites.c.suite)
    .limit(sa.bindparam("most"))
    .with_for_update()
)  # fmt: skip
_WRITE = (
    sa.update(_suites)
    .where(_suites.c.job == sa.bindparam("b_job"), _suites.c.suite == sa.bindparam("b_suite"))
    .values({name: sa.bindparam(f"b_{name}") for name in ("answers", *Counts._fields)})
)


def _page(
    connection: sa.Connection, job: str, plan: Plan, found: Found | Valued, after: int, last: int | None, at: float
) -> int | None:
    """Write a page of suites; the last of them, None where there are no more."""
    rows = connection.execute(_LOCK, {"job": job, "after": after, "most": settled.PAGE}).all()
    rows = [row for row in rows if last is None or row.suite <= last]
    change = Counts()
    updates = []
    for row in rows:
        suite, first, count, sent, truths, answers, *counts = row
        decision = found.applied(plan, first, unpack_answers(answers))
        packed = pack_answers(decision)
        if packed == answers:
            continue
        now = SuiteState(suite, first, count, sent, truths).count_up(plan, decision)
        change = Counts(*map(add, change, map(sub, now, counts)))
        named = {f"b_{name}": n for name, n in zip(Counts._fields, now, strict=True)}
        updates.append({"b_job": job, "b_suite": suite, "b_answers": packed, **named})
    if updates:
        connection.execute(_WRITE, updates)
        account = jobs.lock(connection, [job])[job]
        account.correct(change)
        rewards.reckon(connection, job, plan, [row["b_suite"] for row in updates], at)
        jobs.save(connection, [account])
    return rows[-1].suite if rows else None

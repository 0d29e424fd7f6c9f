"""Workers' reputations: what each has shown in the jobs that have ended, by type of answer, and what it comes to.

Nothing but the rows is kept. A job's are a function of its judgments, and are written in one transaction that notes of
how many judgments they are: whoever is killed before has written nothing, and who comes again writes the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeAlias

import sqlalchemy as sa

from manyhands import logs
from manyhands.clock import Clock
from manyhands.errors import BrokerError, StoreUnavailable
from manyhands.spec import PEOPLE, received
from manyhands_aggregator import tables
from manyhands_aggregator.jobs import DUE
from manyhands_service.store import Store

_log = logs.get(__name__)
_jobs, _suites, _shown = tables.jobs, tables.suites, tables.reputations

#: Judgments of a job that are looked at, at most; of more, evenly spread suites.
LOOK = 200_000
#: Seconds after which other work has its turn, and jobs looked at in one go.
TURN, SOME = 1.0, 100
#: What share of the time may be spent on a job of which judgments go on to come in.
EFFORT = 0.05
#: Workers of a page, where nobody says how many.
PAGE = 1000

#: Names in one ``IN (...)``: stores have limits on parameters.
IN = 1000

#: What is right and what was compared, by worker.
Earlier: TypeAlias = Mapping[str, tuple[float, float]]

#: Jobs that have ended, with judgments of which nobody has measured the workers: the first ones, or later ones.
_DUE = (
    sa.select(_jobs.c.job, _jobs.c.judgments)
    .where(
        _jobs.c.state != "open", _jobs.c.spec.is_not(None), _jobs.c.judgments > 0,
        sa.or_(_jobs.c.fit.is_(None), _jobs.c.fit != DUE, _jobs.c.state == "cancelled"),
        _jobs.c.measured.is_distinct_from(_jobs.c.judgments),
    )
    .order_by(_jobs.c.job)
    .limit(SOME)
)  # fmt: skip


class Reputations:
    """Measures the workers of jobs that have ended; several replicas may do the same."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._again: dict[str, float] = {}  # when jobs that were measured may be measured once more

    def round(self) -> None:
        """Measure for a while what is to be measured.

        Raises:
            StoreUnavailable: the rest is for the next round.
        """
        ended = self._clock.monotonic()
        until = ended + TURN
        self._again = {job: at for job, at in self._again.items() if at > ended}
        for job, judgments in self._store.read(lambda c: c.execute(_DUE).all()):
            if job in self._again:
                continue
            try:
                shown = measured(self._store, job)
            except (StoreUnavailable, BrokerError):
                raise
            except Exception:  # noqa: BLE001  it would fail again and again; the others are measured
                _log.exception("the workers of a job that has ended could not be measured", job=job)
                shown = []
            self._store.write(lambda c, j=job, n=judgments, s=shown: note(c, j, s, n))  # type: ignore[misc]  # mypy infers no lambda defaults
            began, ended = ended, self._clock.monotonic()
            self._again[job] = ended + (ended - began) / EFFORT
            if ended >= until:
                return


def measured(store: Store, job: str) -> list[dict[str, Any]]:
    """What the workers of a job have shown, by the judgments there are; nothing where there is nothing to compare."""
    if store.read(lambda c: _alone(c, job)):
        return []
    from manyhands_aggregator import workers  # numpy takes its time to load, and memory

    return workers.of_job(store, job, most=LOOK).shown()


def _alone(connection: sa.Connection, job: str) -> bool:
    """Whether each task has one judgment, and nobody knows better."""
    spec = received(connection.scalar(sa.select(_jobs.c.spec).where(_jobs.c.job == job)))
    if len(spec.stages) > 1 or sum(judge.judgments for judge in spec.stages[0].judges) > 1 or spec.cascades:
        return False
    known = sa.exists().where(_suites.c.job == job, _suites.c.truths.is_not(None))
    return not connection.scalar(sa.select(known))


def note(connection: sa.Connection, job: str, shown: Sequence[Mapping[str, Any]], judgments: int) -> None:
    """Keep what the workers of a job have shown in so many judgments, if it has ended and there are no more by now."""
    state, now = connection.execute(
        sa.select(_jobs.c.state, _jobs.c.judgments).where(_jobs.c.job == job).with_for_update()
    ).one()
    if state == "open" or now != judgments:
        return
    connection.execute(sa.delete(_shown).where(_shown.c.job == job))
    rows = _rows(connection, job, shown)
    if rows:
        connection.execute(sa.insert(_shown), rows)
    connection.execute(sa.update(_jobs).where(_jobs.c.job == job).values(measured=judgments))


def _rows(connection: sa.Connection, job: str, shown: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    spec, ended = connection.execute(sa.select(_jobs.c.spec, _jobs.c.ended).where(_jobs.c.job == job)).one()
    of = {"job": job, "type": received(spec).answer.type, "ended": ended}
    return [{**one, **of} for one in shown]


def page(
    connection: sa.Connection,
    *,
    after: str = "",
    limit: int = PAGE,
    type_: str | None = None,
    worker: str | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """Reputations of the workers behind a name, in the order of their names, and the last name if there may be more.

    Of those who have answered questions of a ``type_`` alone; or of one ``worker``, a person by the id.
    """
    wanted = [_shown.c.worker > after, *_wanted(type_, worker)]
    of = sa.select(_shown.c.worker).where(*wanted).distinct().order_by(_shown.c.worker).limit(limit)
    names = connection.scalars(of).all()
    if not names:
        return [], None
    query = sa.select(_shown).where(*wanted, _shown.c.worker <= names[-1]).order_by(_shown.c.worker, _shown.c.type)
    return reputed(row._asdict() for row in connection.execute(query)), names[-1] if len(names) == limit else None


def _wanted(type_: str | None, worker: str | None) -> list[sa.ColumnElement[bool]]:
    wanted = [] if type_ is None else [_shown.c.type == type_]
    return wanted if worker is None else [*wanted, _shown.c.worker.in_((worker, f"{PEOPLE}/{worker}"))]


def of_store(store: Store, *, type_: str | None = None, worker: str | None = None) -> list[dict[str, Any]]:
    """All of them, out of a store that nobody works on; with the jobs that whoever did so had no time to measure."""
    query = sa.select(_shown).where(*_wanted(type_, worker))
    rows = [row._asdict() for row in store.read(lambda c: c.execute(query).all())]
    for job, _ in store.read(lambda c: c.execute(_DUE).all()):
        shown = measured(store, job)
        more = store.read(lambda c, j=job, s=shown: _rows(c, j, s))  # type: ignore[misc]  # the same
        names = {worker, f"{PEOPLE}/{worker}"}
        rows = [row for row in rows if row["job"] != job]
        rows += [row for row in more if type_ in (None, row["type"]) and (worker is None or row["worker"] in names)]
    return reputed(sorted(rows, key=lambda row: (row["worker"], row["type"])))


def reputed(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The reputations of which these are the rows, sorted by worker and type: one for each worker and type; for JSON.

    ``judgments`` and ``compared`` are those of all its ``jobs``, the last of which ended at ``last``; newer ones count
    more in ``accuracy`` and its bounds. It is None where nothing could be compared.
    """
    from manyhands_aggregator.truth.reputation import bounds, expected
    from manyhands_aggregator.truth.standing import Job, together
    from manyhands_aggregator.workers import kind

    found = []
    for (worker, type_), some in groupby(rows, key=lambda row: (row["worker"], row["type"])):
        of = list(some)
        right, compared = together(Job(row["ended"], row["right"], row["compared"]) for row in of)
        low, high = bounds(right, compared)
        found.append({
            "worker": worker,
            "type": type_,
            "kind": kind(worker),
            "jobs": len(of),
            "judgments": sum(row["judgments"] for row in of),
            "compared": round(sum(row["compared"] for row in of)),
            "accuracy": round(expected(right, compared), 4) if compared else None,
            "accuracy_low": round(low, 4),
            "accuracy_high": round(high, 4),
            "last": max(row["ended"] for row in of),
        })  # fmt: skip
    return found


def earlier(connection: sa.Connection, job: str, names: Sequence[str]) -> Earlier:
    """What counts in a job of what these workers have shown for its type of answers; nothing if its rules do not ask.

    That is what they have shown in jobs that had ended when this one was opened, and no more than it allows: of many
    judgments their share of right ones.
    """
    from manyhands_aggregator.truth.standing import Job, together

    text, opened = connection.execute(sa.select(_jobs.c.spec, _jobs.c.opened).where(_jobs.c.job == job)).one()
    spec = received(text)
    if spec.quality is None or spec.quality.reputation is None:
        return {}
    then = sa.and_(_shown.c.type == spec.answer.type, _shown.c.ended <= opened, _shown.c.job != job)
    found: dict[str, list[Job]] = {}
    for some in (names[i : i + IN] for i in range(0, len(names), IN)):
        query = sa.select(_shown.c.worker, _shown.c.ended, _shown.c.right, _shown.c.compared)
        for worker, *shown in connection.execute(query.where(then, _shown.c.worker.in_(some))):
            found.setdefault(worker, []).append(Job(*shown))
    sums = ((worker, *together(jobs)) for worker, jobs in sorted(found.items()))
    counts = ((worker, right, compared, min(compared, spec.quality.reputation)) for worker, right, compared in sums)
    return {worker: (count * right / compared, count) for worker, right, compared, count in counts if compared}


def forget(connection: sa.Connection, worker: str) -> int:
    """Take from the store what a worker, a person by the id, has shown; in how many jobs it was."""
    gone = sa.delete(_shown).where(_shown.c.worker.in_((worker, f"{PEOPLE}/{worker}")))
    return connection.execute(gone).rowcount

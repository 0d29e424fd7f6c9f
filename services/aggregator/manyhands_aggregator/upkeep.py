"""What the aggregator does by the clock: deadlines, judgments that wait for their job, ends that nobody was told of."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import sqlalchemy as sa

from manyhands import logs, metrics
from manyhands.broker import Delivery, Outgoing, Publisher
from manyhands.clock import Clock
from manyhands.codec import encode
from manyhands.deadletters import Cause, raw_letter
from manyhands.errors import BrokerError, BrokerUnavailable
from manyhands.messages import Failure
from manyhands.spec import JobSpec
from manyhands.topology import Names
from manyhands_aggregator import jobs, judging, tables
from manyhands_aggregator.intake import FIRST_SEEN, STRANGER
from manyhands_aggregator.judging import Judged
from manyhands_aggregator.plan import Plan
from manyhands_service.store import Store

_log = logs.get(__name__)
_early, _jobs, _suites = tables.early, tables.jobs, tables.suites

#: Held judgments looked at in one go.
SWEEP = 200
#: Seconds that a publish may take before the next round tries again.
CONFIRM_SECONDS = 30.0

OVERDUE = Failure(code="deadline", message="the job's deadline passed before anybody judged it")


def publish_all(publisher: Publisher, messages: Sequence[Outgoing], timeout: float = CONFIRM_SECONDS) -> None:
    """Publish and wait until every message is confirmed.

    Raises:
        BrokerError: one was not, or not in ``timeout`` seconds; any of them may have arrived.
    """
    if not messages:
        return
    done = threading.Semaphore(0)
    errors: list[BrokerError] = []

    def confirmed(error: BrokerError | None) -> None:
        if error is not None:
            errors.append(error)
        done.release()

    for message in messages:
        publisher.publish(message, confirmed)
    for _ in messages:
        if not done.acquire(timeout=timeout):
            raise BrokerUnavailable(f"no confirm within {timeout:g} seconds")
    if errors:
        raise errors[0]


class Upkeep:
    """Rounds of upkeep; each is safe to repeat and to run in several replicas at once."""

    def __init__(self, store: Store, publisher: Publisher, names: Names, clock: Clock, hold: float) -> None:
        self._store, self._publisher, self._names, self._clock, self._hold = store, publisher, names, clock, hold

    def round(self) -> None:
        """One round.

        Raises:
            StoreUnavailable, BrokerError: the rest is left to the next round.
        """
        self.sweep()
        self.end_overdue()
        self.announce()
        self.measure()

    def sweep(self) -> None:
        """Send held judgments round again, for their suite may be known by now; set aside those held too long."""
        rows = self._store.read(lambda c: c.execute(sa.select(_early).order_by(_early.c.id).limit(SWEEP)).all())
        if not rows:
            return
        now = self._clock.now()
        publish_all(self._publisher, [self._onward(row, now) for row in rows])
        gone = [row.id for row in rows]
        self._store.write(lambda c: c.execute(sa.delete(_early).where(_early.c.id.in_(gone))))

    def _onward(self, row: sa.Row[tuple[object, ...]], now: float) -> Outgoing:
        waited = now - row.first_seen
        if waited < self._hold:
            return Outgoing(
                exchange=self._names.exchange("judgments"), key=row.key, body=row.body, type=row.type,
                content_encoding=row.encoding, headers={FIRST_SEEN: repr(row.first_seen)},
            )  # fmt: skip
        said = f"nothing was heard of its job or suite in {waited:.0f} seconds"
        _log.warning("set aside", kind="judgments", code=STRANGER, error=said)
        held = Delivery(queue="", key=row.key, body=row.body, type=row.type, content_encoding=row.encoding)
        return raw_letter(self._names, "judgments", held, Cause(code=STRANGER, error=said, at=now))

    def end_overdue(self) -> None:
        """End the jobs whose deadline has passed: partial, with the answers there are."""
        now = self._clock.now()
        open_jobs = self._store.read(
            lambda c: c.execute(
                sa.select(_jobs.c.job, _jobs.c.spec, _jobs.c.opened).where(
                    _jobs.c.state == "open", _jobs.c.spec.is_not(None)
                )
            ).all()
        )
        for job, packed, opened in open_jobs:
            spec = JobSpec.model_validate_json(packed)
            if spec.deadline is not None and now >= opened + spec.deadline:
                self._end(job, Plan.of(spec), now)

    def _end(self, job: str, plan: Plan, now: float) -> None:
        def work(connection: sa.Connection) -> None:
            judged = connection.scalars(
                sa.select(_suites.c.suite)
                .distinct()
                .join(
                    tables.judgments,
                    (tables.judgments.c.job == _suites.c.job) & (tables.judgments.c.suite == _suites.c.suite),
                )
                .where(_suites.c.job == job, _suites.c.answers.is_(None))
            ).all()  # no more than the job's window of suites
            states = judging.load(connection, job, judged)
            judging.settle(connection, job, plan, states.values(), Judged(), otherwise=OVERDUE)
            connection.execute(
                sa.update(_jobs)
                .where(_jobs.c.job == job, _jobs.c.state == "open")
                .values(state="partial", ended=now, reason="deadline", failed=_jobs.c.tasks - _jobs.c.answered)
            )

        self._store.write(work)
        metrics.JOBS_ENDED.labels("partial").inc()
        _log.warning("job ended by its deadline", job=job)

    def announce(self) -> None:
        """Tell the producer of ended jobs until a confirm says it was told."""
        rows = self._store.read(jobs.unannounced)
        if not rows:
            return
        exchange, key = self._names.to_roles("job.completed")
        encoded = [encode(jobs.completed(row)) for row in rows]
        publish_all(self._publisher, [Outgoing(exchange=exchange, key=key, body=e.body, type=e.type) for e in encoded])
        self._store.write(lambda c: jobs.announced(c, [row.job for row in rows]))

    def measure(self) -> None:
        """Bring the gauges up to date: open jobs, and the tasks that are in no account."""

        def work(connection: sa.Connection) -> tuple[int, int]:
            open_jobs = connection.scalar(sa.select(sa.func.count()).where(_jobs.c.state == "open")) or 0
            settled = _jobs.c.answered + _jobs.c.failed + _jobs.c.cancelled
            off = connection.scalar(
                sa.select(sa.func.coalesce(sa.func.sum(sa.func.abs(_jobs.c.tasks - settled)), 0)).where(
                    _jobs.c.state != "open"
                )
            )
            return open_jobs, int(off or 0)

        open_jobs, off = self._store.read(work)
        metrics.JOBS_OPEN.labels("aggregator").set(open_jobs)
        metrics.CONSERVATION_DIFFERENCE.labels("aggregator").set(off)

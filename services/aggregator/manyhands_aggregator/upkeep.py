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
from manyhands.runner import Outcome
from manyhands.spec import received
from manyhands.topology import Names
from manyhands_aggregator import counting, deadfiles, deadlist, early, jobs, judging, tables
from manyhands_aggregator.counting import Result
from manyhands_aggregator.intake import Intake
from manyhands_aggregator.judging import Judged
from manyhands_aggregator.ledger import Ledger
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.suite import STRANGER
from manyhands_service.store import Conflict, Store

_log = logs.get(__name__)
_jobs = tables.jobs

#: Held judgments, or suites of a job that ends, looked at in one go.
SOME = 100
#: Seconds for which failures are held that were concluded from letters about jobs and suites nobody has heard of.
KEEP_SECONDS = 30 * 86_400.0
#: Seconds between two looks at all jobs.
MEASURE_SECONDS = 10.0
#: Seconds that a publish may take before the next round tries again.
CONFIRM_SECONDS = 30.0


def publish_all(publisher: Publisher, messages: Sequence[Outgoing], timeout: float = CONFIRM_SECONDS) -> None:
    """Publish and wait until every message is confirmed.

    Raises:
        BrokerError: one was not, or not in ``timeout`` seconds; any of them may have arrived.
    """
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

    def __init__(
        self,
        store: Store,
        intake: Intake,
        publisher: Publisher,
        names: Names,
        clock: Clock,
        hold: float,
        *,
        keep: float = 0.0,
    ) -> None:
        self._store, self._intake, self._publisher = store, intake, publisher
        self._names, self._clock, self._hold, self._keep = names, clock, hold, keep
        self._measured = -MEASURE_SECONDS
        self._ledger = Ledger(store)

    def round(self) -> bool:
        """One round; whether judgments are still held.

        Raises:
            StoreUnavailable, BrokerError: the rest is left to the next round.
        """
        held = self.sweep()
        self.end_overdue()
        self.announce()
        if self._clock.monotonic() - self._measured >= MEASURE_SECONDS:
            self.see_to_letters()
            self.measure()
            self._measured = self._clock.monotonic()
        return held

    def sweep(self) -> bool:
        """Take in held judgments whose suite is known by now; set aside those held too long. Whether some are left.

        They stay held until what they lead to is confirmed, as a delivery stays unsettled.
        """
        if not self._store.read(early.some):
            return False
        while held := self._store.read(lambda c: early.known(c, SOME)):
            outcomes: list[Outcome] = []
            self._intake.again(list(held.values()), outcomes.append)
            self._release(held, [message for outcome in outcomes for message in outcome.publish])
        now = self._clock.now()
        while held := self._store.read(lambda c: early.older(c, now - self._hold, SOME)):
            self._release(held, [self._letter(delivery, now) for delivery in held.values()])
        while held := self._store.read(lambda c: early.older(c, now - KEEP_SECONDS, SOME, ours=True)):
            self._release(held, [])
        return self._store.read(early.some)

    def _release(self, held: dict[str, Delivery], messages: Sequence[Outgoing]) -> None:
        publish_all(self._publisher, messages)
        self._store.write(lambda c: early.release(c, list(held)))

    def _letter(self, held: Delivery, now: float) -> Outgoing:
        said = f"nothing was heard of its job or suite in {self._hold:g} seconds"
        _log.warning("set aside", kind="judgments", code=STRANGER, error=said)
        return raw_letter(self._names, "judgments", held, Cause(code=STRANGER, error=said, at=now))

    def end_overdue(self) -> None:
        """End the jobs whose deadline has passed: partial, with the answers there are."""
        now = self._clock.now()
        query = sa.select(_jobs.c.job, _jobs.c.spec).where(_jobs.c.state == "open", _jobs.c.overdue_at <= now)
        for job, spec in self._store.read(lambda c: c.execute(query).all()):
            plan = Plan.of(received(spec))
            after: int | None = -1
            while after is not None:
                after, result = self._store.write(lambda c, j=job, p=plan, a=after: self._end_some(c, j, p, a, now))  # type: ignore[misc]  # mypy infers no lambda defaults
                counting.tally(result, now)
            self._ledger.tell([job])

    def _end_some(
        self, connection: sa.Connection, job: str, plan: Plan, after: int, now: float
    ) -> tuple[int | None, Result]:
        """Settle some of the suites that were judged in part; the last one, or None when the job has ended."""
        if jobs.states(connection, [job])[job] != "open":
            return None, Result()
        numbers = judging.overdue(connection, job, after, SOME)
        judged = Judged()
        states = judging.load(connection, job, numbers)
        judging.settle(connection, job, plan, states.values(), judged, over=False, overdue=True)
        account = jobs.lock(connection, [job])[job]
        if account.over:
            raise Conflict  # another replica was faster: what was settled here counts otherwise now
        account.add(0, judged.change)
        if not numbers:
            account.end_overdue(now)
        jobs.save(connection, [account])
        return numbers[-1] if numbers else None, Result(judged=[judged], settled=account.settled())

    def announce(self) -> None:
        """Tell the producer of jobs that ended by the clock until a confirm says it was told."""
        accounts = self._store.read(jobs.unannounced)
        if not accounts:
            return
        exchange, key = self._names.to_roles("job.completed")
        encoded = [encode(account.completed()) for account in accounts]
        publish_all(self._publisher, [Outgoing(exchange=exchange, key=key, body=e.body, type=e.type) for e in encoded])
        self._store.write(lambda c: jobs.announced(c, [account.job for account in accounts]))
        for account in accounts:
            metrics.JOBS_ENDED.labels(account.state).inc()
            _log.info("job ended", job=account.job, state=account.state, reason=account.reason)

    def see_to_letters(self) -> None:
        """Take from the file the dead letters that were kept for long enough; complete what earlier versions filed."""
        while self._store.write(lambda c: deadfiles.complete(c, self._clock.now(), SOME)) == SOME:
            pass
        if not self._keep:
            return
        until = self._clock.now() - self._keep
        while gone := self._store.write(lambda c: deadlist.expire(c, until, SOME)):
            for kind, letters in gone.items():
                metrics.DEAD_LETTERS_EXPIRED.labels(kind).inc(letters)
            if gone.total():  # another replica may have been faster
                _log.info("dead letters expired", letters=gone.total(), kinds=dict(gone), filed_before=until)

    def measure(self) -> None:
        """Bring the gauges up to date: open jobs and their open tasks, and the tasks that are in no account."""

        def work(connection: sa.Connection) -> tuple[int, int]:
            settled = _jobs.c.answered + _jobs.c.failed + _jobs.c.cancelled
            left = sa.func.coalesce(sa.func.sum(_jobs.c.tasks - settled), 0)
            open_jobs, tasks = connection.execute(sa.select(sa.func.count(), left).where(_jobs.c.state == "open")).one()
            return open_jobs, int(tasks)

        open_jobs, tasks = self._store.read(work)
        metrics.JOBS_OPEN.labels("aggregator").set(open_jobs)
        metrics.OPEN_TASKS.set(tasks)
        self._ledger.tell(self._intake.over())
        metrics.CONSERVATION_DIFFERENCE.labels("aggregator").set(self._ledger.look())

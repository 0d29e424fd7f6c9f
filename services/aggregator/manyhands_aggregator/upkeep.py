"""What the aggregator does by the clock: deadlines, judgments that wait for their job, ends that nobody was told of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

import sqlalchemy as sa

from manyhands import logs, metrics
from manyhands.broker import Outgoing, Publisher
from manyhands.clock import Clock
from manyhands.codec import encode
from manyhands.errors import BrokerError, StoreUnavailable
from manyhands.spec import received
from manyhands.topology import Names
from manyhands_aggregator import counting, deadfiles, deadlist, gauges, jobs, judging, rewards, tables
from manyhands_aggregator.budget import Purse
from manyhands_aggregator.confirms import publish_each
from manyhands_aggregator.counting import Result
from manyhands_aggregator.fitting import Fitting
from manyhands_aggregator.held import Sweep
from manyhands_aggregator.intake import Intake
from manyhands_aggregator.judged import Judged, Means
from manyhands_aggregator.ledger import Ledger
from manyhands_aggregator.oversight import Oversight
from manyhands_aggregator.plan import Plan
from manyhands_aggregator.reputations import Reputations
from manyhands_aggregator.settling import settle
from manyhands_aggregator.suite import OVERDUE, OVERSPENT
from manyhands_service.store import Conflict, Store

T = TypeVar("T")

_log = logs.get(__name__)
_jobs = tables.jobs

#: Suites of a job that ends, or dead letters, looked at in one go.
SOME = 100
#: Seconds between two looks at all jobs.
MEASURE_SECONDS = 10.0


class Upkeep:
    """Rounds of upkeep; each is safe to repeat and to run in several replicas at once.

    A round has steps, and none of them can stop the others. Going over whole jobs takes long: where it is done
    ``apart``, another thread does it, and a round does not.
    """

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
        apart: bool = False,
    ) -> None:
        self._store, self._intake, self._publisher = store, intake, publisher
        self._names, self._clock, self._keep = names, clock, keep
        self._held = Sweep(store, intake, publisher, names, clock, hold)
        self._troubles: dict[str, str] = {}  # what each step waits for
        self._measured = -MEASURE_SECONDS
        self._ledger = Ledger(store)
        self._plans = jobs.Plans()
        self._oversight = Oversight(store, intake, publisher, names, clock)
        self._apart = apart
        self._fitting = Fitting(store, clock.now, rate=self._oversight.rate)
        self._reputations = Reputations(store, clock)

    def round(self) -> bool:
        """One round; whether judgments are still held. What a step could not do is left to the next round."""
        held = self.sweep()
        self._try("deadlines", self.end_overdue)
        if not self._apart:
            self.go_over()
        self._try("announcements", self.announce)
        self._try("ratings of workers", self._oversight.round)
        if self._clock.monotonic() - self._measured >= MEASURE_SECONDS:
            self._measured = self._clock.monotonic()
            self._try("dead letters of earlier versions", self.complete)
            self._try("dead letters kept for long enough", self.expire)
            self._try("gauges", self.measure)
        return held

    def go_over(self) -> None:
        """Go over the jobs that are due as a whole, and measure the workers of those that have ended."""
        self._try("jobs to be gone over", self._fitting.round)
        self._try("reputations of workers", self._reputations.round)

    def sweep(self) -> bool:
        """See to the held judgments; whether some are left, or may be."""
        held = self._held
        held.look_again()
        if self._try("what is held", held.some) is False:
            return False
        self._try("held judgments whose suite is known", held.take_in)
        self._try("judgments held too long", held.set_aside)
        self._note("held judgments that cannot be published", held.stuck)
        return self._try("what is held", held.some) is not False

    def _try(self, step: str, work: Callable[[], T]) -> T | None:
        """Do a step; None if it failed, which costs no other step."""
        try:
            result = work()
        except (StoreUnavailable, BrokerError) as error:
            self._note(step, str(error))
            return None
        except Exception as error:  # noqa: BLE001  without the others no deadline would be kept
            self._note(step, f"{type(error).__name__}: {error}", error)
            return None
        self._note(step, None)
        return result

    def _note(self, step: str, trouble: str | None, bug: Exception | None = None) -> None:
        """Log what a step waits for, and that it goes on; each once, not in every round."""
        if trouble == self._troubles.get(step):
            return
        if trouble is None:
            del self._troubles[step]
            _log.info("upkeep goes on", step=step)
            return
        self._troubles[step] = trouble
        if bug is None:
            _log.warning("upkeep waits", step=step, error=trouble)
        else:
            _log.error("upkeep failed", step=step, exc_info=bug)

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
        overspent = jobs.purse(connection, job, plan).overspent()
        if not overspent and not jobs.past_deadline(connection, job, plan, now):
            return None, self._go_on(connection, job, plan, now)
        numbers = judging.overdue(connection, job, after, SOME)
        judged = Judged()
        states = judging.load(connection, job, numbers)
        means = None
        if plan.cascades:
            opinion = self._intake.minds.opinion(connection, job, plan)
            means = Means(opinion, Purse(plan), jobs.out(connection, job, plan))
        ended = OVERSPENT if overspent else OVERDUE
        settle(connection, job, plan, states.values(), judged, over=False, ended=ended, means=means)
        account = jobs.lock(connection, [job])[job]
        if account.over:
            raise Conflict  # another replica was faster: what was settled here counts otherwise now
        account.add(0, judged.change)
        rewards.reckon(connection, job, plan, judged.touched, now)
        if not numbers:
            account.end_overdue(now, ended.code)
        jobs.save(connection, [account])
        return numbers[-1] if numbers else None, Result(judged=[judged], settled=account.settled())

    def _go_on(self, connection: sa.Connection, job: str, plan: Plan, now: float) -> Result:
        """Let a job go on that was overspent while more was to come; since then the last of it has come."""
        account = jobs.lock(connection, [job])[job]
        if not account.over and not account.purse(plan).overspent():
            account.overdue_at = jobs.deadline(connection, job, plan)
            account.end_if_done(now)
            jobs.save(connection, [account])
        return Result(settled=account.settled())

    def announce(self) -> None:
        """Tell the producer of jobs that ended by the clock until a confirm says it was told."""
        accounts = self._store.read(jobs.unannounced)
        if not accounts:
            return
        exchange, key = self._names.to_roles("job.completed")
        encoded = [encode(account.completed()) for account in accounts]
        became = publish_each(
            self._publisher, [Outgoing(exchange=exchange, key=key, body=e.body, type=e.type) for e in encoded]
        )
        told = [account for account, error in zip(accounts, became, strict=True) if error is None]
        self._store.write(lambda c: jobs.announced(c, [account.job for account in told]))
        for account in told:
            metrics.JOBS_ENDED.labels(account.state).inc()
            _log.info("job ended", job=account.job, state=account.state, reason=account.reason)
        for error in became:
            if error is not None:
                raise error

    def complete(self) -> None:
        """Complete the dead letters that earlier versions filed."""
        while self._store.write(lambda c: deadfiles.complete(c, self._clock.now(), SOME)) == SOME:
            pass

    def expire(self) -> None:
        """Take from the file the dead letters that were kept for long enough."""
        if not self._keep:
            return
        until = self._clock.now() - self._keep
        while old := self._store.read(lambda c: deadlist.old(c, until, SOME)):
            gone = Counter(old[letter] for letter in self._expire(old, until))
            for kind, letters in gone.items():
                metrics.DEAD_LETTERS_EXPIRED.labels(kind).inc(letters)
            if gone:  # another replica may have been faster
                _log.info("dead letters expired", letters=gone.total(), kinds=dict(gone), filed_before=until)

    def _expire(self, letters: Iterable[str], until: float) -> set[str]:
        """Remove these letters; which are gone by that."""
        removed: set[str] = set()

        def work(connection: sa.Connection) -> set[str]:
            removed.update(deadlist.expire(connection, letters, until))
            # what an earlier try had removed is gone, too: by its commit, or by somebody else's
            return removed - deadlist.there(connection, removed)

        return self._store.write(work)

    def measure(self) -> None:
        """Bring the gauges up to date: what is open, who is rated, what was spent, and what is in no account."""
        self._store.read(lambda c: gauges.measure(c, self._plans))
        self._ledger.tell(self._intake.over())
        metrics.CONSERVATION_DIFFERENCE.labels("aggregator").set(self._ledger.look())

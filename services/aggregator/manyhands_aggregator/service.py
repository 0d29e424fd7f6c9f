"""The aggregator: its threads, and what its API asks of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from manyhands import logs, metrics
from manyhands.broker import Broker, Consumer, Publisher
from manyhands.clock import Clock, SystemClock
from manyhands.errors import BrokerError, UnknownJob
from manyhands.process import declared
from manyhands.runner import Runner
from manyhands.topology import topology
from manyhands_aggregator import answers, economy, ledger, quality, reading, record, reputations, rewards
from manyhands_aggregator.answers import Block
from manyhands_aggregator.counting import Result
from manyhands_aggregator.intake import Intake
from manyhands_aggregator.office import Office
from manyhands_aggregator.senders import Senders
from manyhands_aggregator.settings import AggregatorSettings
from manyhands_aggregator.upkeep import Upkeep
from manyhands_service.store import Store

_log = logs.get(__name__)

#: Seconds between rounds of upkeep.
ROUND = 0.5
#: Seconds that a thread may take to see that it is to stop.
STOPPING = 2.0
#: Seconds between two looks for answers that another replica may have settled.
LOOK = 0.1
#: Requests that may wait for answers at once: each has a thread, and health must still be told.
WAITERS = 16
#: Seconds of a day, in which letters are kept.
DAY = 86_400.0
#: Batches that are prefetched from each queue, so that the next is there when one is committed.
PREFETCHED = 2


class Aggregator:
    """Consumes judgments, events and dead letters; owns the answers."""

    def __init__(self, settings: AggregatorSettings, broker: Broker, *, clock: Clock | None = None) -> None:
        self._settings, self._broker = settings, broker
        self._clock = clock or SystemClock()
        self._names = settings.names
        url = settings.store.get_secret_value()
        self.store = Store(url, "aggregator", "manyhands_aggregator", migrate=settings.migrate)
        self._stop = threading.Event()
        self._settled = threading.Condition()
        self._commits = 0
        self._news = threading.Event()
        self._held = True  # whether judgments may be held: what earlier processes held is found at the first look
        self._waiters = threading.BoundedSemaphore(WAITERS)
        self._publisher: Publisher | None = None
        self.office = Office(self.store, self._names, self._clock, lambda: self._publisher)
        self._consumer: Consumer | None = None
        self._runner: Runner | None = None
        self._threads: list[threading.Thread] = []
        self.checks: dict[str, Callable[[], str | None]] = {"broker": self._broker_missing, "store": self.store.missing}

    def start(self) -> None:
        """Start in the background; waits there for store and broker."""
        metrics.built("aggregator")
        self._spawn("aggregator", self._run)

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        if not self.store.open(self._stop):
            return
        names, settings = self._names, self._settings
        queues = [names.judgments_queue(p) for p in range(names.partitions)]
        queues += [names.events_queue("aggregator"), *names.dead_queues]
        if settings.declare and not declared(self._broker, topology(names), self._stop):
            return
        senders = Senders(settings.user_of, settings.own_user)
        self._publisher = self._broker.publisher(user=senders.own)
        self._consumer = self._broker.consumer(queues, prefetch=settings.batch * PREFETCHED)
        intake = Intake(
            self.store, names, self._clock, limit=settings.body_limit, on_commit=self._committed, senders=senders
        )
        self._runner = Runner(self._consumer, self._publisher, intake, batch=settings.batch)
        if self._stop.is_set():
            return
        upkeep = Upkeep(
            self.store, intake, self._publisher, names, self._clock, settings.hold, keep=settings.dead_keep * DAY,
            apart=True,
        )  # fmt: skip
        self._spawn("upkeep", lambda: self._upkeep(upkeep))
        self._spawn("fitting", lambda: self._fitting(upkeep))
        self._runner.run()

    def _fitting(self, upkeep: Upkeep) -> None:
        while not self._stop.wait(ROUND):
            upkeep.go_over()

    def _upkeep(self, upkeep: Upkeep) -> None:
        due = 0.0
        while not self._stop.is_set():
            self._news.wait(ROUND)  # news of suites may be what held judgments wait for
            self._news.clear()
            self._held = False
            try:
                if self._clock.monotonic() < due:
                    self._held |= upkeep.sweep()
                else:
                    self._held |= upkeep.round()
                    due = self._clock.monotonic() + ROUND
            except Exception:  # noqa: BLE001  without this thread no deadline would be kept, and nothing would say so
                _log.exception("upkeep failed")
                self._stop.wait(ROUND)

    def _committed(self, result: Result) -> None:
        self._held |= result.held
        if result.opened and self._held:
            self._news.set()
        if result.judged:
            with self._settled:
                self._commits += 1
                self._settled.notify_all()

    def stop(self, grace: float) -> None:
        """Take no more, finish what is in hand within ``grace`` seconds, give the rest back, close."""
        self._stop.set()
        self._committed(Result(opened=True))
        if self._runner is not None:
            self._runner.stop()
        ends = self._clock.monotonic() + grace
        for thread in self._threads:
            thread.join(max(0.0, ends - self._clock.monotonic()) + STOPPING)
        self._threads.clear()
        if self._runner is not None:
            self._runner.drain(max(0.0, ends - self._clock.monotonic()))
            self._runner = None
        for end in (self._consumer, self._publisher):
            if end is not None:
                end.close()
        self._consumer = self._publisher = None
        self.store.close()

    def _broker_missing(self) -> str | None:
        if self._consumer is None or self._publisher is None:
            return "not connected yet"
        if not self._consumer.ready:
            return "not registered on every queue"
        return None if self._publisher.ready else "cannot publish"

    # -- what the API and the command line ask -------------------------------------------------------------------------

    def jobs(self) -> list[dict[str, Any]]:
        """The progress of every job."""
        return self.store.read(lambda c: reading.listing(c, self._clock.now()))

    def progress(self, job: str) -> dict[str, Any]:
        """How far a job is.

        Raises:
            UnknownJob: the aggregator has not heard of it.
        """
        return self.store.read(lambda c: reading.progress(c, job, self._clock.now()))

    def audit(self, job: str) -> dict[str, Any]:
        """The job's tasks counted from the rows, and what waits in the queues that its messages pass.

        ``queues`` has the messages ready in each that is not empty, those of other jobs among them; None where the
        broker cannot be asked.
        """
        judges = self.store.read(lambda c: reading.judges(c, job))
        waiting = self._waiting([queue.name for queue in topology(self._names, judges).queues])
        queues = None if waiting is None else {queue: messages for queue, (messages, _) in waiting.items()}
        return {**ledger.audit(self.store, job), "queues": queues}

    def unserved(self, job: str) -> list[str] | None:
        """The job's judges whose queues have messages and nobody who takes them; None if the broker cannot be asked.

        Raises:
            UnknownJob: the aggregator has not heard of it.
        """
        judges = {self._names.tasks_queue(j): j for j in self.store.read(lambda c: reading.judges(c, job))}
        waiting = self._waiting(judges)
        return None if waiting is None else sorted(judges[q] for q, (_, consumers) in waiting.items() if not consumers)

    def _waiting(self, queues: Iterable[str]) -> dict[str, tuple[int, int]] | None:
        try:
            depths = [(queue, self._broker.depth(queue)) for queue in queues]
        except BrokerError:
            return None
        return {queue: depth for queue, depth in depths if depth is not None and depth[0]}

    def judges(self, job: str) -> list[dict[str, Any]]:
        """How good each judge was: agreement with the answers, accuracy where the truth is known."""
        return quality.judges(self.store, job)

    def rewards(self, job: str) -> dict[str, Any]:
        """What everybody has earned in a job."""
        return rewards.of_job(self.store, job)

    def agreement(self, job: str) -> dict[str, Any] | None:
        """How far the judges agree; None where no task can have had two of them."""
        from manyhands_aggregator import agreement  # numpy takes its time to load

        return agreement.of_job(self.store, job)

    def workers(self, job: str) -> list[dict[str, Any]]:
        """How good each worker is, machine or person, what the job's rules say to it, and how they ``acted`` last."""
        from manyhands_aggregator import workers

        return workers.rated(self.store, job)

    def worker(self, job: str, name: str) -> dict[str, Any]:
        """The same of one worker, with its confusion matrix where the answers have options.

        Raises:
            UnknownJob: the aggregator has not heard of the job, or nothing was judged by such a worker.
        """
        from manyhands_aggregator import workers

        return workers.of_job(self.store, job).rating(name)

    def reputations(
        self, *, after: str, limit: int, type_: str | None, worker: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """What workers have shown in all jobs that have ended: a page, and the last name if there may be more."""
        return self.store.read(lambda c: reputations.page(c, after=after, limit=limit, type_=type_, worker=worker))

    def forget(self, worker: str) -> int:
        """Take what a worker has shown in jobs that have ended from the store for good; in how many it was."""
        return self.store.write(lambda c: reputations.forget(c, worker))

    def economy(self, job: str) -> dict[str, Any] | None:
        """What each stage was asked and what the plan saved; None for a job of one stage without an accept rule.

        Raises:
            UnknownJob: the aggregator has not heard of it.
        """
        return economy.economy(self.store, job)

    def answers(self, job: str) -> Iterator[Block]:
        """The answers in source order.

        Raises:
            UnknownJob: the aggregator has not heard of it.
        """
        return answers.blocks(self.store, job)

    def record(self, job: str) -> dict[str, Any]:
        """What a bundle says of a job.

        Raises:
            UnknownJob: the aggregator has not heard of it, or not of its job file.
        """
        return record.about(self.store, job, self._clock.now())

    def page(self, job: str, *, after: int, limit: int, wait: float) -> Block:
        """A page of the settled answers behind a position; waits up to ``wait`` seconds for the first.

        A job that was just opened may not be known here yet: that is waited for, too.

        Raises:
            UnknownJob: the aggregator has not heard of it.
        """
        waits = wait > 0 and self._waiters.acquire(blocking=False)  # who finds no place to wait looks once
        ends = self._clock.monotonic() + (wait if waits else 0.0)
        try:
            while True:
                commits = self._commits  # read first: what is committed from here on ends the wait below
                left = ends - self._clock.monotonic()
                try:
                    found = answers.page(self.store, job, after=after, limit=limit)
                except UnknownJob:
                    if left <= 0 or self._stop.is_set():
                        raise
                else:
                    if found.positions or left <= 0 or self._stop.is_set():
                        return found
                with self._settled:
                    # another replica may settle it: look again now and then
                    if self._commits == commits:
                        self._settled.wait(min(left, LOOK))
        finally:
            if waits:
                self._waiters.release()

    def provenance(self, job: str, position: int) -> list[dict[str, Any]]:
        """Every judgment of one task."""
        return self.store.read(lambda c: reading.provenance(c, job, position))

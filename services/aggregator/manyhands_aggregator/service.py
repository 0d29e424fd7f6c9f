"""The aggregator: its threads, and what its API asks of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from manyhands import logs, metrics
from manyhands.broker import Broker, Consumer, Publisher
from manyhands.clock import Clock, SystemClock
from manyhands.errors import BrokerError, BrokerUnavailable, StoreUnavailable
from manyhands.runner import Runner
from manyhands.topology import topology
from manyhands_aggregator import deadfiles, quality, reading
from manyhands_aggregator.intake import Intake
from manyhands_aggregator.reading import Answer
from manyhands_aggregator.settings import AggregatorSettings
from manyhands_aggregator.upkeep import Upkeep, publish_all
from manyhands_service.store import Store

_log = logs.get(__name__)

#: Seconds between rounds of upkeep.
ROUND = 0.5
#: Batches that are prefetched from each queue, so that the next is there when one is committed.
PREFETCHED = 2


class Aggregator:
    """Consumes judgments, events and dead letters; owns the answers."""

    def __init__(self, settings: AggregatorSettings, broker: Broker, *, clock: Clock | None = None) -> None:
        self._settings, self._broker = settings, broker
        self._clock = clock or SystemClock()
        self._names = settings.names
        self.store = Store(settings.store.get_secret_value(), "aggregator", "manyhands_aggregator")
        self._stop = threading.Event()
        self._settled = threading.Condition()
        self._publisher: Publisher | None = None
        self._consumer: Consumer | None = None
        self._runner: Runner | None = None
        self._threads: list[threading.Thread] = []
        self.checks: dict[str, Callable[[], str | None]] = {"broker": self._broker_missing, "store": self.store.missing}

    def start(self) -> None:
        """Start in the background; waits there for store and broker."""
        self._spawn("aggregator", self._run)

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        if not self.store.open(self._stop):
            return
        names = self._names
        queues = [names.judgments_queue(p) for p in range(names.partitions)]
        queues += [names.events_queue("aggregator"), *names.dead_queues]
        if self._settings.declare:
            wait_declared(self._broker, self._settings, self._stop)
        self._publisher = self._broker.publisher()
        self._consumer = self._broker.consumer(queues, prefetch=self._settings.batch * PREFETCHED)
        intake = Intake(self.store, names, self._clock, on_commit=self._committed)
        self._runner = Runner(self._consumer, self._publisher, intake, batch=self._settings.batch)
        if self._stop.is_set():
            return
        self._spawn("upkeep", self._upkeep)
        self._runner.run()

    def _upkeep(self) -> None:
        assert self._publisher is not None  # noqa: S101  for the type checker: made before this thread
        upkeep = Upkeep(self.store, self._publisher, self._names, self._clock, self._settings.hold)
        while not self._stop.wait(ROUND):
            try:
                upkeep.round()
            except (StoreUnavailable, BrokerError) as error:
                _log.warning("upkeep waits", error=str(error))

    def _committed(self) -> None:
        with self._settled:
            self._settled.notify_all()

    def stop(self, grace: float) -> None:
        """Take no more, finish what is in hand within ``grace`` seconds, give the rest back, close."""
        self._stop.set()
        self._committed()
        if self._runner is not None:
            self._runner.stop()
        for thread in self._threads:
            thread.join(grace + 5)
        self._threads.clear()
        if self._runner is not None:
            self._runner.drain(grace)
            self._runner = None
        for end in (self._consumer, self._publisher):
            if end is not None:
                end.close()
        self._consumer = self._publisher = None
        self.store.close()

    def _broker_missing(self) -> str | None:
        if self._consumer is None or self._publisher is None:
            return "not connected yet"
        metrics.CONSUMERS.set(self._consumer.registered)
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
        """The job's tasks counted from the rows."""
        return reading.audit(self.store, job)

    def judges(self, job: str) -> list[dict[str, Any]]:
        """How good each judge was: agreement with the answers, accuracy where the truth is known."""
        return quality.judges(self.store, job)

    def answers(self, job: str, *, after: int = -1) -> Iterator[Answer]:
        """The answers behind a position, in source order."""
        return reading.answers(self.store, job, after=after)

    def page(self, job: str, *, after: int, limit: int, wait: float) -> list[Answer]:
        """A page of the settled answers behind a position; waits up to ``wait`` seconds for the first."""
        ends = self._clock.monotonic() + wait
        while True:
            found: list[Answer] = []
            for answer in reading.answers(self.store, job, after=after, settled_only=True, page=max(1, limit // 50)):
                found.append(answer)
                if len(found) >= limit:
                    break
            left = ends - self._clock.monotonic()
            if found or left <= 0 or self._stop.is_set():
                return found
            with self._settled:
                self._settled.wait(min(left, 0.25))  # another replica may settle it: look again now and then

    def provenance(self, job: str, position: int) -> list[dict[str, Any]]:
        """Every judgment of one task."""
        return self.store.read(lambda c: reading.provenance(c, job, position))

    def dead(self, *, job: str | None, code: str | None, limit: int) -> dict[str, Any]:
        """Dead letters, grouped and listed."""
        return self.store.read(
            lambda c: {
                "groups": deadfiles.groups(c, job=job),
                "letters": deadfiles.listing(c, job=job, code=code, limit=limit),
            }
        )

    def dead_letter(self, letter: str) -> dict[str, Any]:
        """One dead letter whole."""
        return self.store.read(lambda c: deadfiles.show(c, letter))

    def replay(self, letters: list[str]) -> int:
        """Send dead letters out again, confirm, and only then take them from the file; says how many.

        Raises:
            NoSuchLetter: one of them is not there.
            BrokerUnavailable: they are still on file; some may have been sent, which does no harm.
        """
        if self._publisher is None:
            raise BrokerUnavailable("try again when the aggregator is ready")
        messages = self.store.read(lambda c: [deadfiles.outgoing(c, self._names, letter) for letter in letters])
        publish_all(self._publisher, messages)
        return self.drop(letters)

    def drop(self, letters: list[str]) -> int:
        """Take dead letters from the file for good; says how many there were."""
        dropped = self.store.write(lambda c: deadfiles.drop(c, letters))
        _log.info("dead letters taken from the file", letters=letters)
        return dropped


def wait_declared(broker: Broker, settings: AggregatorSettings, stop: threading.Event) -> None:
    """Declare the topology; adapters declare it again on every new connection, so being away now is no matter."""
    try:
        broker.declare(topology(settings.names))
    except BrokerUnavailable as error:
        _log.warning("waiting for the broker", error=str(error))
        stop.wait(ROUND)

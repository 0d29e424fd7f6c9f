"""The producer: its threads."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable

from manyhands import backoff, logs, metrics
from manyhands.broker import Broker, Consumer, Publisher
from manyhands.clock import Clock, SystemClock
from manyhands.errors import StoreUnavailable
from manyhands.process import declared
from manyhands.runner import Runner
from manyhands.topology import topology
from manyhands_producer.events import Events
from manyhands_producer.leader import EVERY, Leadership
from manyhands_producer.ledger import Ledger
from manyhands_producer.publisher import Pump
from manyhands_producer.reader import Reader
from manyhands_producer.requests import Requests
from manyhands_producer.settings import ProducerSettings
from manyhands_producer.standstill import Standstill

_log = logs.get(__name__)

#: Events in one transaction.
EVENTS = 100
#: Seconds in which a thread that was told to stop does so.
PROMPT = 5.0


class Producer(Requests):
    """Takes jobs, reads and cuts their sources, publishes their suites; owns the spool.

    ``open_sources`` is for the command line's own process: it lets a job read from anywhere, where the API's jobs read
    from the folders of ``MANYHANDS_SOURCE_ROOTS`` only.
    """

    def __init__(
        self, settings: ProducerSettings, broker: Broker, *, clock: Clock | None = None, open_sources: bool = False
    ) -> None:
        super().__init__(settings, broker, clock or SystemClock(), open_sources=open_sources)
        self._stop = threading.Event()
        self._main: threading.Thread | None = None
        self._work: _Work | None = None
        self._ends = float("inf")
        self.checks: dict[str, Callable[[], str | None]] = {"broker": self._broker_missing, "store": self.store.missing}

    def start(self) -> None:
        """Start in the background; waits there for store and broker."""
        metrics.built("producer")
        self._main = threading.Thread(target=self._run, name="producer", daemon=True)
        self._main.start()

    def stop(self, grace: float) -> None:
        """Take no more, wait up to ``grace`` seconds for confirms, note how far everything came, close."""
        self._ends = time.monotonic() + grace
        self._stop.set()
        if self._main is not None:
            self._main.join(grace + 2 * PROMPT)
            self._main = None
        self.store.close()

    def _run(self) -> None:
        if not self.store.open(self._stop):
            return
        self._opened.set()
        leadership = Leadership(self.store.engine, self.store.away)
        while leadership.acquire(self._stop):
            self.board.clear()
            try:
                if self._refresh():
                    self._lead(leadership)
            finally:
                self._leading.clear()
                self.board.clear()
                leadership.release()

    def _lead(self, leadership: Leadership) -> None:
        """Work on the store's jobs for as long as this is the one that does."""
        reader = Reader(self.store, self.board, self._limits, self._clock, self._roots)
        reading = _spawn("reader", reader.run)
        ledger = Ledger(self.store, self._clock)
        try:
            if not self._settings.declare or declared(self._broker, topology(self._settings.names), self._stop):
                self._work = _Work(self)
            watch = Standstill(self._settings.names, self._broker.depth, self._clock, self._settings.republish_after)
            while not self._stop.wait(EVERY):
                if not leadership.held():
                    _log.warning("standing by", reason="the connection that holds the lead is lost")
                    return
                self.board.measure()  # also while a broker or store that is away keeps the publisher waiting
                self._refresh()
                ledger.look()
                for job in watch.look(self.board.jobs()):
                    with contextlib.suppress(StoreUnavailable):  # which the next round waits for
                        self.republish(job)
        finally:
            reader.stop()
            ledger.close()
            work, self._work = self._work, None
            if work is not None:
                work.end(max(0.0, min(self._ends - time.monotonic(), self._settings.grace)))
            reading.join(PROMPT)

    def _refresh(self) -> bool:
        """Take up what the store has, and other replicas have put there; waits while it is away. False: stopped."""
        attempt = 0
        while not self._stop.is_set():
            try:
                rows = self.store.live()
                self._leading.set()
                for row in rows:
                    self._put(row)
                    self.board.moved(row)
                for job in {live.job for live in self.board.jobs()} - {row.job for row in rows}:
                    self._drop(job)
            except StoreUnavailable as error:
                attempt += 1
                _log.warning("waiting for the store", error=str(error))
                self._stop.wait(backoff.reconnect_delay(attempt, random.random))
            else:
                return True
        return False

    def _drop(self, job: str) -> None:
        """A job that is not among the live ones leaves the board, unless it came while they were read."""
        live, row = self.board.get(job), self.store.job(job)
        if live is not None and row.closed and row.state in ("ended", "cancelled"):
            self.board.remove(live)

    def _broker_missing(self) -> str | None:
        work = self._work
        if work is None:
            # one that stands by answers requests, and needs no broker for that
            return None if self._opened.is_set() and not self._leading.is_set() else "not connected yet"
        return work.missing()


class _Work:
    """The threads that need the broker: one publishes, one takes in events."""

    def __init__(self, producer: Producer) -> None:
        settings, broker = producer._settings, producer._broker
        names, limit = settings.names, settings.body_limit
        self._publisher: Publisher = broker.publisher(window=settings.window)
        self._consumer: Consumer = broker.consumer([names.events_queue("producer")], prefetch=2 * EVENTS)
        events = Events(names, limit, producer.store, producer.board, producer._clock)
        self._pump = Pump(settings, producer.store, producer.board, broker, self._publisher, producer._clock)
        self._runner = Runner(self._consumer, self._publisher, events, batch=EVENTS)
        self._threads = [_spawn("publisher", self._pump.run), _spawn("events", self._runner.run)]

    def missing(self) -> str | None:
        """What is wrong with the broker, or None."""
        if not self._consumer.ready:
            return "not registered on its queue of events"
        return None if self._publisher.ready else "cannot publish"

    def end(self, grace: float) -> None:
        """Stop, wait for confirms, note how far everything came."""
        ends = time.monotonic() + grace
        self._runner.stop()
        self._pump.stop()
        self._runner.drain(grace)
        self._publisher.flush(max(0.0, ends - time.monotonic()))
        self._publisher.close()  # which ends a publish that waits for room, too
        for thread in self._threads:
            thread.join(PROMPT)
        try:
            self._pump.finish()
        except StoreUnavailable as error:
            _log.warning("the last confirms are not noted; their suites go out again", error=str(error))
        self._consumer.close()


def _spawn(name: str, target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread

"""The producer: its threads, and what its API asks of it."""

from __future__ import annotations

import json
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from manyhands import backoff, logs
from manyhands.broker import Broker, Consumer, Publisher
from manyhands.clock import Clock, SystemClock
from manyhands.errors import BrokerError, SourceError, StoreUnavailable
from manyhands.runner import Runner
from manyhands.spec import JobSpec
from manyhands.topology import topology
from manyhands_producer.board import Board, Live
from manyhands_producer.cutter import Limits
from manyhands_producer.errors import JobRefused, Moved, Repeated, SpoolFull
from manyhands_producer.events import Events
from manyhands_producer.intake import cut_tasks
from manyhands_producer.publisher import Pump
from manyhands_producer.reader import Reader, count
from manyhands_producer.settings import ProducerSettings
from manyhands_producer.sources import check_source
from manyhands_producer.sources.files import allowed
from manyhands_producer.store import Added, ProducerStore

_log = logs.get(__name__)

#: Events in one transaction.
EVENTS = 100
#: Seconds that a request waits for a store that is still being opened.
OPENING = 10.0

Task = Mapping[str, Any]


class Producer:
    """Takes jobs, reads and cuts their sources, publishes their suites; owns the spool.

    ``open_sources`` is for the command line's own process: it lets a job read from anywhere, where the API's jobs read
    from the folders of ``MANYHANDS_SOURCE_ROOTS`` only.
    """

    def __init__(
        self,
        settings: ProducerSettings,
        broker: Broker,
        *,
        clock: Clock | None = None,
        open_sources: bool = False,
    ) -> None:
        self._settings, self._broker, self._open_sources = settings, broker, open_sources
        self._clock = clock or SystemClock()
        self._limits = Limits(settings.body_limit)
        self.store = ProducerStore(settings.store.get_secret_value())
        self.board = Board()
        self._stop = threading.Event()
        self._opened = threading.Event()
        self._boot: threading.Thread | None = None
        self._threads: list[threading.Thread] = []
        self._reader: Reader | None = None
        self._pump: Pump | None = None
        self._runner: Runner | None = None
        self._publisher: Publisher | None = None
        self._consumer: Consumer | None = None
        self._pushing = threading.Lock()
        self.checks: dict[str, Callable[[], str | None]] = {"broker": self._broker_missing, "store": self.store.missing}

    # -- its life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start in the background; waits there for store and broker."""
        self._boot = threading.Thread(target=self._run, name="producer", daemon=True)
        self._boot.start()

    def _run(self) -> None:
        if not self.store.open(self._stop) or not self._load():
            return
        self._opened.set()
        names, broker = self._settings.names, self._broker
        self._reader = Reader(self.store, self.board, self._limits, self._clock)
        self._spawn("reader", self._reader.run)
        if not self._declare():
            return
        self._publisher = broker.publisher(window=self._settings.window)
        self._consumer = broker.consumer([names.events_queue("producer")], prefetch=2 * EVENTS)
        events = Events(names, self._settings.body_limit, self.store, self.board, self._clock)
        self._pump = Pump(self._settings, self.store, self.board, broker, self._publisher, self._clock)
        self._runner = Runner(self._consumer, self._publisher, events, batch=EVENTS)
        if self._stop.is_set():
            return
        self._spawn("publisher", self._pump.run)
        self._spawn("events", self._runner.run)

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _load(self) -> bool:
        """Take up the jobs of the store; waits while it is away. False when told to stop."""
        attempt = 0
        while not self._stop.is_set():
            try:
                for row in self.store.live():
                    self._take_up(row)
            except StoreUnavailable as error:
                attempt += 1
                _log.warning("waiting for the store", error=str(error))
                self._stop.wait(backoff.reconnect_delay(attempt, random.random))
            else:
                return True
        return False

    def _take_up(self, row: sa.Row[Any]) -> Live:
        """A job of the store becomes live.

        A broker that is not durable forgot what was published, the news too: all that is unsettled is published again.
        """
        kept = self._broker.durable
        following = row.published if kept else 0
        _, waiting, _ = self.store.sizes(row.number, following)
        _, _, largest = self.store.sizes(row.number)
        live = Live(
            number=row.number, job=row.job, spec=JobSpec.model_validate_json(row.spec), digest=row.digest,
            opened=row.opened, state=row.state, reason=row.reason, suites=row.suites, tasks=row.tasks,
            announced=row.announced and kept, closed=row.closed and kept, published=following, next=following,
            waiting=waiting, largest=largest, unsettled=self.store.unsettled(row.number, following),
        )  # fmt: skip
        return self.board.put(live)

    def _declare(self) -> bool:
        """Declare the topology; waits while the broker is away. False when told to stop."""
        attempt = 0
        while self._settings.declare and not self._stop.is_set():
            try:
                self._broker.declare(topology(self._settings.names))
                break
            except BrokerError as error:
                attempt += 1
                delay = backoff.reconnect_delay(attempt, random.random)
                _log.warning("waiting for the broker", error=str(error), again_in=round(delay, 2))
                self._stop.wait(delay)
        return not self._stop.is_set()

    def stop(self, grace: float) -> None:
        """Take no more, wait up to ``grace`` seconds for confirms, note how far everything came, close."""
        ends = time.monotonic() + grace
        self._stop.set()
        for part in (self._reader, self._runner, self._pump):
            if part is not None:
                part.stop()
        if self._boot is not None:
            self._boot.join(grace + 5)
        if self._runner is not None:
            self._runner.drain(max(0.0, ends - time.monotonic()))
        if self._publisher is not None:
            self._publisher.flush(max(0.0, ends - time.monotonic()))
            self._publisher.close()  # ends a publish that waits for room, too
        for thread in self._threads:
            thread.join(max(1.0, ends - time.monotonic()))
        if self._pump is not None:
            try:
                self._pump.finish()
            except StoreUnavailable as error:
                _log.warning("the last confirms are not noted; their suites go out again", error=str(error))
        if self._consumer is not None:
            self._consumer.close()
        self._boot, self._threads = None, []
        self._reader = self._pump = self._runner = self._publisher = self._consumer = None
        self.store.close()

    def _broker_missing(self) -> str | None:
        if self._publisher is None or self._consumer is None:
            return "not connected yet"
        if not self._consumer.ready:
            return "not registered on its queue of events"
        return None if self._publisher.ready else "cannot publish"

    def _need_store(self) -> None:
        if not self._opened.wait(OPENING):
            raise StoreUnavailable(self.store.missing() or "it is still being opened")

    # -- what the API and the command line ask -------------------------------------------------------------------------

    def submit(
        self, spec: JobSpec, *, job: str | None = None, tasks: Sequence[Task] | None = None, seal: bool = False
    ) -> str:
        """Take a job and say its id; see :meth:`open`."""
        return self.open(spec, job=job, tasks=tasks, seal=seal)[0]

    def open(
        self, spec: JobSpec, *, job: str | None = None, tasks: Sequence[Task] | None = None, seal: bool = False
    ) -> tuple[str, bool]:
        """Take a job: its id, and whether it is new. Taking it again under the same id changes nothing.

        Raises:
            SourceError: its source or gold cannot be read.
            JobRefused: its id is taken, or its tasks are not right.
            StoreUnavailable: it is not taken.
        """
        self._need_store()
        job = job or f"{spec.name}-{secrets.token_hex(4)}"
        if spec.source is not None and (tasks or seal):
            raise JobRefused("a job with a source takes no pushed tasks, and is sealed when its source ends")
        self._check(spec)
        cuts, ids, rows = cut_tasks(tasks or (), suite=0, first=0, size=spec.suite, limits=self._limits)
        added = Added(cuts=cuts, ids=ids, state="sealed" if seal else "open")
        try:
            row, new = self.store.create(job, spec, self._clock.now(), added)
        except Repeated as repeated:
            raise _twice(repeated) from repeated
        if row.digest != spec.digest:
            raise JobRefused(f"there is a job {job} with another job file; choose another id")
        if new:
            count(cuts, rows)
            _log.info("job opened", job=job, sealed=seal)
            self._take_up(row)
        else:
            # a repeat, perhaps by a client that heard no answer: what it said then holds
            if tasks and row.state == "open":
                self.push(job, tasks, first=0)
            if seal:
                self.seal(job)
        return job, new

    def _check(self, spec: JobSpec) -> None:
        paths = [spec.source.path] if spec.source is not None else []
        if spec.gold is not None and spec.gold.path is not None:
            paths.append(spec.gold.path)
        for path in paths:
            if not self._open_sources and not allowed(path, self._settings.source_roots):
                raise SourceError(
                    f"{path} is outside of what this producer may read; add its folder to MANYHANDS_SOURCE_ROOTS"
                )
        check_source(spec, limit=self._limits.task)

    def push(self, job: str, tasks: Sequence[Task], first: int | None = None) -> int:
        """Add tasks to an open job; how many it has now.

        ``first`` is the position of the first of them: tasks that the job has already are passed over, so that a push
        may be repeated.

        Raises:
            UnknownJob: there is no such job.
            JobRefused: it is sealed, it reads a source, ``first`` leaves a gap, or a task is not right: none is taken.
            SpoolFull: too many wait to be published.
            StoreUnavailable: none is taken.
        """
        self._need_store()
        while True:
            with self._pushing:
                live = self.board.get(job)
                if live is None:
                    row = self.store.job(job)  # an unknown job ends here
                    if first is not None and first + len(tasks) <= row.tasks:
                        return int(row.tasks)
                    raise JobRefused(f"{job} is {row.state} and takes no more tasks")
                try:
                    return self._push(live, tasks, first)
                except Moved:
                    self.board.moved(self.store.job(job))

    def _push(self, live: Live, tasks: Sequence[Task], first: int | None) -> int:
        if live.spec.source is not None:
            raise JobRefused(f"{live.job} reads its tasks from its source")
        if first is not None and first > live.tasks:
            raise JobRefused(f"{live.job} has {live.tasks} tasks; push those from position {live.tasks} on first")
        tasks = tasks[live.tasks - first :] if first is not None else tasks
        if not tasks:
            return live.tasks
        if live.state != "open":
            raise JobRefused(f"{live.job} is {live.state} and takes no more tasks")
        if live.waiting > self._settings.spool_bytes:
            raise SpoolFull(f"{live.ahead:,} suites of {live.job} wait for judges")
        suite, at = live.suites, live.tasks
        cuts, ids, rows = cut_tasks(tasks, suite=suite, first=at, size=live.spec.suite, limits=self._limits)
        try:
            self.store.add(live.number, suite, Added(cuts=cuts, ids=ids))
        except Repeated as repeated:
            raise _twice(repeated) from repeated
        self.board.added(live, cuts, "open")
        count(cuts, rows)
        return at + len(tasks)

    def seal(self, job: str) -> None:
        """Say that no more tasks come.

        Raises:
            UnknownJob: there is no such job.
            JobRefused: it reads a source, whose end seals it.
        """
        self._need_store()
        live = self.board.get(job)
        if live is not None and live.spec.source is not None and live.state == "open":
            raise JobRefused(f"{job} is sealed when its source ends; cancel it to end it before")
        row = self.store.end(job, "sealed", None)
        if row.state == "sealed":
            _log.info("job sealed", job=job, tasks=row.tasks)
        self.board.moved(row)

    def cancel(self, job: str, reason: str = "cancelled by request") -> None:
        """End a job as it is; one that has ended stays ended.

        Raises:
            UnknownJob: there is no such job.
        """
        self._need_store()
        row = self.store.end(job, "cancelled", reason)
        if self.board.get(job) is None and row.state == "cancelled" and not row.closed:
            self._take_up(row)
        self.board.moved(row)
        _log.info("job cancelled", job=job, reason=row.reason)

    def status(self, job: str) -> dict[str, Any]:
        """How far a job is with the producer.

        Raises:
            UnknownJob: there is no such job.
        """
        self._need_store()
        return self._status(self.store.job(job))

    def jobs(self) -> list[dict[str, Any]]:
        """The status of every job, the newest first."""
        self._need_store()
        return [self._status(row) for row in self.store.jobs()]

    def _status(self, row: sa.Row[Any]) -> dict[str, Any]:
        live = self.board.get(row.job)
        published = row.published if live is None else max(row.published, live.next)
        return {
            "job": row.job, "name": json.loads(row.spec)["name"], "state": row.state, "tasks": row.tasks,
            "refused": row.refused, "suites": row.suites, "published": published, "settled": row.settled,
            "in_flight": len(live.unsettled) if live is not None and not live.over else 0, "error": row.reason,
        }  # fmt: skip

    def audit(self, job: str) -> dict[str, Any]:
        """What the store says of a job, counted.

        Raises:
            UnknownJob: there is no such job.
        """
        self._need_store()
        row = self.store.job(job)
        spooled, _, _ = self.store.sizes(row.number)
        keys = ("tasks", "refused", "suites", "published", "settled")
        return {"job": job, "state": row.state, **{key: getattr(row, key) for key in keys}, "spooled": spooled}


def _twice(repeated: Repeated) -> JobRefused:
    ids = sorted(repeated.known | repeated.twice)
    more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
    return JobRefused(f"ids come twice: {', '.join(map(repr, ids[:3]))}{more}; none of these tasks was taken")

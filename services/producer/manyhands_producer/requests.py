"""What the API and the command line ask of the producer."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from manyhands import logs, tracing
from manyhands.broker import Broker
from manyhands.clock import Clock
from manyhands.errors import StoreUnavailable
from manyhands.spec import JobSpec, received
from manyhands_producer.board import Board, Live
from manyhands_producer.cutter import Limits
from manyhands_producer.errors import JobRefused, Moved, Repeated, SpoolFull, Unsure
from manyhands_producer.intake import cut_tasks
from manyhands_producer.reader import count
from manyhands_producer.record import Added
from manyhands_producer.settings import ProducerSettings
from manyhands_producer.sources import Roots, check_source
from manyhands_producer.store import ProducerStore

_log = logs.get(__name__)

#: Seconds that a request waits for a store that is still being opened.
OPENING = 10.0

Task = Mapping[str, Any]


class Requests:
    """Jobs taken in, tasks pushed, questions answered: on the store, in any replica; any thread may ask.

    What changes is put on the board, for the threads of this process if they are the ones that work on it.
    """

    def __init__(self, settings: ProducerSettings, broker: Broker, clock: Clock, *, open_sources: bool) -> None:
        self._settings, self._broker, self._clock = settings, broker, clock
        self._roots = None if open_sources else Roots(settings.source_roots, never=settings.private)
        self._limits = Limits(settings.body_limit)
        self.store = ProducerStore(settings.store.get_secret_value(), migrate=settings.migrate)
        self.board = Board(clock)
        self._opened = threading.Event()
        self._leading = threading.Event()
        self._pushing = threading.Lock()

    @property
    def leads(self) -> bool:
        """Whether this process is the one that works on the store's jobs; others stand by."""
        return self._leading.is_set()

    def _need_store(self) -> None:
        if not self._opened.wait(OPENING):
            raise StoreUnavailable(self.store.missing() or "it is still being opened")

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
        check_source(spec, limit=self._limits.task, roots=self._roots)
        cuts, ids, rows = cut_tasks(
            tasks or (), suite=0, first=0, size=spec.suite, limits=self._limits, affordable=spec.affordable
        )
        added = Added(cuts=cuts, ids=ids, state="sealed" if seal else "open")
        try:
            row, new = self.store.create(job, spec, self._clock.now(), added)
        except Repeated as repeated:
            raise _twice(repeated) from repeated
        if row.digest != spec.digest:
            raise JobRefused(f"there is a job {job} with another job file; choose another id")
        if new:
            count(cuts, rows)
            if tracing.spans is not None:
                tracing.spans.pushed(job, row.opened, [cut.suite for cut in cuts])
            _log.info("job opened", job=job, sealed=seal)
            self._put(row)
        else:
            # a repeat, perhaps by a client that heard no answer: what it said then holds
            if tasks and row.state == "open":
                self.push(job, tasks, first=0)
            if seal:
                self.seal(job)
        return job, new

    def push(self, job: str, tasks: Sequence[Task], first: int | None = None) -> int:
        """Add tasks to an open job; how many it has now.

        ``first`` is the position of the first of them: tasks that the job has already are passed over, so that a push
        may be repeated.

        Raises:
            UnknownJob: there is no such job.
            JobRefused: it is sealed, it reads a source, ``first`` leaves a gap, or a task is not right: none is taken.
            SpoolFull: too many wait to be published.
            StoreUnavailable: none is taken, unless the store was lost in the commit: then they may be. ``first`` makes
                another push of them harmless.
        """
        self._need_store()
        while True:
            with self._pushing:
                # one that is not on the board has ended, or another replica works on it
                live = self.board.get(job) or self._live(self.store.job(job))
                try:
                    return self._push(live, tasks, first)
                except Moved as moved:
                    if isinstance(moved, Unsure) and first is None:
                        raise StoreUnavailable("it was lost in the commit: these tasks may be taken or not") from moved
                    self.board.moved(self.store.job(job))

    def _push(self, live: Live, tasks: Sequence[Task], first: int | None) -> int:
        if live.spec.source is not None:
            raise JobRefused(f"{live.job} reads its tasks from its source")
        if first is not None and first > live.tasks:
            if self.store.job(live.job).tasks > live.tasks:
                raise Moved  # another replica has taken those between, and the board has not heard of it yet
            raise JobRefused(f"{live.job} has {live.tasks} tasks; push those from position {live.tasks} on first")
        tasks = tasks[live.tasks - first :] if first is not None else tasks
        if not tasks:
            return live.tasks
        if live.state != "open":
            raise JobRefused(f"{live.job} is {live.state} and takes no more tasks")
        if live.waiting > self._settings.spool_bytes:
            raise SpoolFull(f"{live.ahead:,} suites of {live.job} wait for judges")
        suite, at = live.suites, live.tasks
        affordable, sent = live.spec.affordable, 0
        if affordable is not None:
            row = self.store.job(live.job)
            sent = row.tasks - row.refused
        cuts, ids, rows = cut_tasks(
            tasks, suite=suite, first=at, size=live.spec.suite, limits=self._limits, affordable=affordable, sent=sent
        )
        try:
            self.store.add(live.number, suite, Added(cuts=cuts, ids=ids, cursor={"push": secrets.token_hex(8)}))
        except Repeated as repeated:
            raise _twice(repeated) from repeated
        self.board.added(live, cuts, "open")
        if self.board.get(live.job) is not live:
            self._put(self.store.job(live.job))
        count(cuts, rows)
        if tracing.spans is not None:
            tracing.spans.pushed(live.job, live.opened, [cut.suite for cut in cuts])
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
        if row.state == "cancelled" and not row.closed:
            self._put(row)
        self.board.moved(row)
        _log.info("job cancelled", job=job, reason=row.reason)

    def republish(self, job: str) -> bool:
        """Publish again what is not settled, for a broker that has lost it; False where the job's end was heard of.

        The news of the job and the suites in the spool go out once more. Whoever has had them knows them by their key.

        Raises:
            UnknownJob: there is no such job.
        """
        self._need_store()
        if not self.store.republish(job):
            return False
        _log.info("job published again", job=job)
        row = self.store.job(job)
        self._put(row)
        self.board.moved(row)
        return True

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
            "outcome": json.loads(row.outcome).get("state") if row.outcome else None,
        }  # fmt: skip

    def audit(self, job: str) -> dict[str, Any]:
        """What the store says of a job, counted.

        Raises:
            UnknownJob: there is no such job.
        """
        self._need_store()
        return account(self.store, job)

    def _put(self, row: sa.Row[Any]) -> None:
        """A job of the store goes on the board, if this process is the one that works on it."""
        if self._leading.is_set() and self.board.get(row.job) is None:
            self.board.put(self._live(row))
            self.board.moved(self.store.job(row.job))  # what was committed before it was on the board

    def _live(self, row: sa.Row[Any]) -> Live:
        """A job as the store knows it.

        A broker that is not durable forgot what was published, the news too: all that is unsettled is published again.
        """
        kept = self._broker.durable
        following = row.published if kept else 0
        _, waiting, _ = self.store.sizes(row.number, following)
        _, _, largest = self.store.sizes(row.number)
        return Live(
            number=row.number, job=row.job, spec=received(row.spec), digest=row.digest,
            opened=row.opened, state=row.state, reason=row.reason, suites=row.suites, tasks=row.tasks,
            announced=row.announced and kept, closed=row.closed and kept, published=following, next=following,
            waiting=waiting, largest=largest, anew=row.anew, again=row.anew,
            unsettled=dict.fromkeys(sorted(self.store.unsettled(row.number, following)), self._clock.monotonic()),
        )  # fmt: skip


def account(store: ProducerStore, job: str) -> dict[str, Any]:
    """What a store says of a job, counted at one moment.

    Raises:
        UnknownJob: there is no such job.
    """
    row, spooled = store.account(job)
    keys = ("tasks", "refused", "suites", "published", "settled")
    return {"job": job, "state": row.state, **{key: getattr(row, key) for key in keys}, **spooled}


def _twice(repeated: Repeated) -> JobRefused:
    ids = sorted(repeated.known | repeated.twice)
    more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
    return JobRefused(f"ids come twice: {', '.join(map(repr, ids[:3]))}{more}; none of these tasks was taken")

"""One child and the thread that talks to it: takes suites, has them judged, says what each caused."""

from __future__ import annotations

import math
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from manyhands import backoff, logs, metrics, tracing
from manyhands.broker.protocol import Delivery, Verdict
from manyhands.clock import Clock
from manyhands.errors import HandlerError
from manyhands.runner import Finish, Outcome
from manyhands_worker import frames
from manyhands_worker.frames import Judged, Offers, Setup, Unit
from manyhands_worker.isolate import Death
from manyhands_worker.prefetch import smoothed
from manyhands_worker.process import Child, ChildDied
from manyhands_worker.report import Station, judge_of, raw_letter
from manyhands_worker.suspects import Concluded, conclude
from manyhands_worker.tally import Tally
from manyhands_worker.trial import Gate

_log = logs.get(__name__)

#: Suites given to a child in one go: as many as take about this many seconds, for a round trip costs the more the less
#: they do; and never more of them, or more bytes, than this.
TOGETHER_SECONDS = 0.004
TOGETHER_MOST = 64
TOGETHER_BYTES = 1 << 20
#: The end of a child that had nothing to do.
IDLE = Death(how="the child ended while it had nothing to do", label="idle")


class Stopped(Exception):  # it is a state, not an error
    """The pool takes no more; what is in hand goes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When children are ended: ``hard`` seconds for a suite; replaced after so many suites or MiB (0: never)."""

    hard: float = 600.0
    suites: int = 0
    mib: int = 0


@dataclass(slots=True)
class Task:
    """A delivery in hand, and who is told what it caused."""

    delivery: Delivery
    finish: Finish


@dataclass(slots=True, kw_only=True)
class Shared:
    """What the lanes of a pool share."""

    setup: Setup
    limits: Limits
    station: Station
    clock: Clock
    lanes: int
    tasks: queue.SimpleQueue[Task | None] = field(default_factory=queue.SimpleQueue)
    tally: Tally = field(default_factory=Tally)
    offers: Offers = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    gate: Gate = field(default_factory=Gate)
    cost: float | None = None

    def take(self) -> list[Task]:
        """Wait for the next suites that one child judges together; none at the end."""
        first = self.tasks.get()
        if first is None:
            return []
        taken, size = [first], len(first.delivery.body)
        fair = math.ceil((self.tasks.qsize() + 1) / self.lanes)  # the other children have nothing to do otherwise
        most = min(fair, TOGETHER_MOST, int(TOGETHER_SECONDS / self.cost) if self.cost else 1)
        while len(taken) < most and size < TOGETHER_BYTES:
            try:
                task = self.tasks.get_nowait()
            except queue.Empty:
                break
            if task is None:
                self.tasks.put(None)
                break
            taken.append(task)
            size += len(task.delivery.body)
        return taken


class Lane:
    """One child, and the thread that talks to it: within the gate, or else somebody's who is alone there."""

    def __init__(self, shared: Shared, number: int) -> None:
        self._shared = shared
        self.thread = threading.Thread(target=self._run, name=f"child {number}", daemon=True)
        self.child: Child | None = None
        self.trouble: str | None = None
        #: Of the judges that can judge nothing at present, why.
        self.barred: dict[str, str] = {}
        self._lent = threading.Lock()

    def first(self) -> Offers:
        """Start the child once; what it offers."""
        return self._start()

    def _start(self) -> Offers:
        try:
            child = self.child = Child(self._shared.setup, self._shared.limits.hard)
        except OSError as error:
            raise HandlerError(f"no child can be started: {error}") from error
        try:
            offers = child.wait_ready()
        except HandlerError:
            self.child = None
            raise
        metrics.CHILDREN.inc()
        return offers

    def _run(self) -> None:
        tasks: list[Task] = []
        while True:
            try:
                with self._shared.gate:
                    self._ready()  # before there is work: whoever waits for an answer need not wait for a child as well
                tasks = self._shared.take()
                if not tasks:
                    break
                with self._shared.gate:
                    self._serve(tasks)
            except Stopped:
                break
            except Exception:  # noqa: BLE001  a thread less would be a child less, for good
                _log.exception("handing back")
                self._hand_back(tasks)
                with self._shared.gate:
                    if self.child is not None:
                        self._lose()
                self._shared.stopping.wait(1)
        with self._lent:  # the pool kills a child whose trial takes too long for that
            if self.child is not None:
                self._lose()

    def _serve(self, tasks: Sequence[Task]) -> None:
        if self._shared.stopping.is_set():  # while these waited to come in
            self._hand_back(tasks)
            raise Stopped
        now = self._shared.clock.now()
        for task in tasks:
            self._shared.tally.taken(self._judge_of(task.delivery), task.delivery, now)
        begun = time.monotonic()
        self._judge(tasks)
        self._shared.cost = smoothed(self._shared.cost, (time.monotonic() - begun) / len(tasks))
        self._recycle()

    def alone(self, task: Task) -> None:
        """Have a suspect judged by this lane's child, by whoever is alone in the gate."""
        with self._lent:
            try:
                self._judge([task])
                self._recycle()
            except Stopped:
                pass  # it has gone back
            except Exception:  # noqa: BLE001  as a lane does
                _log.exception("handing back")
                self._hand_back([task])

    def _ready(self) -> Child:
        failures = 0
        while self.child is None:
            if self._shared.stopping.is_set():
                raise Stopped
            try:
                self._start()
            except HandlerError as error:
                failures += 1
                delay = backoff.reconnect_delay(failures, random.random)
                self.trouble = str(error)
                _log.error("child not started", error=str(error), again_in=round(delay, 2))
                self._pause(delay)
        self.trouble = None
        return self.child

    def _pause(self, seconds: float) -> None:
        if threading.current_thread() is self.thread:
            with self._shared.gate.outside():
                self._shared.stopping.wait(seconds)
        else:  # a trial is kept waiting, for to hand it back may count as a death
            self._shared.stopping.wait(seconds)

    def _lose(self, death: Death | None = None, judge: str = "none") -> None:
        """Part with the child: it has died, or it is to end now."""
        child, self.child = self.child, None
        metrics.CHILDREN.dec()
        if death is not None:
            metrics.CHILD_DEATHS.labels(judge, death.label).inc()
        elif child is not None:
            child.stop()

    def _judge(self, tasks: Sequence[Task]) -> None:
        """Have suites judged; each ends in an outcome, or the pool stops and they go back."""
        waiting = deque(tasks)
        alone = False
        try:
            while waiting:
                asked = [waiting[0]] if alone else waiting
                child, since = self._ready(), time.monotonic()
                try:
                    for reply in child.ask([frames.unit(task.delivery) for task in asked]):
                        self._conclude(waiting.popleft(), reply)
                        since = time.monotonic()
                except BrokenPipeError:
                    _log.warning("a child ended while it had nothing to do")
                    self._lose(IDLE)
                except ChildDied as died:
                    self._bereaved(died.death, waiting[0], since)
                    if alone or len(waiting) == 1:
                        self._suspect(waiting[0], died.death)
                        waiting.popleft()
                    # replies come a few at a time, so it need not have been the first of them: one by one tells
                    alone = True
        except Stopped:
            self._hand_back(waiting)
            raise

    def _bereaved(self, death: Death, task: Task, since: float) -> None:
        """The child has died over a task, with which it began ``since``; when the pool stops, the pool ended it."""
        judge = self._judge_of(task.delivery)
        self._shared.tally.busy(judge, time.monotonic() - since)
        self._lose(death, judge)
        if self._shared.stopping.is_set():
            raise Stopped
        _log.warning("a child ended", how=death.how, queue=task.delivery.queue, **tracing.bound(task.delivery))
        if task.delivery.trace is not None:
            task.delivery.trace.note("child ended", how=death.how)

    def _conclude(self, task: Task, reply: list[Any]) -> None:
        delivery = task.delivery
        if reply[0] == frames.JUDGED:
            said = Judged(*reply[1:])
            publish = [frames.outgoing(row) for row in said.outgoing]
            self._shared.tally.judged(said, tracing.exemplar(delivery))
            self._note_trouble(said.judge, said.trouble)
            if delivery.trace is not None:
                delivery.trace.judged(said.judge, said.started, said.seconds, said.failed)
        else:
            _, code, why = reply
            publish = [raw_letter(delivery, why, self._shared.station, self._shared.clock.now(), code)]
            judge = judge_of(delivery)
            _log.warning("set aside", judge=judge, code=code, error=why, **tracing.bound(delivery))
        task.finish(Outcome(deliveries=[delivery], publish=tracing.traced(delivery, publish)))

    def _note_trouble(self, judge: str, trouble: str) -> None:
        if trouble and self.barred.get(judge) != trouble:
            self.barred[judge] = trouble
            _log.error("a judge can judge nothing; its tasks go back until that is mended", judge=judge, error=trouble)
        elif not trouble and self.barred.pop(judge, None) is not None:
            _log.info("a judge judges again", judge=judge)

    def _suspect(self, task: Task, death: Death) -> None:
        shared = self._shared

        def ask(unit: Unit) -> list[Any] | Death:
            while True:
                child, since = self._ready(), time.monotonic()
                try:
                    (reply,) = child.ask([unit])
                except BrokenPipeError:
                    self._lose(IDLE)
                except ChildDied as died:
                    self._bereaved(died.death, task, since)
                    return died.death
                else:
                    shared.tally.busy(self._judge_of(task.delivery), time.monotonic() - since)
                    return reply

        try:
            known = conclude(task.delivery, death, ask, shared.station, shared.offers, shared.clock, random.random)
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001
            # handed back it would only come again; a letter can be looked at
            _log.exception("a suspect could not be examined")
            said = f"{death.how}; {type(error).__name__}: {error}"
            letter = raw_letter(task.delivery, said, shared.station, shared.clock.now(), "child-died")
            known = Concluded(outgoing=[letter])
        shared.tally.tasks(known.judge, known.judged, known.failed)
        publish = tracing.traced(task.delivery, known.outgoing)
        task.finish(Outcome(deliveries=[task.delivery], publish=publish))

    def _judge_of(self, delivery: Delivery) -> str:
        """The judge of a queue, for a label: one of those that are served."""
        judge = judge_of(delivery)
        return judge if judge in self._shared.offers else "none"

    @staticmethod
    def _hand_back(tasks: Iterable[Task]) -> None:
        for task in tasks:
            task.finish(Outcome(deliveries=[task.delivery], verdict=Verdict.HAND_BACK))

    def _recycle(self) -> None:
        child, limits = self.child, self._shared.limits
        if child is None:
            return
        if (limits.suites and child.judged >= limits.suites) or (limits.mib and child.rss_mib() > limits.mib):
            _log.info("child replaced", pid=child.pid, suites=child.judged)
            metrics.CHILD_RECYCLED.inc()
            self._lose()

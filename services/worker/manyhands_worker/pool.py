"""A worker's children: takes deliveries in hand, gives them to the lanes, watches the hard limits."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from manyhands import logs, tracing
from manyhands.broker.protocol import Delivery, Verdict
from manyhands.clock import Clock, SystemClock
from manyhands.errors import HandlerError
from manyhands.runner import Finish, Handler, Outcome
from manyhands_worker.frames import Offers, Setup
from manyhands_worker.isolate import SUSPECT_FROM
from manyhands_worker.lane import Lane, Limits, Shared, Task
from manyhands_worker.process import FAREWELL
from manyhands_worker.report import Station
from manyhands_worker.suspects import moved, received
from manyhands_worker.trial import Gate

_log = logs.get(__name__)

#: Seconds between two looks at the hard limits.
WATCH = 0.1


class Pool:
    """Judges deliveries in child processes; a ``manyhands.runner.Handler``."""

    def __init__(
        self, setup: Setup, station: Station, *, children: int, limits: Limits, clock: Clock | None = None
    ) -> None:
        self._shared = Shared(setup=setup, limits=limits, station=station, clock=clock or SystemClock(), lanes=children)
        self._lanes = [Lane(self._shared, number) for number in range(children)]
        self._watch = threading.Thread(target=self._watching, name="children", daemon=True)
        self._gone = threading.Event()

    def start(self) -> Offers:
        """Start the children; the judges they offer. Returns when the first has loaded its handlers.

        Raises:
            HandlerError: they cannot be loaded.
        """
        self._watch.start()
        try:
            self._shared.offers = self._lanes[0].first()
        except HandlerError:
            self._gone.set()
            raise
        for lane in self._lanes:
            lane.thread.start()
        return self._shared.offers

    def handle(self, deliveries: list[Delivery], finish: Finish) -> None:
        """Take deliveries in hand."""
        shared = self._shared
        for delivery in deliveries:
            if delivery.delivery_count >= SUSPECT_FROM:
                suspect = moved(delivery, shared.station, shared.clock)
                finish(Outcome(deliveries=[delivery], publish=tracing.traced(delivery, [suspect])))
            else:
                shared.tasks.put(Task(delivery, finish))

    @property
    def gate(self) -> Gate:
        """Lets suites in to be judged; who tries a suspect must be alone there."""
        return self._shared.gate

    def trials(self, counts_hand_backs: Callable[[], bool]) -> Handler:
        """Judges suspects; for a runner over a :class:`~manyhands_worker.trial.Dock` at this pool's gate."""
        return _Trials(self._shared, self._lanes, counts_hand_backs)

    @property
    def cost(self) -> float | None:
        """Seconds that a child takes for a suite, smoothed; None before the first."""
        return self._shared.cost

    def check(self) -> str | None:
        """What keeps the children from judging; None when nothing does."""
        said = (trouble for lane in self._lanes for trouble in (lane.trouble, *tuple(lane.barred.values())))
        return next((trouble for trouble in said if trouble), None)

    @property
    def pids(self) -> list[int]:
        """The process ids of the children that live."""
        return [lane.child.pid for lane in self._lanes if lane.child is not None]

    def close(self) -> None:
        """Begin nothing more: what no child has yet been given goes back; what one has is finished."""
        self._shared.stopping.set()
        self._shared.gate.close()
        for lane in self._lanes:
            if (child := lane.child) is not None:
                child.hurry()
        with contextlib.suppress(queue.Empty):
            while True:
                task = self._shared.tasks.get_nowait()
                if task is not None:
                    task.finish(Outcome(deliveries=[task.delivery], verdict=Verdict.HAND_BACK))
        for _ in self._lanes:
            self._shared.tasks.put(None)

    def end(self, timeout: float) -> None:
        """After :meth:`close`: wait until the children have ended; kill those that have not within the seconds."""
        threads = [lane.thread for lane in self._lanes if lane.thread.is_alive()]
        _join(threads, timeout)
        for lane in self._lanes:
            if lane.thread.is_alive() and (child := lane.child) is not None:
                child.kill()
        _join(threads, FAREWELL)
        self._gone.set()

    def _watching(self) -> None:
        given: dict[Lane, tuple[float, float]] = {}
        looked = time.monotonic()
        while not self._gone.wait(WATCH):
            now = time.monotonic()
            children = {lane: child for lane in self._lanes if (child := lane.child) is not None}
            deadlines = {lane: deadline for lane, child in children.items() if (deadline := child.deadline) is not None}
            given = extended(given, deadlines, max(0.0, now - looked - WATCH))
            looked = now
            for lane, (deadline, more) in given.items():
                if now > deadline + more:
                    children[lane].kill(for_time=True)


def _join(threads: Iterable[threading.Thread], timeout: float) -> None:
    """Wait for the end of all of them, for so many seconds together."""
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def extended(
    given: Mapping[Any, tuple[float, float]], deadlines: Mapping[Any, float], late: float
) -> dict[Any, tuple[float, float]]:
    """Each deadline, and the seconds that are given on top of it, now that the watch comes ``late`` by so many.

    When it was stopped, or starved, so was whoever reads the children's answers: one that was ready in time may not
    have been read yet. ``given`` is what this returned the time before.
    """
    before = {who: more for who, (deadline, more) in given.items() if deadlines.get(who) == deadline}
    return {who: (deadline, before.get(who, 0.0) + late) for who, deadline in deadlines.items()}


class _Trials:
    """Whoever gives it deliveries is alone in the gate until they are finished."""

    def __init__(self, shared: Shared, lanes: list[Lane], counts_hand_backs: Callable[[], bool]) -> None:
        # asked for each time: the broker is known once it is connected to, and may be upgraded meanwhile
        self._shared, self._lanes, self._counts_hand_backs = shared, lanes, counts_hand_backs

    def handle(self, deliveries: list[Delivery], finish: Finish) -> None:
        """Try suspects."""
        station, clock = self._shared.station, self._shared.clock
        for delivery in deliveries:
            if self._shared.stopping.is_set():
                finish(Outcome(deliveries=[delivery], verdict=Verdict.HAND_BACK))
                continue
            known = received(delivery, station, clock, counts_hand_backs=self._counts_hand_backs())
            if known is not None:
                finish(Outcome(deliveries=[delivery], publish=tracing.traced(delivery, known.outgoing)))
                continue
            _log.warning("on trial", queue=delivery.queue, bytes=len(delivery.body), **tracing.bound(delivery))
            lane = next((lane for lane in self._lanes if lane.child is not None), self._lanes[0])
            lane.alone(Task(delivery, finish))

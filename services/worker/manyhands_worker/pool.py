"""A worker's children: takes deliveries in hand, gives them to the lanes, watches the hard limits."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable

from manyhands import tracing
from manyhands.broker.protocol import Delivery, Verdict
from manyhands.clock import Clock, SystemClock
from manyhands.errors import HandlerError
from manyhands.runner import Finish, Outcome
from manyhands_worker.frames import Offers, Setup
from manyhands_worker.isolate import Suspicion
from manyhands_worker.lane import Lane, Limits, Shared, Task
from manyhands_worker.process import FAREWELL
from manyhands_worker.report import Station
from manyhands_worker.suspects import received

#: Seconds between two looks at the hard limits.
WATCH = 0.1


class Pool:
    """Judges deliveries in child processes; a ``manyhands.runner.Handler``."""

    def __init__(
        self, setup: Setup, station: Station, *, children: int, limits: Limits, suspicion: Callable[[], Suspicion],
        clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self._shared = Shared(setup=setup, limits=limits, station=station, clock=clock or SystemClock(), lanes=children)
        self._suspicion = suspicion
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
            if delivery.delivery_count:
                known = received(delivery, self._suspicion(), shared.station, shared.clock)
                if known is not None:
                    finish(Outcome(deliveries=[delivery], publish=tracing.traced(delivery, known.outgoing)))
                    continue
            shared.tasks.put(Task(delivery, finish))

    @property
    def cost(self) -> float | None:
        """Seconds that a child takes for a suite, smoothed; None before the first."""
        return self._shared.cost

    def check(self) -> str | None:
        """What keeps the children from judging; None when nothing does."""
        return next((lane.trouble for lane in self._lanes if lane.trouble), None)

    @property
    def pids(self) -> list[int]:
        """The process ids of the children that live."""
        return [lane.child.pid for lane in self._lanes if lane.child is not None]

    def close(self) -> None:
        """Begin nothing more: what no child has yet been given goes back; what one has is finished."""
        self._shared.stopping.set()
        with contextlib.suppress(queue.Empty):
            while True:
                task = self._shared.tasks.get_nowait()
                if task is not None:
                    task.finish(Outcome(deliveries=[task.delivery], verdict=Verdict.HAND_BACK))
        for _ in self._lanes:
            self._shared.tasks.put(None)

    def end(self, timeout: float) -> None:
        """After :meth:`close`: wait until the children have ended; kill those that have not within the seconds."""
        deadline = time.monotonic() + timeout
        threads = [lane.thread for lane in self._lanes if lane.thread.is_alive()]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for lane in self._lanes:
            if lane.thread.is_alive() and (child := lane.child) is not None:
                child.kill()
        for thread in threads:
            thread.join(FAREWELL)  # one that waits for a broker ends when its connection is closed
        self._gone.set()

    def _watching(self) -> None:
        while not self._gone.wait(WATCH):
            now = time.monotonic()
            for lane in self._lanes:
                child = lane.child
                deadline = None if child is None else child.deadline
                if child is not None and deadline is not None and now > deadline:
                    child.kill(for_time=True)

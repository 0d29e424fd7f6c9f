"""The worker: takes suites from its judges' queues, has them judged in its children, publishes what they said."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Sequence

from manyhands import logs, metrics
from manyhands.broker import Broker, Consumer, Delivery, Publisher
from manyhands.clock import Clock, SystemClock
from manyhands.errors import SettingsError
from manyhands.ops import Checks
from manyhands.process import declared
from manyhands.runner import Finish, Runner
from manyhands.topology import topology
from manyhands_worker.lane import Limits
from manyhands_worker.pod import DeletionCost, this_pod
from manyhands_worker.pool import Pool
from manyhands_worker.prefetch import prefetch, worthwhile
from manyhands_worker.report import Station
from manyhands_worker.settings import WorkerSettings
from manyhands_worker.sources import Sources, joined, named_by, setup_of
from manyhands_worker.trial import Dock

_log = logs.get(__name__)

#: Deliveries taken from the consumer at once.
BATCH = 64
#: Seconds between two looks at whether the prefetch fits what suites cost.
ADAPT = 1.0
#: Seconds of the grace that are kept for children to end by themselves.
LAST = 2.0


class Worker:
    """A worker of some judges.

    ``sources`` says where the judges are, beside what the settings name; by reference, for children import them anew.
    """

    def __init__(
        self, settings: WorkerSettings, broker: Broker, *, sources: Sources | None = None, clock: Clock | None = None
    ) -> None:
        self._settings, self._broker, self._clock = settings, broker, clock or SystemClock()
        host = socket.gethostname()
        setup = setup_of(joined(named_by(settings), sources or Sources()), settings, host)
        station = Station(names=settings.names, worker=settings.worker_id, host=host, limit=settings.body_limit)
        self._pool = Pool(
            setup, station, children=settings.children, clock=self._clock,
            limits=Limits(hard=settings.hard_limit, suites=settings.recycle_suites, mib=settings.recycle_mib),
        )  # fmt: skip
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._suspects = threading.Thread(target=self._try_suspects, name="suspects", daemon=True)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._judges: tuple[str, ...] = ()
        self._user: str | None = None
        self._trouble: str | None = "not started"
        self._runner: Runner | None = None
        self._trials: Runner | None = None
        self._dock: Dock | None = None
        self._consumer: Consumer | None = None
        self._publisher: Publisher | None = None
        self._deletion = DeletionCost(this_pod(os.environ), self._in_hand) if settings.deletion_cost else None
        self._prefetch = settings.prefetch or prefetch(None, settings.children)
        self._adapted = 0.0

    @property
    def judges(self) -> Sequence[str]:
        """The judges that are served; known once started."""
        return self._judges

    @property
    def children(self) -> Sequence[int]:
        """The process ids of the children that live."""
        return self._pool.pids

    @property
    def checks(self) -> Checks:
        """What must be well for this worker to be ready."""
        return {"broker": self._check_broker, "children": self._pool.check}

    def start(self) -> None:
        """Load the handlers and begin to serve; a broker that is not there is waited for in the background.

        Raises:
            HandlerError: the handlers cannot be loaded, or lack a judge that is to be served.
            SettingsError: its judges have different users of the broker, and a worker has one.
        """
        metrics.built("worker")
        offers = self._pool.start()
        for judge, (version, _) in offers.items():
            metrics.HANDLER_INFO.labels(judge, version).set(1)
        self._judges = tuple(sorted(offers))
        users = {self._settings.user_of(judge) for judge in self._judges}
        if len(users) > 1:
            self._pool.close()
            self._pool.end(LAST)
            raise SettingsError(
                f"with MANYHANDS_WORKER_USER={self._settings.worker_user} each judge has workers of its own; start one "
                f"for each of {', '.join(self._judges)} with --judges"
            )
        self._user = next(iter(users), None)
        self._trouble = "connecting"
        _log.info("worker starts", judges=self._judges, worker=self._settings.worker_id)
        self._thread.start()
        if self._deletion is not None:
            self._deletion.start()

    def stop(self, grace: float) -> None:
        """Take no more; finish what is in hand within ``grace`` seconds and hand back the rest; end the children."""
        with self._lock:
            if self._stopping.is_set():
                return
            self._stopping.set()
            runners = [runner for runner in (self._runner, self._trials) if runner is not None]
        if self._deletion is not None:
            self._deletion.stop()
        deadline = time.monotonic() + grace
        for runner in runners:
            runner.stop()
        last = deadline - min(LAST, grace / 2)
        if self._thread.ident is not None:
            self._thread.join(max(0.0, last - time.monotonic()))
        self._pool.close()
        for runner in runners:
            if not runner.drain(max(0.0, last - time.monotonic())):
                _log.warning("handed back what was not finished in time", grace=grace)
        if self._publisher is not None:
            # all is settled, so what is still to be published would change nothing; and who waits for a broker that
            # blocks publishing comes to an end only by this
            self._publisher.close()
        self._pool.end(max(0.0, deadline - time.monotonic()))
        if self._suspects.ident is not None:
            self._suspects.join(max(0.0, deadline - time.monotonic()))
        for end in (self._consumer, self._dock):
            if end is not None:
                end.close()
        _log.info("worker stopped")

    def handle(self, deliveries: list[Delivery], finish: Finish) -> None:
        """What the runner calls with deliveries."""
        self._adapt()
        self._pool.handle(deliveries, finish)

    def _run(self) -> None:
        names = self._settings.names
        if self._settings.declare:
            declared(self._broker, topology(names, self._judges), self._stopping, self._waiting)
        with self._lock:
            if self._stopping.is_set():
                return
            self._publisher = self._broker.publisher(user=self._user)
            self._consumer = self._broker.consumer(
                [names.tasks_queue(judge) for judge in self._judges], prefetch=self._prefetch
            )
            self._runner = Runner(self._consumer, self._publisher, self, batch=BATCH)
            puller = self._broker.puller([names.suspects_queue(judge) for judge in self._judges])
            self._dock = Dock(puller, self._pool.gate, self._clock)
            trials = self._pool.trials(lambda: self._broker.counts_hand_backs)
            self._trials = Runner(self._dock, self._publisher, trials)
            self._suspects.start()
        runners = self._runner, self._trials
        metrics.CONSERVATION_DIFFERENCE.labels("worker").set_function(lambda: sum(one.difference for one in runners))
        self._trouble = None
        self._show_prefetch()
        self._runner.run()

    def _try_suspects(self) -> None:
        assert self._trials is not None  # noqa: S101  told to the type checker: it is there before this begins
        self._trials.run()

    def _waiting(self, why: str) -> None:
        self._trouble = why

    def _in_hand(self) -> int:
        return sum(runner.in_hand for runner in (self._runner, self._trials) if runner is not None)

    def _adapt(self) -> None:
        now = self._clock.monotonic()
        if self._settings.prefetch or now - self._adapted < ADAPT or self._consumer is None:
            return
        self._adapted = now
        better = prefetch(self._pool.cost, self._settings.children)
        if self._pool.cost is not None and worthwhile(self._prefetch, better):
            self._prefetch = better
            self._consumer.resize(better)
            self._show_prefetch()

    def _show_prefetch(self) -> None:
        for judge in self._judges:
            metrics.PREFETCH.labels(judge).set(self._prefetch)

    def _check_broker(self) -> str | None:
        if self._trouble is not None:
            return self._trouble
        if self._consumer is None or not self._consumer.ready:
            return "not registered on every queue"
        if self._dock is None or not self._dock.ready:
            return "a queue for suspects is missing"
        if self._publisher is None or not self._publisher.ready:
            return "cannot publish"
        return None

"""A whole installation for ``manyhands run``: producer, worker and aggregator on one broker."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manyhands import logs
from manyhands import settings as core_settings
from manyhands.broker import Broker
from manyhands.errors import AccessRefused, BrokerError, SettingsError, TopologyConflict
from manyhands.process import broker_of
from manyhands.spec import JobSpec
from manyhands.topology import Topology, topology
from manyhands_aggregator.service import Aggregator
from manyhands_aggregator.settings import AggregatorSettings
from manyhands_cli.jobfile import references
from manyhands_cli.parts import Apart, Here, Part
from manyhands_producer.service import Producer
from manyhands_producer.settings import ProducerSettings
from manyhands_worker.service import Worker
from manyhands_worker.settings import WorkerSettings

_log = logs.get(__name__)

#: Seconds that each service gets to finish what it has in hand.
GRACE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a run is told."""

    broker: str
    store: str
    job_file: Path
    handlers: str | None
    children: int | None


class Installation:
    """Producer, worker and aggregator in the background, on a broker that they share.

    The embedded broker is within one process, so all of them are in this one. On a broker that others can reach, worker
    and aggregator get processes of their own, for one Python process works on one core; this one then only reads from
    the aggregator's store.
    """

    def __init__(self, wanted: Wanted, spec: JobSpec) -> None:
        url = wanted.broker
        # a namespace of its own keeps a run apart from an installation, and from other runs, on the same broker
        digest = hashlib.sha256(f"{wanted.store}\0{spec.digest}".encode()).hexdigest()[:8]
        # its queues and store are its own, so it makes them, whatever the environment says of an installation's; and it
        # has no users of its own
        common: dict[str, Any] = {
            "broker": url, "namespace": f"run-{digest}", "grace": GRACE, "declare": True, "worker_user": "",
        }  # fmt: skip
        producer = core_settings.load(ProducerSettings, store=wanted.store, migrate=True, **common)
        aggregator = core_settings.load(AggregatorSettings, store=wanted.store, migrate=True, **common)
        worker = core_settings.load(
            WorkerSettings,
            handlers=references(spec, wanted.handlers),
            config=wanted.job_file,
            judges=",".join(spec.judge_names),
            children=wanted.children,
            **common,
        )
        self.broker: Broker = broker_of(producer, "manyhands-run")
        self._topology: Topology = topology(producer.names, spec.judge_names)
        self.producer = Producer(producer, self.broker, open_sources=True)
        self.aggregator = Aggregator(aggregator, self.broker)
        apart = self.broker.durable
        #: By name, in the order in which they are stopped.
        self.parts: dict[str, Part] = {
            "producer": Here(self.producer),
            "worker": Apart(Worker, worker) if apart else Here(Worker(worker, self.broker)),
            "aggregator": Apart(Aggregator, aggregator) if apart else Here(self.aggregator),
        }

    def reach(self) -> None:
        """Declare the run's queues; a broker that is not there is waited for later.

        Raises:
            AccessRefused: it is there and refuses the user, which no waiting mends.
            TopologyConflict: it has queues of these names that are of another kind.
        """
        try:
            self.broker.declare(self._topology)
        except (AccessRefused, TopologyConflict):
            raise
        except BrokerError as error:
            _log.debug("not reached yet", error=str(error))

    def start(self) -> None:
        """Start everything in the background.

        Raises:
            HandlerError: the handlers cannot be loaded.
        """
        for part in reversed(self.parts.values()):
            part.start()

    def waiting(self) -> dict[str, str]:
        """What the services still wait for.

        Raises:
            HandlerError: the handlers cannot be loaded.
            PartFailed: the process of a service keeps ending.
        """
        found = {f"{name} {what}": said for name, part in self.parts.items() for what, said in part.waiting().items()}
        if not found and not self.producer.leads:
            found["producer lead"] = "another producer works on this store"
        return found

    def take_over(self, job: str, left: str | None, stop: threading.Event) -> None:
        """Make sure that no other job is at work on a store that is not of this run alone; ``left`` is cancelled.

        This run's producer would publish their tasks too, to queues where nobody takes them.

        Raises:
            SettingsError: the store has jobs of others that are open.
        """
        store = self.producer.store
        if not store.open(stop):
            return
        others = []
        for row in store.live():
            if row.job == left and left != job:
                store.end(row.job, "cancelled", "another run took its place")
            elif row.job != job and row.state in ("open", "sealed"):
                others.append(row.job)
        if others:
            raise SettingsError(
                f"the store has an unfinished job {others[0]}; give this run a store of its own with --store, "
                "or finish or cancel that job first"
            )

    def stop(self, *, remove: bool) -> None:
        """Stop everything; with ``remove`` the run's own queues go too."""
        for part in self.parts.values():
            part.stop(GRACE)
        self.aggregator.store.close()
        if remove and self.broker.durable:
            self.broker.delete(self._topology)
        self.broker.close()

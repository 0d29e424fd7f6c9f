"""A whole installation in this process: producer, worker and aggregator on one broker, for ``manyhands run``."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manyhands import settings as core_settings
from manyhands.broker import Broker, connect
from manyhands.errors import SettingsError
from manyhands.spec import JobSpec
from manyhands.topology import Topology, topology
from manyhands_aggregator.service import Aggregator
from manyhands_aggregator.settings import AggregatorSettings
from manyhands_cli.exits import refused_by_machine
from manyhands_cli.jobfile import references
from manyhands_producer.service import Producer
from manyhands_producer.settings import ProducerSettings
from manyhands_worker.service import Worker
from manyhands_worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a run is told."""

    broker: str
    store: str
    job_file: Path
    handlers: str | None
    children: int | None


class Installation:
    """Producer, worker and aggregator in the background, on a broker that they share."""

    def __init__(self, wanted: Wanted, spec: JobSpec) -> None:
        url = wanted.broker
        # a namespace of its own keeps a run apart from an installation, and from other runs, on the same broker
        digest = hashlib.sha256(f"{wanted.store}\0{spec.digest}".encode()).hexdigest()[:8]
        # its queues are its own, so it declares them, whatever the environment says of an installation's
        common: dict[str, Any] = {"broker": url, "namespace": f"run-{digest}", "grace": 5.0, "declare": True}
        self.broker: Broker = connect(url, name="manyhands-run")
        producer = core_settings.load(ProducerSettings, store=wanted.store, **common)
        aggregator = core_settings.load(AggregatorSettings, store=wanted.store, **common)
        worker = core_settings.load(
            WorkerSettings,
            handlers=references(spec, wanted.handlers),
            config=wanted.job_file,
            judges=",".join(judge.judge for judge in spec.judges),
            children=wanted.children,
            **common,
        )
        self._topology: Topology = topology(producer.names, [judge.judge for judge in spec.judges])
        self.worker = Worker(worker, self.broker)
        self.producer = Producer(producer, self.broker, open_sources=True)
        self.aggregator = Aggregator(aggregator, self.broker)

    def start(self) -> None:
        """Start everything in the background."""
        for service in (self.aggregator, self.worker, self.producer):
            service.start()

    def waiting(self) -> dict[str, str]:
        """What the services still wait for."""
        # a full disk takes the little write of a readiness check and refuses the next batch: what that said counts
        found = {
            f"{name} store": said
            for name, store in (("producer", self.producer.store), ("aggregator", self.aggregator.store))
            if (said := store.trouble) is not None and refused_by_machine(said)
        }
        found |= {
            f"{name} {what}": said
            for name, service in (("producer", self.producer), ("worker", self.worker), ("aggregator", self.aggregator))
            for what, check in service.checks.items()
            if (said := check()) is not None
        }
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
        for service in (self.producer, self.worker, self.aggregator):
            service.stop(5.0)
        if remove and self.broker.durable:
            self.broker.delete(self._topology)
        self.broker.close()

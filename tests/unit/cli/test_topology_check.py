"""What ``manyhands topology check`` finds fault with."""

from __future__ import annotations

from typing import Any

from manyhands.topology import Names, Topology, topology
from manyhands_cli.topology import _problem


class Waiting:
    """A broker of which every queue has two messages, and no consumer."""

    def depth(self, queue: str) -> tuple[int, int]:
        """Two, and nobody."""
        return (2, 0) if queue else (0, 0)

    def declare(self, wanted: Topology) -> None:
        """They are as they should be."""


def test_queues_that_have_no_consumers() -> None:
    """Messages without a consumer are a fault, but for those on the ladder, which come back, and for suspects."""
    broker: Any = Waiting()
    said = {queue.name: _problem(broker, queue) for queue in topology(Names(), ["svm"]).queues}
    assert said["tasks.svm"] == said["dead.tasks"] == "2 messages and nobody takes them"
    well = {f"retry.{rung}" for rung in ("1s", "5s", "30s", "120s", "600s")} | {"suspects.svm"}
    assert {name for name, problem in said.items() if problem is None} == well

"""The topology as RabbitMQ's definitions."""

from __future__ import annotations

from manyhands.topology import Names, topology
from manyhands_cli.topology import definitions


def test_definitions_name_everything() -> None:
    """Every exchange, queue and binding is in them, durable, with its arguments; bindings have both their ends."""
    wanted = topology(Names(namespace="x"), ["svm"])
    said: dict[str, list[dict[str, object]]] = definitions(wanted, "v")  # type: ignore[assignment]
    exchanges = {e["name"] for e in said["exchanges"]}
    queues = {q["name"]: q for q in said["queues"]}
    assert exchanges == {e.name for e in wanted.exchanges}
    assert set(queues) == {q.name for q in wanted.queues}
    assert len(said["bindings"]) == len(wanted.bindings) > 0
    for binding in said["bindings"]:
        assert binding["source"] in exchanges
        assert binding["destination"] in queues
    for queue in wanted.queues:
        assert queues[queue.name]["arguments"] == queue.arguments
    assert all(one["durable"] is True for one in (*said["exchanges"], *said["queues"]))
    assert all(one["vhost"] == "v" for kind in said.values() for one in kind)

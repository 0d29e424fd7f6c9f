"""``manyhands topology``: declare, check, export."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from manyhands import topology as core
from manyhands.broker import connect
from manyhands.errors import BrokerError, TopologyConflict
from manyhands.settings import Settings, load
from manyhands_cli import show
from manyhands_cli.exits import Exit
from manyhands_cli.options import AsJson, BrokerUrl

app = typer.Typer(no_args_is_help=True, help="Exchanges and queues: declare them, check them, export them.")

Judges = Annotated[str, typer.Option(help="The judges whose queues belong to it; several with commas.")]


def _wanted(broker: str | None, judges: str) -> tuple[Settings, core.Topology]:
    settings = load(Settings, broker=broker)
    names = [name.strip() for name in judges.split(",") if name.strip()]
    bad = [name for name in names if not core.JUDGE_NAME.fullmatch(name)]
    if bad:
        raise typer.BadParameter(f"{bad[0]!r}: a judge's name may have small letters, digits, - and _")
    return settings, core.topology(settings.names, names)


@app.command()
def declare(judges: Judges = "", broker: BrokerUrl = None) -> None:
    """Create what is missing. Needs a user who may configure; the services then run with MANYHANDS_DECLARE=false."""
    settings, wanted = _wanted(broker, judges)
    connection = connect(settings.broker.get_secret_value(), name="manyhands-topology")
    try:
        connection.declare(wanted)
    finally:
        connection.close()
    show.OUT.print(f"{len(wanted.exchanges)} exchanges, {len(wanted.queues)} queues, {len(wanted.bindings)} bindings")


@app.command()
def check(judges: Judges = "", broker: BrokerUrl = None, json_: AsJson = False) -> None:
    """Say what is missing, has other arguments, or has nobody who takes from it; exit code 1 if anything."""
    settings, wanted = _wanted(broker, judges)
    connection = connect(settings.broker.get_secret_value(), name="manyhands-topology")
    found: list[dict[str, str]] = []
    try:
        for queue in wanted.queues:
            depth = connection.depth(queue.name)
            if depth is None:
                found.append({"queue": queue.name, "problem": "missing; `manyhands topology declare` creates it"})
                continue
            try:
                connection.declare(core.Topology(queues=(queue,)))
            except TopologyConflict as error:
                found.append({"queue": queue.name, "problem": f"other arguments: {error.detail}"})
            if depth[0] and not depth[1]:
                found.append({"queue": queue.name, "problem": f"{depth[0]} messages and nobody takes them"})
        extra = settings.names.judgments_queue(settings.partitions)
        if connection.depth(extra) is not None:
            said = f"exists, but MANYHANDS_PARTITIONS is {settings.partitions}: judgments in it are never taken"
            found.append({"queue": extra, "problem": said})
        version = connection.version
    except BrokerError:
        raise
    finally:
        connection.close()
    if json_:
        show.as_json({"broker": version, "problems": found})
    elif found:
        show.table(found, ("queue", "problem"))
    else:
        show.OUT.print(f"{len(wanted.queues)} queues are as they should be on {version}")
    raise typer.Exit(Exit.SHORT if found else Exit.OK)


@app.command()
def export(judges: Judges = "") -> None:
    """Print the topology as RabbitMQ definitions (JSON), to import or to read."""
    _, wanted = _wanted(None, judges)
    typer.echo(json.dumps(definitions(wanted), indent=2))


def definitions(wanted: core.Topology, vhost: str = "/") -> dict[str, object]:
    """The topology as RabbitMQ's definitions file has it."""
    return {
        "exchanges": [
            {
                "name": e.name, "vhost": vhost, "type": e.kind, "durable": True, "auto_delete": False,
                "internal": False, "arguments": {"alternate-exchange": e.alternate} if e.alternate else {},
            }
            for e in wanted.exchanges
        ],
        "queues": [
            {"name": q.name, "vhost": vhost, "durable": True, "auto_delete": False, "arguments": q.arguments}
            for q in wanted.queues
        ],
        "bindings": [
            {
                "source": b.exchange, "vhost": vhost, "destination": b.queue, "destination_type": "queue",
                "routing_key": b.key, "arguments": {},
            }
            for b in wanted.bindings
        ],
    }  # fmt: skip

"""``manyhands topology``: declare, check, export."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manyhands import permissions
from manyhands import topology as core
from manyhands.errors import TopologyConflict
from manyhands_cli import definitions, show
from manyhands_cli.exits import Exit
from manyhands_cli.options import AsJson, BrokerUrl

if TYPE_CHECKING:
    from manyhands.broker import Broker
    from manyhands.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="Exchanges and queues: declare them, check them, export them.\n\n"
    "MANYHANDS_NAMESPACE and MANYHANDS_PARTITIONS say which; docs/topology.md shows them.",
)

Judges = Annotated[
    str,
    typer.Option(
        metavar="NAMES", help="The judges whose queues belong to it, with commas between.", show_default=False
    ),
]


def _wanted(broker: str | None, judges: str) -> tuple[Settings, core.Topology]:
    from manyhands.settings import Settings, load

    settings = load(Settings, broker=broker)
    names = _names_of(judges)
    bad = [name for name in names if not core.JUDGE_NAME.fullmatch(name)]
    if bad:
        raise typer.BadParameter(f"{bad[0]!r}: a judge's name may have small letters, digits, - and _")
    return settings, core.topology(settings.names, names)


def _names_of(judges: str) -> list[str]:
    return [name.strip() for name in judges.split(",") if name.strip()]


def _connect(settings: Settings) -> Broker:
    from manyhands import logs
    from manyhands.process import broker_of

    logs.configure("topology", level="error", format="text")
    return broker_of(settings, "manyhands-topology")


@app.command()
def declare(judges: Judges = "", broker: BrokerUrl = None, json_: AsJson = False) -> None:
    """Create what is missing; what is there stays as it is.

    Needs a user who may configure; the services then run as one who may not, with MANYHANDS_DECLARE=false.

    Example: manyhands topology declare --judges svm,forest,neighbours
    """
    settings, wanted = _wanted(broker, judges)
    connection = _connect(settings)
    try:
        connection.declare(wanted)
    finally:
        connection.close()
    counted = {"exchanges": len(wanted.exchanges), "queues": len(wanted.queues), "bindings": len(wanted.bindings)}
    if json_:
        show.as_json(counted)
    else:
        show.line(", ".join(f"{count} {what}" for what, count in counted.items()) + " are there")


@app.command()
def check(judges: Judges = "", broker: BrokerUrl = None, json_: AsJson = False) -> None:
    """Say what is missing, has other arguments, or has messages and nobody who takes them.

    The exit code is 1 if there is anything to say. Looks at exchanges and queues; bindings cannot be seen over AMQP,
    and declaring once more mends them.

    Example: manyhands topology check --judges svm,forest,neighbours
    """
    settings, wanted = _wanted(broker, judges)
    connection = _connect(settings)
    try:
        missing = "missing; `manyhands topology declare` creates it"
        found = [{"name": e.name, "problem": missing} for e in wanted.exchanges if not connection.has_exchange(e.name)]
        found += [{"name": q.name, "problem": said} for q in wanted.queues if (said := _problem(connection, q))]
        extra = settings.names.judgments_queue(settings.partitions)
        if connection.depth(extra) is not None:
            said = f"exists, but MANYHANDS_PARTITIONS is {settings.partitions}: judgments in it are never taken"
            found.append({"name": extra, "problem": said})
        version = connection.version
    finally:
        connection.close()
    if json_:
        show.as_json({"broker": version, "queues": len(wanted.queues), "problems": found})
    elif found:
        show.table(found, ("name", "problem"))
    else:
        counted = f"{len(wanted.exchanges)} exchanges and {len(wanted.queues)} queues"
        show.line(f"{counted} are as they should be on {version}")
    raise typer.Exit(Exit.SHORT if found else Exit.OK)


def _problem(connection: Broker, queue: core.Queue) -> str | None:
    depth = connection.depth(queue.name)
    if depth is None:
        return "missing; `manyhands topology declare` creates it"
    try:
        connection.declare(core.Topology(queues=(queue,)))  # which changes nothing, for it is there
    except TopologyConflict as error:
        return f"other arguments: {error.detail}"
    waiting, consumers = depth
    if queue.pulled or queue.ttl is not None:  # what waits on the retry ladder comes back by itself
        return None
    return f"{waiting} messages and nobody takes them" if waiting and not consumers else None


@app.command()
def export(
    judges: Judges = "",
    vhost: Annotated[str, typer.Option(metavar="NAME", help="The virtual host that all of it is in.")] = "manyhands",
    users: Annotated[bool, typer.Option("--users", help="Add what each service's user may do.")] = False,
    user_per_judge: Annotated[
        bool,
        typer.Option("--user-per-judge", help="Each judge's workers have a user of their own, mh-worker-JUDGE."),
    ] = False,
    passwords: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Add the users, too, with hashes of their passwords: each from the file of the user's name in this "
            "folder, or from MANYHANDS_PASSWORD_ and the user's name, such as MANYHANDS_PASSWORD_MH_PRODUCER.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the topology as RabbitMQ definitions (JSON), to import or to read.

    Needs no broker. With --users it has the rights of each service, with --passwords all that a broker needs to start.

    Example: manyhands topology export --judges svm --passwords secrets > definitions.json
    """
    settings, wanted = _wanted(None, judges)
    said: dict[str, object] = {"vhosts": [{"name": vhost}]}
    if users or user_per_judge or passwords is not None:
        named = _names_of(judges)
        if user_per_judge and not named:
            raise typer.BadParameter("--user-per-judge needs --judges")
        known = permissions.users(settings.names, named, user_per_judge=user_per_judge)
        if passwords is not None:
            found = definitions.read_passwords(known, passwords, os.environ)
            said["users"] = definitions.accounts(known, found)
        said |= definitions.rights(known, vhost)
    said["policies"] = definitions.policies(settings.names, wanted, vhost)
    show.line(json.dumps(said | definitions.definitions(wanted, vhost), indent=2))

"""A later version of Manyhands, as its neighbours would meet it: it says and keeps more than this version knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from pika import BasicProperties
from psycopg import sql

from manyhands import codec
from manyhands.broker import Outgoing, connect
from manyhands.broker.rabbit import publisher
from manyhands.codec import encode
from manyhands.messages import JOB_OPENED, Event
from manyhands.topology import Binding, Names, Topology
from tests.e2e.processes import ROOT

#: What only a later version knows.
LATER: dict[str, Any] = {"x_later": [1, {"of": None}]}
#: Tables that it has another column in, and an event that it tells both roles of.
TABLES = ("producer_jobs", "producer_spool", "aggregator_jobs", "aggregator_suites", "aggregator_judgments")
EVENT = "job.reviewed"


def pretend() -> None:
    """Make this process one of a later version: more keys in every body and in the job file, and more headers."""
    codec._PARTS.update({kind: _more(parts) for kind, parts in codec._PARTS.items()})

    def properties(**given: Any) -> BasicProperties:
        headers = {**(given.pop("headers", None) or {}), "mh-later": "text", "mh-later-table": {"of": [1]}}
        return BasicProperties(headers=headers, **given)

    vars(publisher)["BasicProperties"] = properties


def _more(parts: Callable[[Any], tuple[str, dict[str, Any]]]) -> Callable[[Any], tuple[str, dict[str, Any]]]:
    def said(message: Any) -> tuple[str, dict[str, Any]]:
        name, columns = parts(message)
        if isinstance(message, Event):
            columns["data"] = {**columns["data"], **LATER}
            if message.name == JOB_OPENED:
                spec = columns["data"]["spec"]
                columns["data"]["spec"] = {**spec, "answer": {**spec["answer"], **LATER}, **LATER}
        return name, {**columns, **LATER}

    return said


def environment(folder: Path) -> dict[str, str]:
    """What makes a process, and whatever it starts, one of the later version."""
    (folder / "later").mkdir(exist_ok=True)
    code = (
        f"import sys\nsys.path.insert(0, {json.dumps(str(ROOT))})\nfrom tests.fault.later import pretend\npretend()\n"
    )
    (folder / "later" / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": str(folder / "later")}


def migrate(store: str) -> None:
    """Bring a store on PostgreSQL to the schema of the later version, under whoever is using it."""
    with psycopg.connect(store) as connection:
        for table in TABLES:
            more = sql.SQL("alter table {} add column x_later integer not null default 0")
            connection.execute(more.format(sql.Identifier(table)))
        for service in ("producer", "aggregator"):
            version = sql.SQL("update {} set version_num = '0099'")
            connection.execute(version.format(sql.Identifier(f"{service}_version")))


def tell(broker: str, names: Names, job: str) -> None:
    """An event of the later version, to both roles."""
    exchange, queues = names.exchange("events"), [names.events_queue(role) for role in ("producer", "aggregator")]
    sender = connect(broker)
    sender.declare(Topology(bindings=tuple(Binding(exchange=exchange, queue=queue, key=EVENT) for queue in queues)))
    encoded = encode(Event(name=EVENT, job=job, data=LATER))
    publisher = sender.publisher()
    publisher.publish(Outgoing(exchange=exchange, key=EVENT, body=encoded.body, type=encoded.type), lambda _: None)
    assert publisher.flush(10)
    publisher.close()
    sender.close()

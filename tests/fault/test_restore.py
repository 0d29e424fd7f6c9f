"""Back-up and restore, as docs/operations.md has it: a job half done goes on in an empty broker and an empty store."""

import json
import sqlite3
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fault.stage import FLOWING, HELD, SERVICES, SIZE, Stage, stage
from tests.services import Postgres, RabbitMQ, wait_until

pytestmark = pytest.mark.timeout(300, func_only=True)  # a broker that is reset takes its time


def run(server: Postgres, program: str, database: str, *options: str) -> None:
    """Run one of PostgreSQL's programs on a database: beside the server where it is ours."""
    where = urlsplit(database)
    if not server.restartable:
        subprocess.run([program, f"--dbname={database}", *options], check=True)
        return
    inside = where._replace(
        netloc=f"{where.username}:{where.password}@127.0.0.1:{5432 if server.how == 'docker' else where.port}"
    )
    server.node.run(program, f"--dbname={inside.geturl()}", *options)


def empty(rabbitmq: RabbitMQ, definitions: str) -> None:
    """Make the broker a new one with the definitions of the old one: every queue is there, with nothing in it."""
    for step in (["stop_app"], ["reset"], ["start_app"], ["await_startup"], ["import_definitions", definitions]):
        rabbitmq.ctl(*step)


def messages(rabbitmq: RabbitMQ) -> int:
    """How many messages the broker holds."""
    rows = json.loads(rabbitmq.ctl("list_queues", "--silent", "--formatter=json", "messages"))
    return sum(int(row["messages"]) for row in rows)


def is_noted(running: Stage, job: str) -> bool:
    """Whether the producer's store has it that suites are published which are not settled."""
    said = running.get(f"/api/jobs/{job}/audit", "producer")
    return bool(said) and said["settled"] * SIZE == HELD and said["published"] > said["settled"]


def lost(running: Stage) -> None:
    """Everything dies at once."""
    for service in SERVICES:
        running.processes[service].kill()


def goes_on(running: Stage, job: str) -> None:
    """Started again, the services have the job as it was; published again, it ends with every answer."""
    running.start()
    running.ready()
    assert running.get(f"/api/jobs/{job}")["state"] == "open"
    assert running.command("republish") == [{"job": job, "republished": True}]
    running.completes(job)


@pytest.mark.drill
def test_restore_postgresql(private_rabbitmq: RabbitMQ, postgres: Postgres, namespace: str, tmp_path: Path) -> None:
    """Backed up while it runs, lost later: what was done since is done again, and counts once."""
    store, file, definitions = postgres.database(), f"/tmp/{namespace}.dump", f"/tmp/{namespace}.json"
    with stage(tmp_path, private_rabbitmq.url, store, namespace) as running:
        running.start()
        running.ready()
        job = running.submit()
        running.reaches(job, FLOWING)
        run(postgres, "pg_dump", store, "--format=custom", f"--file={file}")
        private_rabbitmq.ctl("export_definitions", definitions)
        running.reaches(job, 2 * FLOWING)
        lost(running)

        empty(private_rabbitmq, definitions)
        wait_until(lambda: messages(private_rabbitmq) == 0, 30, "an empty broker")
        restored = postgres.database()
        run(postgres, "pg_restore", restored, "--no-owner", "--exit-on-error", file)
        running.settings(MANYHANDS_STORE=restored)
        goes_on(running, job)


@pytest.mark.drill
def test_restore_sqlite(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """The producer stands while its file is copied and then the aggregator's; the queues are another namespace's."""
    for folder in ("before", "copy"):
        (tmp_path / folder).mkdir()
    with stage(tmp_path, rabbitmq.url, f"sqlite:///{tmp_path}/before/m.db", namespace) as running:
        running.start()
        running.ready()
        job = running.submit()
        running.reaches(job, FLOWING)
        assert running.processes["producer"].terminate() == 0
        for service in ("producer", "aggregator"):
            with sqlite3.connect(tmp_path / "before" / f"m-{service}.db") as connection:
                connection.execute("VACUUM INTO ?", [str(tmp_path / "copy" / f"m-{service}.db")])
            connection.close()
        running.start("producer")
        running.reaches(job, 2 * FLOWING)
        lost(running)

    with stage(tmp_path, rabbitmq.url, f"sqlite:///{tmp_path}/copy/m.db", f"{namespace}-new") as running:
        goes_on(running, job)


def test_a_broker_that_lost_everything(private_rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """The stores are whole and the broker is new: nobody says anything, and the job ends all the same."""
    store, definitions = f"sqlite:///{tmp_path}/m.db", f"/tmp/{namespace}.json"
    with stage(tmp_path, private_rabbitmq.url, store, namespace, MANYHANDS_REPUBLISH_AFTER="2") as running:
        running.start()
        running.ready()
        job = running.submit()
        running.reaches(job, HELD)
        wait_until(lambda: is_noted(running, job), 30, "the producer to note what is on its way")
        private_rabbitmq.ctl("export_definitions", definitions)
        lost(running)
        empty(private_rabbitmq, definitions)
        running.open_gate()  # or there would always be suites that wait for the held ones
        running.start()
        running.ready()
        running.said("producer", "the job stands still")
        running.completes(job)

"""Secrets are rotated as docs/operations.md says, on services at work: nothing stops, and nothing is lost.

While a user, a role, a token, a certificate or the authority of all certificates takes the place of another, tasks are
pushed and judged without a pause; then every one of them has its answer, and nobody uses the old secret any more.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from psycopg import sql

from manyhands.tls import Files, client_context
from tests import encrypted
from tests.e2e.processes import Installation, Process
from tests.services import Postgres, RabbitMQ, wait_until
from tests.unit.certificates import Authority

pytestmark = pytest.mark.timeout(600, func_only=True)

HANDLERS = """
from manyhands import judge


@judge("echo")
def echo(text):
    return text
"""
SPEC = {"name": "rotation", "answer": {"type": "text"}, "stages": [{"judges": ["echo"]}], "suite": 5}
OLD, NEW = datetime(2039, 1, 1, tzinfo=UTC), datetime(2041, 1, 1, tzinfo=UTC)


class Rolled(Installation):
    """An installation with TLS and secrets from files, whose every replica is replaced by a new one when it is told."""

    def __init__(self, broker: RabbitMQ, database: Postgres, namespace: str, folder: Path) -> None:
        self.broker, self.database, self.folder, self.namespace = broker, database, folder, namespace
        self.authority = Authority(folder / "pki")
        #: whom everybody trusts: a file of its own, for it may come to hold two authorities
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self.authority.pem.read_bytes())
        self.issue(self.authority, OLD)
        url = encrypted.rabbitmq_from_files(broker, self.served, self.ca)
        encrypted.postgres(database, self.served)
        self.user, self.role = f"{namespace}-a", f"{namespace}_a"
        self.amqp, self.store = urlsplit(url), urlsplit(self._database())
        self.add_user(self.user)
        (folder / "secrets").mkdir()
        self.token = "first-token"
        self.tell(api_token=self.token)
        self.use(self.user, self.role)
        (folder / "handlers.py").write_text(HANDLERS)
        env = {
            "MANYHANDS_SECRETS": str(folder / "secrets"), "MANYHANDS_BROKER_CA": str(self.ca),
            "MANYHANDS_BROKER_CERT": str(self.client.cert), "MANYHANDS_BROKER_KEY": str(self.client.key),
            "MANYHANDS_TLS_CERT": str(self.http.cert), "MANYHANDS_TLS_KEY": str(self.http.key),
            "MANYHANDS_CA": str(self.ca),
        }  # fmt: skip
        super().__init__("", "", namespace, ("--handlers", str(folder / "handlers.py")), 1, env)

    def issue(self, authority: Authority, until: datetime) -> None:
        """Certificates of the services, of their clients' side, and of RabbitMQ and PostgreSQL, in their place."""
        self.http, self.client, self.served = (
            authority.issue(host, name=name, until=until)
            for host, name in (("127.0.0.1", "http"), ("us", "client"), ("localhost", "served"))
        )

    def tell(self, **secrets: str) -> None:
        """Write secrets into their files."""
        for name, value in secrets.items():
            (self.folder / "secrets" / f"manyhands_{name}").write_text(f"{value}\n")

    def use(self, user: str, role: str) -> None:
        """Write into the files of whom the services are to log in as."""
        at = f"localhost:{self.store.port}"
        store = self.store._replace(netloc=f"{role}:{role}-password@{at}").geturl()
        at = f"localhost:{self.amqp.port}"
        amqp = self.amqp._replace(netloc=f"{user}:{user}-password@{at}").geturl()
        self.tell(broker=amqp, store=encrypted.verified(store, self.ca))

    def add_user(self, user: str) -> None:
        """A user of RabbitMQ."""
        self.broker.ctl("add_user", user, f"{user}-password")
        self.broker.ctl("set_permissions", "-p", "/", user, ".*", ".*", ".*")

    def sql(self, *statements: str) -> list[Any]:
        """Statements of the superuser, in the database; what the last of them found."""
        with psycopg.connect(self.store.geturl(), autocommit=True) as connection:
            for statement in statements:
                found = connection.execute(statement.encode())
            return found.fetchall() if found.description else []

    def _database(self) -> str:
        url = self.database.database()
        with psycopg.connect(self.database.url, autocommit=True) as connection:
            role, name = sql.Identifier(self.role), sql.Identifier(urlsplit(url).path[1:])
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, f"{self.role}-password"))
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, role))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(role))
        return url

    def ask(self, method: str, url: str, path: str, token: str = "", **options: Any) -> httpx.Response:
        """A request of a client with the one token that it has."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        context = client_context(Files(ca=self.ca))
        return httpx.request(method, url + path, headers=headers, verify=context, timeout=30, **options)

    def roll(self) -> None:
        """Replace one replica after the other; each is ready before the one in whose place it comes is told to stop."""
        for old in list(self.processes):
            if old in self.workers:
                new = self.add_worker()
                self.workers[self.workers.index(old)] = new
            else:
                role = "producer" if old is self.producer else "aggregator"
                new = self.add(role)
                setattr(self, role, new)
            self._is_ready(new)
            self.env["MANYHANDS_PRODUCER_URL"] = self.producer.url
            self.env["MANYHANDS_AGGREGATOR_URL"] = self.aggregator.url
            self.processes.remove(old)
            assert old.terminate() == 0

    def _is_ready(self, process: Process) -> None:
        wait_until(
            lambda: self.ask("GET", process.url, "/readyz").is_success, 90, "the new replica to be ready", every=0.5
        )

    def connected(self) -> set[str]:
        """The users of RabbitMQ that are connected."""
        return set(self.broker.ctl("-q", "list_connections", "user").split()) - {"user"}

    def logged_in(self) -> set[str]:
        """The roles of PostgreSQL that are connected to the database."""
        asked = "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = current_database()"
        return {row[0] for row in self.sql(asked)} - {self.store.username}


class Traffic:
    """A job to which tasks are pushed for as long as it lasts, by a client that asks again where it got no answer."""

    def __init__(self, running: Rolled) -> None:
        self._running, self.pushed = running, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._push, name="traffic")
        self.refusals: list[str] = []

    def __enter__(self) -> Traffic:
        made = self._running.ask("POST", self._running.producer.url, "/api/jobs", json={"spec": SPEC})
        assert made.status_code == 201, made.text
        self.job: str = made.json()["job"]
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _push(self) -> None:
        while not self._over.wait(0.2):
            tasks = [{"payload": f"task {self.pushed + n}"} for n in range(10)]
            body = {"tasks": tasks, "first": self.pushed}
            try:
                said = self._running.ask("POST", self._running.producer.url, f"/api/jobs/{self.job}/tasks", json=body)
            except (httpx.TransportError, ssl.SSLError):
                continue  # a replica that has just stopped; another has its place
            if said.is_success:
                self.pushed = said.json()["tasks"]
            elif said.status_code != 503:
                self.refusals.append(said.text)

    def _answered(self) -> int:
        try:
            said = self._running.ask("GET", self._running.aggregator.url, f"/api/jobs/{self.job}")
        except (httpx.TransportError, ssl.SSLError):
            return 0
        return int(said.json()["answered"]) if said.is_success else 0

    def goes_on(self) -> None:
        """Wait until tasks that were pushed from now on have answers."""
        target = self.pushed + 50
        wait_until(lambda: self._answered() >= target, 90, f"{target} answers of {self.job}", every=0.5)

    def ends(self) -> None:
        """Push no more: every task has its answer, which is its own."""
        self.__exit__()
        assert self.refusals == [], self.refusals[:3]
        assert self._running.ask("POST", self._running.producer.url, f"/api/jobs/{self.job}/seal").is_success
        wait_until(lambda: self._running.json("status", self.job)["state"] == "complete", 90, "the job's end")
        listed = self._running.command("results", self.job, "--format", "jsonl")
        answers = [json.loads(line)["answer"] for line in listed.stdout.splitlines()]
        assert answers == [f"task {n}" for n in range(self.pushed)]


@contextmanager
def rolled(broker: RabbitMQ, database: Postgres, namespace: str, folder: Path) -> Iterator[tuple[Rolled, Traffic]]:
    """An installation under load: at its end all that was pushed is answered, and the books balance."""
    running = Rolled(broker, database, namespace, folder)
    try:
        with Traffic(running) as traffic:
            traffic.goes_on()
            yield running, traffic
            traffic.goes_on()
            traffic.ends()
        running.balances()
    finally:
        for process in reversed(running.processes):
            process.terminate()


Started = Callable[[], Any]


@pytest.fixture
def start(own_rabbitmq: RabbitMQ, own_postgres: Postgres, namespace: str, tmp_path: Path) -> Started:
    """Starts such an installation."""
    return lambda: rolled(own_rabbitmq, own_postgres, namespace, tmp_path)


@pytest.mark.drill
def test_a_user_of_the_broker(start: Started, own_rabbitmq: RabbitMQ) -> None:
    """A second user is let in, everybody moved, the first deleted."""
    with start() as (running, traffic):
        new = f"{running.user[:-1]}b"
        running.add_user(new)
        running.use(new, running.role)
        assert running.connected() == {running.user}
        running.roll()
        wait_until(lambda: running.connected() == {new}, 60, "nobody to be left under the old name")
        own_rabbitmq.ctl("delete_user", running.user)
        traffic.goes_on()


@pytest.mark.drill
def test_the_database(start: Started) -> None:
    """A second role has all that the first had, everybody moves, the first can log in no more; what is made is kept."""
    with start() as (running, traffic):
        first, owner, second = running.role, f"{running.role[:-1]}owner", f"{running.role[:-1]}b"
        quoted = [f'"{name}"' for name in (first, owner, second)]
        old, everything, new = quoted
        running.sql(
            f"CREATE ROLE {everything} NOLOGIN",
            f"GRANT {everything} TO {old}",
            f"REASSIGN OWNED BY {old} TO {everything}",
            f"GRANT CREATE ON SCHEMA public TO {everything}",
        )
        traffic.goes_on()
        running.sql(
            f"CREATE ROLE {new} LOGIN PASSWORD '{second}-password' IN ROLE {everything}",
            f"ALTER ROLE {new} SET role TO {everything}",
        )
        running.use(running.user, second)
        running.roll()
        wait_until(lambda: running.logged_in() == {second}, 60, "nobody to be left under the old name")
        running.sql(f"REVOKE {everything} FROM {old}", f"ALTER ROLE {old} NOLOGIN")
        traffic.goes_on()
        store = running.store._replace(netloc=f"{second}:{second}-password@localhost:{running.store.port}").geturl()
        with psycopg.connect(encrypted.verified(store, running.ca), autocommit=True) as connection:
            connection.execute("CREATE TABLE of_a_later_version (x int)")
        assert running.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'of_a_later_version'") == [(owner,)]


@pytest.mark.drill
def test_the_token(start: Started) -> None:
    """Services take both tokens while clients change theirs; then the old one is refused."""
    with start() as (running, traffic):
        old, new = running.token, "second-token"
        running.tell(api_token=f"{new},{old}")
        running.roll()
        traffic.goes_on()
        running.token = new
        traffic.goes_on()
        running.tell(api_token=new)
        running.roll()
        refused = running.ask("GET", running.producer.url, "/api/jobs", token=old)
        assert refused.status_code == 401


def expiries(running: Rolled, process: Process) -> dict[str, float]:
    """When the certificates end that a process uses, by its metrics."""
    name = "manyhands_certificate_expires_timestamp_seconds"
    lines = running.ask("GET", process.url, "/metrics").text.splitlines()
    found = (line.partition("} ") for line in lines if line.startswith(name))
    return {labels.split('"')[1]: float(value) for labels, _, value in found}


def test_certificates(start: Started, own_rabbitmq: RabbitMQ, own_postgres: Postgres) -> None:
    """New files in the place of the old: HTTP has them at once, the broker for new connections, clients when rolled."""
    with start() as (running, traffic):
        assert expiries(running, running.producer) == {"http": OLD.timestamp(), "broker": OLD.timestamp()}
        before = {process.pid for process in running.processes}
        running.issue(running.authority, NEW)
        for process in running.processes:
            assert expiries(running, process)["http"] == NEW.timestamp()
        encrypted.renew_rabbitmq(own_rabbitmq, running.served, running.ca)
        encrypted.postgres(own_postgres, running.served)
        traffic.goes_on()
        assert before == {process.pid for process in running.processes}, "none of it took a restart"
        running.roll()
        for process in running.processes:
            assert expiries(running, process) == {"http": NEW.timestamp(), "broker": NEW.timestamp()}


@pytest.mark.drill
def test_the_authority(start: Started, own_rabbitmq: RabbitMQ, own_postgres: Postgres) -> None:
    """Three rounds: trust both, issue everything anew, trust the new one alone."""
    with start() as (running, traffic):
        old, new = running.authority, Authority(running.folder / "pki", name="second")
        running.ca.write_bytes(old.pem.read_bytes() + new.pem.read_bytes())
        encrypted.renew_rabbitmq(own_rabbitmq, running.served, running.ca)
        running.roll()
        traffic.goes_on()

        running.issue(new, NEW)
        encrypted.renew_rabbitmq(own_rabbitmq, running.served, running.ca)
        encrypted.postgres(own_postgres, running.served)
        running.roll()
        traffic.goes_on()

        running.ca.write_bytes(new.pem.read_bytes())
        encrypted.renew_rabbitmq(own_rabbitmq, running.served, running.ca)
        running.roll()
        traffic.goes_on()
        with pytest.raises(httpx.ConnectError, match="certificate"):
            httpx.get(f"{running.producer.url}/healthz", verify=client_context(old.trusted))

"""Real servers for tests: RabbitMQ and PostgreSQL by URL, from Docker, or from the programs installed here.

In this order, and never a silent skip:

1. ``MANYHANDS_TEST_AMQP_URL`` / ``MANYHANDS_TEST_POSTGRES_URL``: a server somebody else runs;
2. Docker through testcontainers, where the engine answers and has (or can pull) the image;
3. a private node of the installed program: free ports, own data folder, so that tests may kill it;
4. as root on Debian or Ubuntu, the same after installing the package;
5. else `NoServiceError`, which says what was tried and what to install.

``MANYHANDS_TEST_SERVICES=docker`` or ``=local`` forces one way, to try both brokers on one machine.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import pika
import psycopg
from pika.exceptions import AMQPError
from psycopg import sql

from tests.nodes import PLUGIN_PORT, POSTGRES, RABBITMQ, Node, NoServiceError, Recipe, provide

#: seconds a server may take to accept connections: a cold RabbitMQ on two busy cores needs about 20
START_TIMEOUT = 120

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout: float, what: str, *, every: float = 0.1) -> T:
    """Return the first true value of `predicate`, asked every `every` seconds; `TimeoutError` after `timeout`."""
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s in vain: {what}")
        time.sleep(every)
    return value


def rabbitmq() -> RabbitMQ:
    """Return a RabbitMQ that accepts connections; it may be shared, so leave it running."""
    return RabbitMQ.given() or RabbitMQ.own()


def private_rabbitmq() -> RabbitMQ:
    """Return a fresh RabbitMQ of one's own, to kill and start at will."""
    return RabbitMQ.own()


def postgres() -> Postgres:
    """Return a PostgreSQL that accepts connections; it may be shared, so leave it running."""
    return Postgres.given() or Postgres.own()


def private_postgres() -> Postgres:
    """Return a fresh PostgreSQL of one's own, to kill and start at will."""
    return Postgres.own()


class Service:
    """A server under test: where it is, how it was got, and the switches to kill it and bring it back."""

    recipe: ClassVar[Recipe]
    #: every server got in this process, for the report, and to be closed at its end
    known: ClassVar[list[Service]] = []

    def __init__(self, url: str, how: str, node: Node | None) -> None:
        self.url = url
        self.how = how
        #: what the server says of itself when it answers
        self.version = ""
        self._node = node

    @classmethod
    def given(cls) -> Self | None:
        """Return the server whose URL is in the environment, once it answers, or None if there is no such URL."""
        url = os.environ.get(cls.recipe.variable)
        if not url or os.environ.get("MANYHANDS_TEST_SERVICES"):
            return None
        return cls(url, "url", None)._ready()

    @classmethod
    def own(cls) -> Self:
        """Return a server started for the caller alone, once it answers."""
        return cls(*provide(cls.recipe))._ready()

    def __str__(self) -> str:
        return f"{self.recipe.title} {self.version} ({self.how})"

    @property
    def restartable(self) -> bool:
        """Whether `kill`, `stop` and `start` may be used: not on a server that somebody else runs."""
        return self._node is not None

    @property
    def node(self) -> Node:
        """The container or process behind it."""
        if self._node is None:
            raise RuntimeError(f"this {self.recipe.title} was given by {self.recipe.variable}; tests may not stop it")
        return self._node

    def kill(self) -> None:
        """End the server as SIGKILL does, in the middle of whatever it is doing."""
        self.node.kill()

    def stop(self) -> None:
        """End the server in an orderly way; its data stay."""
        self.node.stop()

    def freeze(self) -> None:
        """Have the server do nothing at all; connections to it stand, and new ones can be made."""
        self.node.freeze()

    def thaw(self) -> None:
        """Let the server go on."""
        self.node.thaw()

    def start(self) -> None:
        """Start the server with the data and port it had, and return when it accepts connections."""
        self.node.start()
        self._wait()

    def close(self) -> None:
        """End the server for good and remove its data."""
        if self._node is not None:
            self._node.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ready(self) -> Self:
        try:
            self._wait()
        except BaseException:
            self.close()
            raise
        Service.known.append(self)
        return self

    def _wait(self) -> None:
        where = urlsplit(self.url)
        what = f"{self.recipe.title} at {where.hostname}:{where.port} to answer"
        try:
            self.version = wait_until(self._ask_version_of_running, START_TIMEOUT, what, every=0.25)
        except TimeoutError as late:
            if self._node is not None:
                late.add_note(self._node.log())
            raise

    def _ask_version_of_running(self) -> str:
        # a node may end while it starts, say because the killed one has not let go of its memory yet: again, then
        if self._node is not None and not self._node.running:
            self._node.start()
        return self._ask_version()

    def _ask_version(self) -> str:
        """Return the version, or nothing if the server does not answer."""
        raise NotImplementedError


class RabbitMQ(Service):
    """A RabbitMQ node; `url` is an AMQP URL of a user who may do everything."""

    recipe = RABBITMQ

    def ctl(self, *arguments: str) -> str:
        """Run ``rabbitmqctl`` on the node, for instance to raise an alarm, and return what it prints."""
        return self.node.run("rabbitmqctl", *arguments)

    def load(self, definitions: Mapping[str, Any]) -> None:
        """Import definitions: virtual hosts, users, rights, queues."""
        if self._node is not None:
            path = self._node.put("imported.json", json.dumps(definitions).encode())
            self.ctl("import_definitions", path)
        else:
            self._management("POST", "definitions", definitions)

    def remove(self, vhost: str, users: Iterable[str]) -> None:
        """Remove a virtual host with all that is in it, and users."""
        if self._node is not None:
            self.ctl("delete_vhost", vhost)
            for user in users:
                self.ctl("delete_user", user)
        else:
            self._management("DELETE", f"vhosts/{quote(vhost, safe='')}")
            for user in users:
                self._management("DELETE", f"users/{quote(user, safe='')}")

    def url_of(self, user: str, password: str, vhost: str) -> str:
        """The AMQP URL of another user."""
        where = urlsplit(self.url)
        netloc = f"{quote(user, safe='')}:{password}@{where.hostname}:{where.port}"
        return where._replace(netloc=netloc, path=f"/{quote(vhost, safe='')}").geturl()

    @staticmethod
    def _management(method: str, path: str, body: Mapping[str, Any] | None = None) -> None:
        url = os.environ.get("MANYHANDS_TEST_MANAGEMENT_URL")
        if not url:
            raise NoServiceError(
                f"{RABBITMQ.variable} names a RabbitMQ of which nothing but AMQP is known, and this test makes users: "
                "set MANYHANDS_TEST_MANAGEMENT_URL to http://USER:PASSWORD@HOST:15672 of its management plugin, with a "
                f"user who may administer, or unset {RABBITMQ.variable} for a node of the tests' own"
            )
        httpx.request(method, f"{url.rstrip('/')}/api/{path}", json=body, timeout=60).raise_for_status()

    def metrics(self) -> str:
        """Have the node serve metrics by its Prometheus plugin; returns host and port of ``/metrics``."""
        self.node.run("rabbitmq-plugins", "enable", "rabbitmq_prometheus")
        return f"{urlsplit(self.url).hostname}:{self.node.port(PLUGIN_PORT)}"

    def settle(self) -> None:
        """Have the node write its list of quorum queues now, so that a kill spares the ones just declared.

        It writes that list about half a second late; a kill before then brings a queue just declared back empty, and
        with it go messages that were confirmed (seen on 4.3: "configured member of queue ... was not found").
        """
        self.ctl("eval", "[dets:sync(Table) || Table <- dets:all()].")

    def _ask_version(self) -> str:
        with _quiet("pika"):
            try:
                connection = pika.BlockingConnection(pika.URLParameters(self.url))
            except (AMQPError, OSError):
                return ""
            with connection:
                return str(connection._impl.server_properties["version"])


class Postgres(Service):
    """A PostgreSQL server; `url` is ``postgresql://user:password@host:port/database``."""

    recipe = POSTGRES

    def __init__(self, url: str, how: str, node: Node | None) -> None:
        # SQLAlchemy may have the driver in the scheme (postgresql+psycopg); others do not know that form
        super().__init__(urlsplit(url)._replace(scheme="postgresql").geturl(), how, node)
        self._databases: list[str] = []

    def database(self, tablespace: str = "pg_default") -> str:
        """Create an empty database and return its URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with self._connect() as connection:
            made = sql.SQL("CREATE DATABASE {} TABLESPACE {}")
            connection.execute(made.format(sql.Identifier(name), sql.Identifier(tablespace)))
        self._databases.append(name)
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def close(self) -> None:
        """End the server for good; of one that somebody else runs, only remove the databases made here."""
        while self._node is None and self._databases:
            with self._connect() as connection:
                name = sql.Identifier(self._databases.pop())
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        super().close()

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url, autocommit=True, connect_timeout=5)

    def _ask_version(self) -> str:
        try:
            with self._connect() as connection:
                row = connection.execute("SHOW server_version").fetchone()
        except psycopg.OperationalError:
            return ""
        return str(row[0]).split()[0] if row else ""


@atexit.register
def _close_all() -> None:
    for service in Service.known:
        service.close()


@contextmanager
def _quiet(logger_name: str) -> Iterator[None]:
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)

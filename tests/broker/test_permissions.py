"""Least privilege on a real RabbitMQ: each service works as its own user, and what it must not do is refused."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker, UnroutableError

from manyhands.broker import connect
from manyhands.codec import encode
from manyhands.errors import BrokerError
from manyhands.messages import Judgments, Message, Suite
from manyhands.permissions import users
from manyhands.topology import Names, topology
from tests.e2e.processes import Installation, command
from tests.services import Postgres, RabbitMQ, wait_until

JUDGES = ("a", "b", "c")


@dataclass(frozen=True, kw_only=True)
class Secured:
    """A virtual host with the topology, and a password for each of its users."""

    broker: RabbitMQ
    names: Names
    vhost: str
    passwords: dict[str, str]

    def user(self, name: str) -> str:
        """A user's full name: that of the installation's namespace."""
        return self.names.queue(name)

    def url(self, name: str) -> str:
        """The AMQP URL of a user."""
        return self.broker.url_of(self.user(name), self.passwords[self.user(name)], self.vhost)

    @contextmanager
    def channel(self, name: str) -> Iterator[Any]:
        """A channel of a user, with confirms."""
        with pika.BlockingConnection(pika.URLParameters(self.url(name))) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel


@pytest.fixture(scope="module")
def secured(rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """What `manyhands topology export` writes, loaded into the broker: with one user for all workers, and with each."""
    folder = tmp_path_factory.mktemp("passwords")
    vhost = namespace = f"t-{uuid.uuid4().hex[:8]}"
    names = Names(namespace=namespace)
    passwords = {
        user: secrets.token_hex(16)
        for each in (False, True)
        for user in users(names, JUDGES, user_per_judge=each)
    }  # fmt: skip
    for user, password in passwords.items():
        (folder / user).write_text(f"{password}\n")
    try:
        for options in ([], ["--user-per-judge"]):
            given = ["--judges", ",".join(JUDGES), "--vhost", vhost, "--passwords", str(folder), *options]
            exported = command("topology", "export", *given, env={"MANYHANDS_NAMESPACE": namespace})
            assert exported.returncode == 0, exported.stderr
            assert not any(password in exported.stdout for password in passwords.values())
            rabbitmq.load(json.loads(exported.stdout))
        made = Secured(broker=rabbitmq, names=names, vhost=vhost, passwords=passwords)
        # rabbitmqctl returns before everything is there
        wait_until(lambda: loaded(made), 60, "the definitions to be loaded")
        yield made
    finally:
        rabbitmq.remove(vhost, passwords)


def loaded(secured: Secured) -> bool:
    """Whether the last user may do what it is to be able to do, and every queue is there."""
    admin = connect(secured.url("mh-admin"))
    try:
        connect(secured.url(f"mh-worker-{JUDGES[-1]}")).depth(secured.names.tasks_queue(JUDGES[-1]))
        return all(admin.depth(queue.name) is not None for queue in topology(secured.names, JUDGES).queues)
    except BrokerError:
        return False


def test_the_definitions_are_what_declare_makes(secured: Secured) -> None:
    """`topology check`, as the admin, finds nothing; `topology declare` finds nothing to change, and adds a judge."""
    env = {"MANYHANDS_BROKER": secured.url("mh-admin"), "MANYHANDS_NAMESPACE": secured.names.namespace}
    checked = command("topology", "check", "--judges", ",".join(JUDGES), env=env)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    declared = command("topology", "declare", "--judges", "a,later", env=env)
    assert declared.returncode == 0, declared.stderr
    assert command("topology", "check", "--judges", "a,later", env=env).returncode == 0


# -- what is refused ---------------------------------------------------------------------------------------------------

#: What one may try on the broker, by a name that says what: given the installation's names and a channel.
Operation = Callable[[Names, Any], object]


def publish(exchange: str, key: str) -> Operation:
    """Publish to one of the exchanges."""
    return lambda names, channel: send(channel, names.exchange(exchange), key)


def take(queue: str) -> Operation:
    """Take a message from a queue."""
    return lambda names, channel: channel.basic_get(names.queue(queue))


def send(channel: Any, exchange: str, key: str, body: bytes = b"x", **properties: Any) -> None:
    """Publish, and wait for the confirm."""
    with contextlib.suppress(UnroutableError):  # which is allowed
        channel.basic_publish(exchange, key, body, pika.BasicProperties(delivery_mode=2, **properties), mandatory=True)


ANYBODY: dict[str, Operation] = {
    "declare a queue": lambda _, c: c.queue_declare("mine", durable=True),
    "declare a queue without a name": lambda _, c: c.queue_declare(""),
    "declare a queue of ours": lambda n, c: c.queue_declare(n.tasks_queue("new"), durable=True),
    "declare an exchange": lambda n, c: c.exchange_declare(n.exchange("more"), "topic"),
    "delete a queue": lambda n, c: c.queue_delete(n.tasks_queue("a")),
    "delete an exchange": lambda n, c: c.exchange_delete(n.exchange("tasks")),
    "bind a queue": lambda n, c: c.queue_bind(n.queue("retry.1s"), n.exchange("tasks"), "a"),
    "unbind a queue": lambda n, c: c.queue_unbind(n.tasks_queue("a"), n.exchange("tasks"), "a"),
    "bind an exchange": lambda n, c: c.exchange_bind(n.exchange("dead"), n.exchange("judgments"), "0"),
    "bind to the judgments": lambda n, c: c.queue_bind(n.tasks_queue("a"), n.exchange("judgments"), "0"),
    "publish round the exchanges": lambda n, c: send(c, "", n.tasks_queue("a")),
    "publish to amq.topic": lambda _, c: send(c, "amq.topic", "a"),
    "publish to mh.unrouted": publish("unrouted", "a"),
    "publish an unknown event": publish("events", "job.exploded"),
    "take retries": take("retry.1s"),
    "purge judgments of others": lambda n, c: c.queue_purge(n.queue("retry.1s")),
}
REFUSED: dict[str, dict[str, Operation]] = {
    "mh-producer": {
        "judge": publish("judgments", "0"),
        "retry": publish("retry", "a.1s"),
        "say what is settled": publish("events", "suites.settled"),
        "complete a job": publish("events", "job.completed"),
        "set tasks aside": publish("dead", "tasks.a"),
        "set judgments aside": publish("dead", "judgments.0"),
        "publish as if it came back": publish("tasks", "a.1s"),
        "take suites": take("tasks.a"),
        "take judgments": take("judgments.0"),
        "take the aggregator's events": take("events.aggregator"),
        "take dead letters": take("dead.tasks"),
    },
    "mh-worker-a": {
        "hand out a suite": publish("tasks", "a"),
        "hand out another's suite": publish("tasks", "b"),
        "open a job": publish("events", "job.opened"),
        "cancel a job": publish("events", "job.cancelled"),
        "complete a job": publish("events", "job.completed"),
        "retry another's": publish("retry", "b.1s"),
        "retry after a delay that is none": publish("retry", "a.2s"),
        "set another's tasks aside": publish("dead", "tasks.b"),
        "set judgments aside": publish("dead", "judgments.0"),
        "set events aside": publish("dead", "events.job.opened"),
        "take another's suites": take("tasks.b"),
        "consume another's suites": lambda n, c: c.basic_consume(n.tasks_queue("b"), lambda *_: None),
        "take judgments": take("judgments.0"),
        "take events": take("events.producer"),
        "take dead letters": take("dead.tasks"),
        "purge another's suites": lambda n, c: c.queue_purge(n.tasks_queue("b")),
    },
    "mh-worker": {
        "hand out a suite": publish("tasks", "a"),
        "retry for an unknown judge": publish("retry", "d.1s"),
        "take an unknown judge's suites": take("tasks.later"),
    },
    "mh-aggregator": {
        "retry": publish("retry", "a.1s"),
        "set tasks aside": publish("dead", "tasks.a"),
        "take suites": take("tasks.a"),
        "take the producer's events": take("events.producer"),
        "purge suites": lambda n, c: c.queue_purge(n.tasks_queue("a")),
    },
    "mh-monitor": {
        "hand out a suite": publish("tasks", "a"),
        "judge": publish("judgments", "0"),
        "take dead letters": take("dead.tasks"),
        "take suites": take("tasks.a"),
    },
    "mh-admin": {},
}
#: What of the above an admin may do, or what is no operation of others'.
ADMIN = {"publish round the exchanges", "publish to amq.topic", "declare a queue", "declare a queue without a name",
         "declare an exchange"}  # fmt: skip


@pytest.mark.parametrize(
    ("user", "what"),
    [
        (user, what)
        for user, own in REFUSED.items()
        for what in [*(w for w in ANYBODY if user != "mh-admin" or w in ADMIN), *own]
    ],
)
def test_refused(secured: Secured, user: str, what: str) -> None:
    """The broker refuses it, whatever the client is."""
    operation = REFUSED[user].get(what) or ANYBODY[what]
    with secured.channel(user) as channel, pytest.raises(ChannelClosedByBroker) as refused:
        operation(secured.names, channel)
    assert refused.value.reply_code == 403, refused.value
    assert "refused" in refused.value.reply_text


def test_nobody_signs_as_another(secured: Secured) -> None:
    """RabbitMQ vouches for the user that a message bears: it must be the one who is connected."""
    exchange, key = secured.names.to_aggregator("job", 1)
    with secured.channel("mh-worker-b") as channel, pytest.raises(ChannelClosedByBroker) as refused:
        send(channel, exchange, key, user_id=secured.user("mh-worker-a"))
    assert refused.value.reply_code == 406
    assert "user_id" in refused.value.reply_text


# -- what works --------------------------------------------------------------------------------------------------------

#: What begins with "bad" fails for good, and what begins with "held" waits, until the file `open` is there; the first
#: attempt at what begins with "again" fails.
HANDLERS = """
import pathlib, time
from manyhands import judge, RejectTask

HERE = pathlib.Path(__file__).parent
OPEN = HERE / "open"

def judged(name, text):
    while text.startswith("held") and not OPEN.exists():
        time.sleep(0.01)
    if text.startswith("bad") and not OPEN.exists():
        raise RejectTask("not yet")
    tried = HERE / f"tried-{name}-{text}"
    if text.startswith("again") and not tried.exists():
        tried.touch()
        raise ValueError("once more")
    return text

""" + "".join(
    f'@judge("{name}")\ndef {name}(text):\n    return judged("{name}", text)\n\n' for name in JUDGES
)  # fmt: skip


class Apart(Installation):
    """Services that each connect as their own user and declare nothing; a worker for each judge."""

    def __init__(self, secured: Secured, store: str, handlers: Path, *, user_per_judge: bool) -> None:
        self._secured, self._each = secured, user_per_judge
        super().__init__("", store, secured.names.namespace, (), 0, {"MANYHANDS_DECLARE": "false"})
        for judge in JUDGES:
            self.add("worker", "--handlers", str(handlers), "--judges", judge, "--children", "1")

    def add(self, *arguments: str) -> Any:
        """Start one more process, as its own user."""
        service = arguments[0]
        user = f"mh-{service}"
        if self._each:
            self.env["MANYHANDS_WORKER_USER"] = self._secured.user("mh-worker-{judge}")
            if service == "worker":
                user += f"-{arguments[arguments.index('--judges') + 1]}"
        self.env["MANYHANDS_BROKER"] = self._secured.url(user)
        try:
            return super().add(*arguments)
        finally:
            del self.env["MANYHANDS_BROKER"]


@contextmanager
def apart(secured: Secured, store: str, folder: Path, texts: list[str], **given: Any) -> Iterator[tuple[Apart, Path]]:
    """Such an installation and a job file; each judge judges each text once, and most of them must agree."""
    handlers, job = folder / "handlers.py", folder / "job.yaml"
    handlers.write_text(HANDLERS)
    (folder / "rows.csv").write_text("id,text\n" + "".join(f"r{n},{text}\n" for n, text in enumerate(texts)))
    job.write_text(json.dumps({
        "name": "least", "source": {"path": "rows.csv", "id": "id", "input": "text"}, "answer": {"type": "text"},
        "stages": [{"judges": list(JUDGES)}], "suite": 2,
    }))  # fmt: skip
    running = Apart(secured, store, handlers, **given)
    try:
        yield running, job
        running.balances()
    finally:
        for process in reversed(running.processes):
            process.terminate()


def refusals(running: Apart) -> list[str]:
    """What the processes said of rights that they lack."""
    return [line for process in running.processes for line in list(process.log) if "REFUSED" in line]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("user_per_judge", [False, True], ids=["a user for all workers", "a user for each judge"])
def test_each_service_works_as_its_own_user(
    secured: Secured, postgres: Postgres, tmp_path: Path, user_per_judge: bool
) -> None:
    """A job with retries, dead letters and their replay comes to its end and balances; no right is missing."""
    texts = ["good1", "again1", "bad1", "good2", "good3", "bad2", "again2"]
    with apart(secured, postgres.database(), tmp_path, texts, user_per_judge=user_per_judge) as (running, job):
        name = running.json("submit", str(job))["job"]
        assert running.command("watch", name).returncode == 1
        said = running.json("status", name)
        assert (said["state"], said["answered"], said["failed"]) == ("partial", 5, 2)
        wait_until(lambda: len(running.json("dead", "list")["letters"]) == 6, 60, "each judge's dead letters")
        (tmp_path / "open").touch()
        assert running.json("dead", "replay", "--job", name) == {"letters": 6}
        wait_until(lambda: running.json("status", name)["state"] == "complete", 60, "the job to become complete")
        found = csv.DictReader(io.StringIO(running.command("results", name).stdout))
        assert [row["answer"] for row in found] == texts
        audited = running.json("audit", name)
        assert audited["queues"] is not None  # its own user may ask for every length
        assert refusals(running) == []


@pytest.mark.timeout(240)
def test_a_compromised_worker(secured: Secured, postgres: Postgres, tmp_path: Path) -> None:
    """Whoever has the password of judge b's workers lies as judge b, and has no other effect on any answer.

    It may hand in b's judgments, also before b itself does: where two others agree the answer stands. What it says in
    the name of a, and dead letters about a's tasks, are set aside, and a's tasks are judged by a.
    """
    texts = [f"held{n}" for n in range(6)]
    with apart(secured, postgres.database(), tmp_path, texts, user_per_judge=True) as (running, job):
        name = running.json("submit", str(job))["job"]
        wait_until(lambda: running.json("status", name)["tasks"] == len(texts), 60, "the job to be known")

        lie = Judgments(
            job=name, suite=0, stage=0, judge="b", slot=0, worker="b-1", positions=[0, 1], values=["lie", "lie"]
        )
        forged = [replace(lie, judge=judge, worker=f"{judge}-1") for judge in ("a", "c")]
        letter = Suite(job=name, suite=1, stage=0, judge="a", slot=0, positions=[2, 3], payloads=["x", "x"])
        signed = {"user_id": secured.user("mh-worker-b")}
        with secured.channel("mh-worker-b") as channel:
            for message in (lie, *forged):
                hand_in(channel, secured.names.to_aggregator(name, 0), message, **signed)
            for message in forged:
                hand_in(channel, secured.names.to_aggregator(name, 0), replace(message, worker="unsigned"))
            hand_in(channel, secured.names.to_dead("tasks", "b"), letter, **signed)
            hand_in(channel, secured.names.to_retry("b", 1.0), letter, **signed)

        def aside() -> list[tuple[str, str]]:
            return sorted((x["kind"], x["code"]) for x in running.json("dead", "list")["letters"])

        wanted = [("judgments", "forged")] * 4 + [("tasks", "unknown-judge"), ("tasks", "unroutable")]
        wait_until(lambda: len(aside()) >= 5, 60, "what was forged to be set aside")
        assert running.json("status", name)["failed"] == 0

        (tmp_path / "open").touch()
        assert running.command("watch", name).returncode == 0
        found = list(csv.DictReader(io.StringIO(running.command("results", name).stdout)))
        assert [row["answer"] for row in found] == texts
        assert [float(row["confidence"]) < 1 for row in found] == [True, True, False, False, False, False]
        wait_until(lambda: aside() == wanted, 60, f"these dead letters and no others: {wanted}")


def hand_in(channel: Any, route: tuple[str, str], message: Message, **properties: Any) -> None:
    """Publish a message of ours."""
    encoded = encode(message)
    send(channel, *route, encoded.body, type=encoded.type, content_encoding=encoded.content_encoding, **properties)

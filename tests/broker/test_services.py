"""The helper that gets real servers, tried on the servers it gets."""

import pika
import psycopg
import pytest
from pika.exceptions import AMQPError

from tests.services import Postgres, RabbitMQ, wait_until


def test_wait_until_gives_up() -> None:
    """A condition that never comes true fails by its name when its time is over."""
    with pytest.raises(TimeoutError, match="the moon to fall"):
        wait_until(lambda: False, 0.05, "the moon to fall", every=0.01)


def test_rabbitmq_is_a_version_we_support(rabbitmq: RabbitMQ) -> None:
    """The broker of the tests opens connections and is one of RabbitMQ 3.10 to 4.3."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        assert connection.is_open
    print(rabbitmq)
    major, minor = (int(part) for part in rabbitmq.version.split(".")[:2])
    assert (3, 10) <= (major, minor) <= (4, 3)


def test_killed_rabbitmq_comes_back_with_its_messages(private_rabbitmq: RabbitMQ) -> None:
    """A confirmed message in a quorum queue is there after the node was killed and started."""
    parameters = pika.URLParameters(private_rabbitmq.url)
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("kept", durable=True, arguments={"x-queue-type": "quorum"})
    channel.basic_publish("", "kept", b"still here", pika.BasicProperties(delivery_mode=2), mandatory=True)

    private_rabbitmq.settle()
    private_rabbitmq.kill()
    with pytest.raises(AMQPError):
        pika.BlockingConnection(parameters)
    private_rabbitmq.start()

    with pika.BlockingConnection(parameters) as again:
        channel = again.channel()
        body = wait_until(lambda: channel.basic_get("kept", auto_ack=True)[2], 30, "the message")
    assert body == b"still here"


def test_rabbitmqctl_reaches_the_private_node(private_rabbitmq: RabbitMQ) -> None:
    """Fault drills may command the node: the control tool sees the queues a client declared."""
    with pika.BlockingConnection(pika.URLParameters(private_rabbitmq.url)) as connection:
        connection.channel().queue_declare("seen", durable=True)
        assert "seen" in private_rabbitmq.ctl("-q", "list_queues", "name")


def test_databases_are_empty_and_apart(postgres: Postgres) -> None:
    """Each test may have a database of its own, which starts empty."""
    first, second = postgres.database(), postgres.database()
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE only_here (n integer)")
    with psycopg.connect(second) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert tables == (0,)


def test_killed_postgres_comes_back_with_its_rows(private_postgres: Postgres) -> None:
    """A committed row is there after the server was killed and started, with a client still attached."""
    url = private_postgres.database()
    attached = psycopg.connect(url, autocommit=True)
    attached.execute("CREATE TABLE kept (n integer)")
    attached.execute("INSERT INTO kept VALUES (7)")

    private_postgres.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    private_postgres.start()

    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]
    attached.close()

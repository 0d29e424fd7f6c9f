"""TLS between everything: the services, the command line, RabbitMQ and PostgreSQL; and what is said when it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from manyhands.tls import client_context
from tests import encrypted
from tests.e2e.processes import Process, command, installation
from tests.services import Postgres, RabbitMQ, wait_until
from tests.unit.certificates import Authority

pytestmark = pytest.mark.timeout(300, func_only=True)

HANDLERS = """
from manyhands import judge


@judge("echo")
def echo(text):
    return text
"""
ROWS = "".join(json.dumps({"input": f"row {n}"}) + "\n" for n in range(40))
PAST, SOON = datetime(2021, 1, 1, tzinfo=UTC), datetime(2039, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The authority of this installation."""
    return Authority(tmp_path / "pki")


def secrets(folder: Path, **values: str) -> str:
    """A folder of secrets."""
    folder.mkdir()
    for name, value in values.items():
        (folder / f"manyhands_{name}").write_text(f"{value}\n")
    return str(folder)


def expiry(http: httpx.Client, process: Process) -> dict[str, datetime]:
    """When the certificates that a process uses expire, from its metrics."""
    families = text_string_to_metric_families(http.get(f"{process.url}/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return {
        sample.labels["use"]: datetime.fromtimestamp(sample.value, UTC)
        for sample in samples
        if sample.name == "manyhands_certificate_expires_timestamp_seconds"
    }


def test_a_job_over_tls(
    own_rabbitmq: RabbitMQ,
    own_postgres: Postgres,
    authority: Authority,
    namespace: str,
    tmp_path: Path,
    job: Callable[..., Path],
) -> None:
    """A job runs with every connection encrypted and verified, mutually with the broker, its secrets from files.

    The metrics say when the certificates expire, and a renewed one is served without a restart.
    """
    own = authority.issue("us", name="us")
    amqps = encrypted.rabbitmq(own_rabbitmq, authority.issue("localhost", until=SOON), authority.pem, mutual=True)
    store = own_postgres.database()
    encrypted.postgres(own_postgres, authority.issue("localhost", name="database"))
    served = authority.issue("127.0.0.1", name="http")
    folder = secrets(
        tmp_path / "secrets", broker=amqps, store=encrypted.verified(store, authority.pem), api_token="t0ken"
    )
    env = {
        "MANYHANDS_SECRETS": folder, "MANYHANDS_BROKER_CA": str(authority.pem), "MANYHANDS_BROKER_CERT": str(own.cert),
        "MANYHANDS_BROKER_KEY": str(own.key), "MANYHANDS_TLS_CERT": str(served.cert),
        "MANYHANDS_TLS_KEY": str(served.key), "MANYHANDS_CA": str(authority.pem),
    }  # fmt: skip
    file = job(HANDLERS, ROWS)
    with installation("", "", namespace, ("--config", str(file)), workers=1, env=env) as running:
        submitted = running.command("submit", str(file), "--wait", "--json")
        assert submitted.returncode == 0, submitted.stderr
        said = json.loads(submitted.stdout)
        assert (said["state"], said["answered"]) == ("complete", 40)
        listed = running.command("results", said["job"], "-o", str(tmp_path / "answers.jsonl"))
        assert listed.returncode == 0, listed.stderr
        assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 40
        checked = running.command("topology", "check", "--judges", "echo")
        assert checked.returncode == 0, checked.stdout + checked.stderr

        over_tls = own_rabbitmq.ctl("-q", "list_connections", "ssl").split()
        assert set(over_tls) - {"ssl", "[]"} == {"true"}
        with psycopg.connect(encrypted.verified(store, authority.pem)) as connection:
            plain = connection.execute(
                "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                "WHERE datname = current_database() AND NOT ssl"
            ).fetchone()
        assert plain == (0,)
        with httpx.Client(verify=client_context(authority.trusted)) as http:
            for process in running.processes:
                assert expiry(http, process) == {"broker": SOON, "http": datetime(2040, 1, 1, tzinfo=UTC)}
        authority.issue("127.0.0.1", name="http", until=SOON)
        with httpx.Client(verify=client_context(authority.trusted)) as http:
            assert expiry(http, running.producer)["http"] == SOON


def test_run_over_tls(
    own_rabbitmq: RabbitMQ, own_postgres: Postgres, authority: Authority, tmp_path: Path, job: Callable[..., Path]
) -> None:
    """`manyhands run` and its parts reach broker and store over TLS as well."""
    amqps = encrypted.rabbitmq(own_rabbitmq, authority.issue("localhost"), authority.pem)
    encrypted.postgres(own_postgres, authority.issue("localhost", name="database"))
    store = encrypted.verified(own_postgres.database(), authority.pem)
    env = {"MANYHANDS_BROKER_CA": str(authority.pem)}
    done = command(
        "run", str(job(HANDLERS, ROWS)), "--broker", amqps, "--store", store, "--out", str(tmp_path / "out"),
        "--children", "1", "--json", env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answered"] == 40


#: The certificate that a server shows, the host that clients look for it under, whom they trust; and what is said.
FAILURES = {
    "another authority": ("localhost", None, "localhost", "certificate"),
    "another name": ("else.where", None, "localhost", "localhost"),
    "expired": ("localhost", PAST, "localhost", "expired"),
}


def not_ready(process: Process, what: str, said: str) -> str:
    """Wait until a process says of what it is not ready; the sentence."""

    def missing() -> str | None:
        answer = httpx.get(f"{process.url}/readyz")
        found = str(answer.json()["missing"].get(what, ""))
        return found if answer.status_code == 503 and said in found else None

    return wait_until(missing, 60, f"{what} to be missing because of {said!r}") or ""


@pytest.mark.parametrize("failure", FAILURES)
def test_broker_that_is_not_trusted(
    own_rabbitmq: RabbitMQ, authority: Authority, tmp_path: Path, job: Callable[..., Path], failure: str
) -> None:
    """A worker does not talk to a broker whose certificate is not right: it waits, is not ready, and says why."""
    name, until, host, said = FAILURES[failure]
    trusted = Authority(tmp_path / "other") if failure == "another authority" else authority
    own = authority.issue(name, until=until)
    amqps = encrypted.rabbitmq(own_rabbitmq, own, authority.pem, host=host).replace(":manyhands@", ":hunter2@")
    env = {"MANYHANDS_BROKER": amqps, "MANYHANDS_BROKER_CA": str(trusted.pem)}
    worker = Process("worker", "--config", str(job(HANDLERS, ROWS)), "--children", "1", env=env)
    try:
        sentence = not_ready(worker, "broker", said)
        assert "certificate is not accepted" in sentence
        worker.says("waiting for the broker")
    finally:
        assert worker.terminate() == 0
    log = "".join(worker.log)
    assert "hunter2" not in log + sentence
    assert "Traceback" not in log
    assert any(said in json.loads(line).get("error", "") for line in worker.log)


@pytest.mark.parametrize("failure", FAILURES)
def test_store_that_is_not_trusted(own_postgres: Postgres, authority: Authority, tmp_path: Path, failure: str) -> None:
    """An aggregator waits for a store whose certificate is not right, is not ready, and says why."""
    name, until, host, said = FAILURES[failure]
    said = "certificate verify failed" if failure == "expired" else said  # libpq says no more
    trusted = Authority(tmp_path / "other") if failure == "another authority" else authority
    encrypted.postgres(own_postgres, authority.issue(name, until=until, name="database"))
    store = encrypted.verified(own_postgres.url, trusted.pem, host=host).replace(":manyhands@", ":hunter2@")
    env = {"MANYHANDS_STORE": store, "MANYHANDS_BROKER": "amqp://localhost:1/", "MANYHANDS_PORT": "0"}
    aggregator = Process("aggregator", env=env)
    try:
        sentence = not_ready(aggregator, "store", said)
        aggregator.says("waiting for the store")
    finally:
        assert aggregator.terminate() == 0
    log = "".join(aggregator.log)
    assert "hunter2" not in log + sentence
    assert "Traceback" not in log


@pytest.mark.parametrize("failure", FAILURES)
def test_service_that_is_not_trusted(authority: Authority, tmp_path: Path, failure: str) -> None:
    """The command line does not send its token to a service whose certificate is not right; one sentence says why."""
    name, until, _host, said = FAILURES[failure]
    trusted = Authority(tmp_path / "other") if failure == "another authority" else authority
    own = authority.issue(*(("127.0.0.1",) if name == "localhost" else (name,)), until=until)
    env = {
        "MANYHANDS_STORE": f"sqlite:///{tmp_path}/m.db", "MANYHANDS_BROKER": "amqp://localhost:1/",
        "MANYHANDS_PORT": "0", "MANYHANDS_TLS_CERT": str(own.cert), "MANYHANDS_TLS_KEY": str(own.key),
    }  # fmt: skip
    aggregator = Process("aggregator", env=env)
    try:
        done = command("status", "--aggregator", aggregator.url, "--ca", str(trusted.pem), "--token", "hunter2")
    finally:
        aggregator.terminate()
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert "its certificate is not accepted" in done.stderr
    assert said.replace("localhost", "127.0.0.1") in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"MANYHANDS_TLS_CERT": "/nowhere/cert.pem"}, "cannot read /nowhere/cert.pem: No such file or directory"),
        ({"MANYHANDS_TLS_KEY": "/nowhere/key.pem"}, "but no certificate"),
        ({"MANYHANDS_BROKER_CA": "/nowhere/ca.pem"}, "cannot read /nowhere/ca.pem: No such file or directory"),
        ({"MANYHANDS_SECRETS": "/nowhere"}, "MANYHANDS_SECRETS: cannot read the folder /nowhere: No such file"),
        ({"MANYHANDS_BROKER": "amqp://u:hunter2@h/", "MANYHANDS_BROKER_CA": __file__}, "make it amqps://"),
    ],
)
def test_files_that_are_not_right(env: dict[str, str], said: str, tmp_path: Path) -> None:
    """A process that is told of a file that is not right does not start, and says so in one sentence."""
    done = command("producer", env={"MANYHANDS_BROKER": "amqps://u:hunter2@h/", **env}, cwd=tmp_path)
    assert done.returncode == 3
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "hunter2" not in done.stderr

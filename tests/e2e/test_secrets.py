"""No secret is in anything that is written: services with marked secrets fail in all the ways at hand, and all is read.

Passwords and token bear a mark. What the processes log at the level debug, what the command line prints, what the
APIs answer, what a run leaves in its folder, the arguments of every process: none of it may have the mark.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from tests.e2e.processes import Process, command, installation
from tests.services import Postgres, RabbitMQ, wait_until

pytestmark = pytest.mark.timeout(400, func_only=True)

#: In every secret; nowhere else.
MARK = "xq7Zmark"
TOKEN = f"token-{MARK}"

HANDLERS = """
import os
from manyhands import RejectTask, judge


@judge("echo")
def echo(text):
    if text == "environment":
        return str(dict(os.environ))
    if text == "reject":
        raise RejectTask("for good")
    if text == "fail":
        raise ValueError("a bug")
    return text
"""
ROWS = "".join(json.dumps({"input": text}) + "\n" for text in ("fine", "environment", "reject", "fail"))


@pytest.fixture(scope="module")
def broker(own_rabbitmq: RabbitMQ) -> RabbitMQ:
    """A RabbitMQ with a user whose password is marked."""
    own_rabbitmq.ctl("add_user", "marked", f"broker-{MARK}")
    own_rabbitmq.ctl("set_permissions", "-p", "/", "marked", ".*", ".*", ".*")
    return own_rabbitmq


@pytest.fixture(scope="module")
def database(own_postgres: Postgres) -> Postgres:
    """A PostgreSQL with a user whose password is marked."""
    with psycopg.connect(own_postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE marked SUPERUSER LOGIN PASSWORD 'store-{MARK}'".encode())
    return own_postgres


def marked(url: str, password: str) -> str:
    """The URL as the marked user has it."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"marked:{password}@{parts.hostname}:{parts.port}").geturl()


def folder_of(path: Path, broker: str, store: str) -> str:
    """A folder of secrets."""
    path.mkdir()
    for name, value in (("broker", broker), ("store", store), ("api_token", TOKEN)):
        (path / f"manyhands_{name}").write_text(value + "\n")
    return str(path)


def arguments() -> str:
    """The arguments of every process, as everybody on the machine may read them."""
    return subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True).stdout


def readiness(process: Process, status: int) -> str:
    """Wait until /readyz has a status; its body."""
    wait_until(lambda: httpx.get(f"{process.url}/readyz").status_code == status, 90, f"readiness to be {status}")
    return httpx.get(f"{process.url}/readyz").text


def said_by(done: subprocess.CompletedProcess[str]) -> str:
    """All that a command printed."""
    return done.stdout + done.stderr


def test_no_secret_is_written(
    broker: RabbitMQ, database: Postgres, namespace: str, tmp_path: Path, job: Callable[..., Path]
) -> None:
    """An installation at work, asked in every way, then without its broker and its store: not one mark."""
    good = marked(broker.url, f"broker-{MARK}"), marked(database.database(), f"store-{MARK}")
    env = {"MANYHANDS_SECRETS": folder_of(tmp_path / "secrets", *good), "MANYHANDS_LOG_LEVEL": "debug"}
    file = job(HANDLERS, ROWS)
    written: dict[str, str] = {}
    with installation("", "", namespace, ("--config", str(file)), workers=1, env=env) as running:
        submitted = running.command("submit", str(file), "--wait", "--json")
        name = json.loads(submitted.stdout)["job"]
        written["submit"] = said_by(submitted)
        for asked in (
            ("status",), ("watch", name), ("results", name, "-o", str(tmp_path / "answers.csv")), ("audit", name),
            ("dead", "list"), ("dead", "replay", "--all"), ("cancel", name), ("topology", "check"), ("status", "none"),
            ("status", "--token", f"wrong-{MARK}"), ("--help",), ("producer", "--help"), ("submit", "--help"),
        ):  # fmt: skip
            written[" ".join(asked)] = said_by(running.command(*asked))
        assert "give the installation's token" in written[f"status --token wrong-{MARK}"]
        letters = json.loads(said_by(running.command("dead", "list", "--json")))["letters"]
        for letter in letters:
            written[f"letter {letter['id']}"] = said_by(running.command("dead", "show", letter["id"]))
        written["answers"] = (tmp_path / "answers.csv").read_text()
        assert "MANYHANDS_SECRETS" in written["answers"], "the handler shows its environment"
        written["arguments"] = arguments()
        assert "manyhands_worker.child" in written["arguments"]
        for process in running.processes:
            for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/nothing"):
                written[f"{process.pid} {path}"] = httpx.get(process.url + path).text
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        for headers in ({}, {"Authorization": f"Bearer guess-{MARK}"}, bearer):
            for method, path, body in (
                ("POST", "/api/jobs", b"{torn"), ("POST", "/api/jobs", b'{"spec": 1}'), ("GET", "/api/jobs/none", b""),
                ("POST", f"/api/jobs/{name}/tasks", b'{"tasks": "?"}'), ("PUT", "/api/jobs", b""),
            ):  # fmt: skip
                reply = httpx.request(method, running.producer.url + path, content=body, headers=headers)
                written[f"{method} {path} {headers} {body!r}"] = reply.text + str(reply.headers)
        broker.kill()
        for process in running.processes:
            written[f"{process.pid} without a broker"] = readiness(process, 503)
        broker.start()
        for process in running.processes:
            readiness(process, 200)
    for process in running.processes:
        log = "".join(process.log)
        assert '"log_level": "debug"' in log
        assert "marked:***@" in log, "it says which broker, without the password"
        written[f"log of {process.pid}"] = log
    leaks = {name: text[max(0, text.index(MARK) - 200) :][:400] for name, text in written.items() if MARK in text}
    assert leaks == {}
    trail = [json.loads(line) for p in running.processes for line in p.log if '"audit": true' in line]
    assert {(line["action"], line["outcome"]) for line in trail} >= {
        ("job.open", "done"), ("job.open", "refused"), ("job.cancel", "done"), ("dead.replay", "done"),
        ("authenticate", "refused"),
    }  # fmt: skip


@pytest.mark.parametrize("wrong", ["broker", "store"])
def test_wrong_passwords_are_not_written(broker: RabbitMQ, database: Postgres, tmp_path: Path, wrong: str) -> None:
    """A password that is refused is not told, neither in the log nor by readiness; the sentence says what to check."""
    passwords = {name: f"{'wrong-' if name == wrong else ''}{name}-{MARK}" for name in ("broker", "store")}
    folder = folder_of(
        tmp_path / "secrets", marked(broker.url, passwords["broker"]), marked(database.database(), passwords["store"])
    )
    env = {"MANYHANDS_SECRETS": folder, "MANYHANDS_LOG_LEVEL": "debug", "MANYHANDS_PORT": "0"}
    aggregator = Process("aggregator", env=env)
    try:
        said = "refused the user 'marked'" if wrong == "broker" else "password authentication failed"
        aggregator.says(said)
        readiness = httpx.get(f"{aggregator.url}/readyz")
    finally:
        assert aggregator.terminate() == 0
    assert readiness.status_code == 503
    assert MARK not in readiness.text + "".join(aggregator.log)


@pytest.mark.drill
def test_a_run_leaves_no_secret(broker: RabbitMQ, database: Postgres, tmp_path: Path, job: Callable[..., Path]) -> None:
    """What `run` prints and leaves in its folder has no password, also if it fails."""
    good = marked(broker.url, f"broker-{MARK}"), marked(database.database(), f"store-{MARK}")
    file, out = job(HANDLERS, ROWS), tmp_path / "out"
    done = command("run", str(file), "--broker", good[0], "--store", good[1], "--out", str(out), "--children", "1")
    assert done.returncode == 1
    assert MARK not in said_by(done)
    for left in out.rglob("*"):
        assert not left.is_file() or MARK not in left.read_text(errors="replace"), left
    for broker_url, store_url in (
        (good[0].replace("broker-", "wrong-"), good[1]), (f"amqp://u:{MARK}@h:x/", good[1]),
        (good[0], f"postgresql://u:{MARK}@h:x/d"),
        (good[0], f"mysql://u:{MARK}@h/d"), (f"nowhere://u:{MARK}@h/", good[1]),
    ):  # fmt: skip
        failed = command("run", str(file), "--broker", broker_url, "--store", store_url, "--out", str(tmp_path / "b"))
        assert failed.returncode not in (0, 1), (broker_url, store_url)
        assert MARK not in said_by(failed)
        assert "Traceback" not in said_by(failed)

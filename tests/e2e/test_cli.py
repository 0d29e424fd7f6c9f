"""Commands that ask running services, on real processes and a real broker."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import arro3.io
import httpx
import pytest

from manyhands.broker import connect
from manyhands.topology import Names, topology
from tests.e2e.jobs import ECHO, KEYS, rows
from tests.e2e.processes import Installation, command, installation
from tests.services import RabbitMQ, wait_until

pytestmark = pytest.mark.timeout(240)

WriteJob = Callable[..., Path]
Start = Callable[..., Installation]

#: Waits for the file `open` before it judges; what begins with "bad" fails for good until it is there.
GATED = """
import pathlib, time
from manyhands import judge, RejectTask

OPEN = pathlib.Path(__file__).with_name("open")

@judge("echo")
def echo(payload):
    if payload.startswith("bad") and not OPEN.exists():
        raise RejectTask("not yet")
    while payload.startswith("wait") and not OPEN.exists():
        time.sleep(0.01)
    return payload
"""


@pytest.fixture
def start(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> Iterator[Start]:
    """Starts an installation with one worker for a job file; at the end every job of it must balance."""
    with ExitStack() as ends:

        def begin(job_file: Path) -> Installation:
            broker = connect(rabbitmq.url)
            ends.callback(broker.close)
            ends.callback(broker.delete, topology(Names(namespace=namespace), ["echo"]))
            store = f"sqlite:///{tmp_path / 'm.db'}"
            config = ("--config", str(job_file))
            return ends.enter_context(installation(rabbitmq.url, store, namespace, config, workers=1))

        yield begin


def test_upload_and_results(job: WriteJob, start: Start, tmp_path: Path) -> None:
    """A CSV read here and pushed; its answers as CSV, JSON Lines and Parquet, to files and to standard output."""
    file = job(ECHO, rows(2500, "é"), "rows.csv", **KEYS)
    running = start(file)
    plan = tmp_path / "plan.json"
    assert command("plan", str(file), "--pilot", "5", "-o", str(plan)).returncode == 0
    said = running.json("submit", str(file), "--upload", "--wait", "--id", "test-upload", "--plan", str(plan))
    assert (said["job"], said["state"], said["answered"]) == ("test-upload", "complete", 2500)
    judgments = {"figure": "judgments", "planned": 2500, "low": 2500, "high": 2500, "actual": 2500, "difference": 0.0}
    assert said["planned"][0] == judgments
    again = running.command("submit", str(file), "--upload", "--id", "test-upload")  # as after a lost connection
    assert (again.returncode, again.stdout) == (0, "test-upload\n"), again.stderr
    expected = [(f"r{n}", f"é{n}") for n in range(2500)]

    printed = running.command("results", "test-upload")
    assert [(row["id"], row["answer"]) for row in csv.DictReader(io.StringIO(printed.stdout))] == expected
    right = running.command("results", "test-upload", "--plan", str(plan))
    assert right.stdout == printed.stdout
    assert "judgments" in right.stderr
    foretold = running.json("plan", str(file), "--from", "test-upload")
    assert (foretold["rests_on"], foretold["judgments"]) == ("2,500 tasks of test-upload", 2500)
    for ending in ("csv", "jsonl", "parquet"):
        done = running.command("results", "test-upload", "--out", str(tmp_path / f"answers.{ending}"))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "answers.csv").read_text() == printed.stdout
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [(line["id"], line["answer"]) for line in lines] == expected
    bundle = tmp_path / "bundle"
    bundled = running.command("results", "test-upload", "--bundle", str(bundle))
    assert bundled.returncode == 0, bundled.stderr
    for ending in ("csv", "jsonl"):
        assert (bundle / f"answers.{ending}").read_bytes() == (tmp_path / f"answers.{ending}").read_bytes()
    assert running.json("reaggregate", str(bundle))["identical"] is True
    table = arro3.io.read_parquet(tmp_path / "answers.parquet").read_all()
    assert list(zip(table["id"].to_pylist(), table["answer"].to_pylist(), strict=True)) == expected
    assert running.command("results", "test-upload", "--failed").stdout.count("\n") == 1  # its header

    status: Any = running.json("status")
    assert [(row["job"], row["answered"]) for row in status] == [("test-upload", 2500)]
    assert "test-upload" in running.command("status").stdout
    watched = running.command("watch", "test-upload")
    assert watched.returncode == 0
    assert "test-upload: 2,500 of 2,500 tasks · published" in watched.stderr
    for arguments in (("status",), ("watch",), ("results",), ("cancel",), ("audit",), ("dead", "show")):
        unknown = running.command(*arguments, "nope")
        assert unknown.returncode == 5, unknown.stderr
        assert unknown.stderr.startswith("manyhands: There is no such ")


def test_a_job_over_http(job: WriteJob, start: Start) -> None:
    """Opened, pushed twice, sealed and read over HTTP; a repeat of anything changes nothing."""
    file = job(ECHO, rows(1), "rows.csv", **KEYS)
    running = start(file)
    spec = {"name": "http", "answer": {"type": "text"}, "stages": [{"judges": ["echo"]}], "suite": 2}
    with httpx.Client(base_url=running.producer.url, timeout=70) as producer:
        for expected in (201, 200):
            opened = producer.post("/api/jobs", json={"job": "http-1", "spec": spec})
            assert (opened.status_code, opened.json()) == (expected, {"job": "http-1", "state": "open"})
        for first in (0, 3):
            tasks = [{"id": f"x{n}", "payload": f"p{n}", "truth": f"p{n}"} for n in range(first, first + 3)]
            for _ in range(2):
                pushed = producer.post("/api/jobs/http-1/tasks", json={"tasks": tasks, "first": first})
                assert (pushed.status_code, pushed.json()) == (200, {"tasks": first + 3})
        gap = producer.post("/api/jobs/http-1/tasks", json={"tasks": tasks, "first": 9})
        assert gap.status_code == 400
        assert "push those from position 6 on first" in gap.json()["error"]
        assert producer.post("/api/jobs/http-1/seal").json()["state"] == "sealed"
    found: list[Any] = []
    with httpx.Client(base_url=running.aggregator.url, timeout=70) as aggregator:

        def read() -> bool:
            page = aggregator.get(
                "/api/jobs/http-1/answers", params={"after": len(found) - 1, "limit": 4, "wait": 10}
            ).json()
            found.extend(page["answers"])
            assert page["next"] == (found[-1]["position"] if page["answers"] else None)
            return len(found) == 6

        wait_until(read, 60, "six answers", every=0.01)
    assert [(one["position"], one["id"], one["answer"]) for one in found] == [(n, f"x{n}", f"p{n}") for n in range(6)]
    assert running.command("watch", "http-1").returncode == 0
    (worker,) = json.loads(running.command("workers", "http-1", "--json").stdout)
    assert (worker["worker"], worker["judgments"]) == ("echo", 6)
    assert "echo" in running.command("workers", "http-1").stdout
    assert "accuracy" in running.command("workers", "http-1", "--worker", "echo").stdout
    wait_until(lambda: running.json("workers"), 30, "the reputation")
    (reputed,) = json.loads(running.command("workers", "--type", "text", "--json").stdout)
    assert (reputed["worker"], reputed["jobs"], reputed["judgments"]) == ("echo", 1, 6)
    assert running.command("workers", "--forget", "echo").stdout == "forgotten of echo: what it has shown in 1 jobs\n"
    assert "no reputations yet" in running.command("workers").stdout


def test_cancel(job: WriteJob, start: Start) -> None:
    """DELETE, or the command, ends a job as it is: what was answered stays, the rest is cancelled, and it balances."""
    file = job(GATED, rows(20, "wait"), "rows.csv", suite=5, **KEYS)
    running = start(file)
    jobs = [running.json("submit", str(file))["job"] for _ in range(2)]
    watching = running.add("watch", jobs[0])
    watching.says(f"{jobs[0]}: 0 of ")
    watching.send(2)
    assert watching.ends() == 130
    assert "Traceback" not in "".join(watching.log)
    running.processes.remove(watching)

    deleted = httpx.delete(f"{running.producer.url}/api/jobs/{jobs[0]}")
    assert (deleted.status_code, deleted.json()["state"]) == (200, "cancelled")
    assert running.json("cancel", jobs[1], "--reason", "the wrong file")["state"] == "cancelled"
    assert "is cancelled" in running.command("cancel", jobs[1]).stdout  # once more changes nothing
    (file.parent / "open").touch()
    for name in jobs:
        assert running.command("watch", name).returncode == 1
        said = running.json("status", name)
        assert said["state"] == "cancelled"
        assert said["answered"] + said["cancelled"] == said["tasks"]
        account = running.json("audit", name)
        assert (account["conserved"], account["open"]) == (True, 0)
    assert running.json("status", jobs[1])["reason"] == "the wrong file"


def test_dead_letters(job: WriteJob, start: Start) -> None:
    """Tasks that fail are listed, shown, dropped and replayed; with the cause mended the job becomes complete."""
    texts = ["good1", "bad1", "good2", "bad2", "bad3", "good3"]
    source = "id,text\n" + "".join(f"r{n},{text}\n" for n, text in enumerate(texts))
    file = job(GATED, source, "rows.csv", suite=2, **KEYS)
    running = start(file)
    name = running.command("submit", str(file)).stdout.strip()
    assert running.command("watch", name).returncode == 1
    said = running.json("status", name)
    assert (said["state"], said["answered"], said["failed"]) == ("partial", 3, 3)
    failed = list(csv.DictReader(io.StringIO(running.command("results", name, "--failed").stdout)))
    assert [row["id"] for row in failed] == ["r1", "r3", "r4"]

    letters: list[dict[str, Any]] = []

    def filed() -> bool:
        letters[:] = running.json("dead", "list", "--job", name)["letters"]
        return sum(int(letter["tasks"]) for letter in letters) == 3

    wait_until(filed, 60, "three tasks in dead letters")
    assert {letter["job"] for letter in letters} == {name}
    groups = running.json("dead", "list")["groups"]
    assert sum(group["tasks"] for group in groups) == 3
    assert "not yet" in running.command("dead", "list").stdout
    shown = running.json("dead", "show", letters[0]["id"])
    assert "not yet" in shown["error"]
    assert "RejectTask" in json.dumps(shown)
    assert json.loads(running.command("dead", "show", letters[0]["id"]).stdout) == shown

    (file.parent / "open").touch()
    first, *rest = letters
    assert running.json("dead", "replay", first["id"]) == {"letters": 1}
    assert running.json("dead", "replay", "--job", name, "--code", "nothing-like-it") == {"letters": 0}
    assert running.json("dead", "replay", "--job", name) == {"letters": len(rest)}
    wait_until(lambda: running.json("status", name)["state"] == "complete", 60, "the job to become complete")
    assert running.json("status", name)["answered"] == 6
    fetched = running.command("results", name).stdout
    assert [row["answer"] for row in csv.DictReader(io.StringIO(fetched))] == texts
    assert "no dead letters" in running.command("dead", "list").stdout

    (file.parent / "open").unlink()
    again = running.command("submit", str(file)).stdout.strip()
    assert running.command("watch", again).returncode == 1
    wait_until(lambda: len(running.json("dead", "list", "--job", again)["letters"]) == len(letters), 60, "letters")
    ids = [letter["id"] for letter in running.json("dead", "list", "--job", again)["letters"]]
    assert running.json("dead", "drop", ids[0]) == {"letters": 1}
    assert running.command("dead", "drop", ids[0]).returncode == 5
    for chosen in (("--job", again), ("--all",)):
        unasked = running.command("dead", "drop", *chosen)
        assert (unasked.returncode, "--yes" in unasked.stderr) == (2, True)
    (group,) = running.json("dead", "list", "--job", again)["groups"]
    assert group["letters"] == len(ids) - 1
    assert running.json("dead", "drop", "--cause", "none", "--all", "--yes") == {"letters": 0}
    dropped = running.json("dead", "drop", "--job", again, "--cause", group["cause"], "--yes")
    assert dropped == {"letters": len(ids) - 1}
    assert running.json("dead", "list")["letters"] == []
    assert running.json("status", again)["state"] == "partial"


def test_topology(rabbitmq: RabbitMQ, namespace: str) -> None:
    """Declared, checked and exported: a check says what is missing (1) and, once declared, nothing (0)."""
    env = {"MANYHANDS_BROKER": rabbitmq.url, "MANYHANDS_NAMESPACE": namespace}
    broker, wanted = connect(rabbitmq.url), topology(Names(namespace=namespace), ["svm", "forest"])
    try:
        missing = command("topology", "check", "--judges", "svm,forest", "--json", env=env)
        assert missing.returncode == 1, missing.stderr
        assert {p["name"] for p in json.loads(missing.stdout)["problems"]} == {
            *(e.name for e in wanted.exchanges),
            *(q.name for q in wanted.queues),
        }
        for _ in range(2):
            declared = command("topology", "declare", "--judges", "svm,forest", "--json", env=env)
            assert declared.returncode == 0, declared.stderr
            assert json.loads(declared.stdout)["queues"] == len(wanted.queues)
        fine = command("topology", "check", "--judges", "svm,forest", env=env)
        assert fine.returncode == 0, fine.stdout
        assert f"{len(wanted.queues)} queues are as they should be" in fine.stdout
        one = command("topology", "check", "--judges", "svm,neighbours", env=env)
        assert one.returncode == 1
        assert one.stdout.count("missing; `manyhands topology declare` creates it") == 2  # that of its suspects, too
        fewer = command("topology", "check", "--json", env={**env, "MANYHANDS_PARTITIONS": "2"})
        assert fewer.returncode == 1
        assert "MANYHANDS_PARTITIONS is 2" in fewer.stdout
        exported = json.loads(command("topology", "export", "--judges", "svm,forest", env=env).stdout)
        assert {q["name"] for q in exported["queues"]} == {q.name for q in wanted.queues}
    finally:
        broker.delete(wanted)
        broker.close()

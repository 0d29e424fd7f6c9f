"""Dead letters replayed: to a mended handler, with the aggregator killed in the middle, with the broker away."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fault.stage import JUDGE, PATIENCE, Stage, stage
from tests.services import RabbitMQ, wait_until

pytestmark = pytest.mark.timeout(240, func_only=True)  # processes, and a broker, take their time to start

#: Tasks of the job, and those that version 1 of the handler cannot judge.
COUNT, BAD = 12, [0, 4, 8]

HANDLERS = f"""
import pathlib

from manyhands import RejectTask, judge

VERSION = pathlib.Path(__file__).with_name("version").read_text()


@judge("{JUDGE}", version=VERSION)
def double(number):
    if VERSION == "1" and number % 4 == 0:
        raise RejectTask(f"cannot judge {{number}}")
    return 2 * number
"""

#: An aggregator that is killed when what it replayed is confirmed, and before it takes it from the file.
KILLED = """
import os
import signal

from manyhands_aggregator import replay
from manyhands_cli.main import main

replay.drop = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main()
"""


class Partial:
    """A stage with a job that has ended partial, and its letters on file."""

    def __init__(self, running: Stage) -> None:
        self.running = running
        folder = running.folder
        (folder / "handlers.py").write_text(HANDLERS)
        (folder / "rows.jsonl").write_text("".join(f'{{"id": "t{n}", "n": {n}}}\n' for n in range(COUNT)))
        said = json.loads(running.job_file.read_text())
        running.job_file.write_text(json.dumps({**said, "stages": [{"judges": [JUDGE]}], "suite": 2}))
        self.version("1")
        running.start()
        running.ready()
        self.job = running.submit()
        self.becomes("partial")
        wait_until(lambda: self.tasks_on_file() == len(BAD), PATIENCE, "the letters")

    def version(self, version: str) -> None:
        """Which version of the handler workers have that start from now on."""
        (self.running.folder / "version").write_text(version)

    def becomes(self, state: str) -> dict[str, Any]:
        """Wait until aggregator and producer say that the job has ended so."""
        path = f"/api/jobs/{self.job}"
        wait_until(lambda: (self.running.get(path) or {}).get("state") == state, PATIENCE, f"the job to be {state}")
        wait_until(
            lambda: (self.running.get(path, "producer") or {}).get("outcome") == state, PATIENCE, "the producer's news"
        )
        said: dict[str, Any] = self.running.get(path)
        return said

    def dead(self) -> dict[str, Any]:
        """The letters on file."""
        said: dict[str, Any] = self.running.command("dead", "list", "--job", self.job)
        return said

    def tasks_on_file(self) -> int:
        """How many tasks the letters on file have."""
        return sum(letter["tasks"] for letter in self.dead()["letters"])

    def completed(self) -> None:
        """Every task has its answer, counted once; status, results, provenance and audit say so."""
        said = self.becomes("complete")
        assert (said["tasks"], said["answered"], said["failed"]) == (COUNT, COUNT, 0)
        assert said["judgments"] == COUNT + len(BAD)  # the failures were judgments as well
        assert self.running.command("status", self.job)["state"] == "complete"
        rows = list(csv.DictReader(io.StringIO(self.running.try_command("results", self.job).stdout)))
        assert [float(row["answer"]) for row in rows] == [2.0 * n for n in range(COUNT)]
        assert self.running.try_command("results", self.job, "--failed").stdout.splitlines()[1:] == []
        for position in BAD:
            told = self.running.get(f"/api/jobs/{self.job}/tasks/{position}")
            assert [(one["version"], one["value"]) for one in told] == [("1", None), ("2", 2.0 * position)]
        account = self.running.command("audit", self.job)
        assert (account["conserved"], account["difference"], account["answered"]) == (True, 0, COUNT)


@contextmanager
def partial(folder: Path, rabbitmq: RabbitMQ, store: str, namespace: str) -> Iterator[Partial]:
    """A job that has ended partial."""
    with stage(folder, rabbitmq.url, store, namespace) as running:
        yield Partial(running)


def test_replayed_to_a_fixed_handler(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """Workers of the version that failed hand it on; one with the mended version judges it, and the job is complete."""
    with partial(tmp_path, rabbitmq, f"sqlite:///{tmp_path / 'm.db'}", namespace) as made:
        (group,) = made.dead()["groups"]
        assert (group["tasks"], group["versions"], group["code"]) == (len(BAD), ["1"], "rejected")
        assert "cannot judge #" in group["error"]
        sent = made.running.command("dead", "replay", "--cause", group["cause"], "--changed")
        assert sent == {"letters": group["letters"]}
        retries = f'manyhands_retries_total{{judge="{JUDGE}",rung="1s"}}'
        wait_until(lambda: made.running.metric("worker", retries) >= len(BAD), PATIENCE, "the worker to hand it on")
        assert made.becomes("partial")["failed"] == len(BAD)
        made.version("2")
        old = made.running.processes["worker"]
        made.running.start("worker")
        assert old.terminate() == 0
        made.completed()
        assert made.dead() == {"groups": [], "letters": []}


def test_killed_between_confirm_and_removal(rabbitmq: RabbitMQ, store_url: str, namespace: str, tmp_path: Path) -> None:
    """The letters stay on file, so nothing is lost; replayed again, by two at once, nothing is counted twice."""
    with partial(tmp_path, rabbitmq, store_url, namespace) as made:
        running = made.running
        made.version("2")
        running.processes["worker"].terminate()
        running.start("worker")
        running.processes["aggregator"].kill()
        running.start("aggregator", code=KILLED)
        running.ready()
        assert running.try_command("dead", "replay", "--all").returncode == 4
        assert running.processes["aggregator"].ends() == -9
        running.start("aggregator")
        running.ready()
        made.completed()
        assert made.tasks_on_file() == len(BAD)

        with ThreadPoolExecutor(2) as both:
            tries = [both.submit(running.try_command, "dead", "replay", "--job", made.job) for _ in range(2)]
        assert [one.result().returncode for one in tries] == [0, 0]
        duplicates = 'manyhands_judgments_total{fate="duplicate"}'
        wait_until(lambda: running.metric("aggregator", duplicates) >= len(BAD), PATIENCE, "what is judged again")
        made.completed()
        assert made.tasks_on_file() == 0


@pytest.mark.drill
def test_replayed_while_the_broker_is_away(private_rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """It is said at once, and the letters stay; when the broker is back, the same command does it."""
    with partial(tmp_path, private_rabbitmq, f"sqlite:///{tmp_path / 'm.db'}", namespace) as made:
        running = made.running
        private_rabbitmq.settle()
        before = made.dead()
        private_rabbitmq.kill()
        running.misses("broker", "aggregator")
        refused = running.try_command("dead", "replay", "--all")
        assert (refused.returncode, "on file" in refused.stderr) == (4, True), refused.stderr
        assert made.dead() == before
        running.processes["worker"].terminate()
        private_rabbitmq.start()
        made.version("2")
        running.start("worker")
        running.ready()
        assert running.command("dead", "replay", "--all") == {"letters": len(before["letters"])}
        made.completed()
        assert made.tasks_on_file() == 0

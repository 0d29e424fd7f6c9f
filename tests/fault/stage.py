"""A producer, an aggregator and a worker as processes, and a job that cannot end before the test lets it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from manyhands.broker import connect
from manyhands.topology import Names, topology
from tests.e2e.processes import Process, command
from tests.services import wait_until

#: Long enough for a loaded machine; nothing waits that long when all is well.
PATIENCE = 60.0
#: Tasks of the job, tasks of a suite, and how often each is judged.
TASKS, SIZE, TIMES = 1000, 5, 2
#: The tasks from this one on wait for the gate, so that whatever the test does happens in the middle of the job.
HELD = 900
#: Answers after which a fault comes: the job is in full flow then.
FLOWING = 200
JUDGE = "double"

HANDLERS = f"""
import os
import pathlib
import time

from manyhands import judge

GATE = pathlib.Path(__file__).with_name("gate")
CALLS = pathlib.Path(__file__).with_name("calls")
PACE = float(os.environ.get("PACE", "0.001"))


@judge("{JUDGE}")
def double(number):
    with CALLS.open("a") as calls:
        calls.write(f"{{number}}\\n")
    while number >= {HELD} and not GATE.exists():
        time.sleep(0.01)
    time.sleep(PACE)
    return 2 * number
"""

SERVICES = ("producer", "aggregator", "worker")


class Stage:
    """The three processes in a namespace of their own, the job, and what the tests ask of them."""

    def __init__(self, folder: Path, broker: str, store: str, namespace: str, settings: Mapping[str, str]) -> None:
        self.folder, self.broker, self.store = folder, broker, store
        self.names = Names(namespace=namespace)
        self._env = {
            "MANYHANDS_BROKER": broker, "MANYHANDS_STORE": store, "MANYHANDS_NAMESPACE": namespace,
            "MANYHANDS_PORT": "0", "MANYHANDS_SOURCE_ROOTS": str(folder), "MANYHANDS_GRACE": "15",
            "MANYHANDS_CHILDREN": "2", **settings,
        }  # fmt: skip
        self.job_file = self.worker_file = write_job(folder)
        self.processes: dict[str, Process] = {}
        self.others: list[Process] = []
        self._urls: dict[str, str] = {}

    # -- processes -----------------------------------------------------------------------------------------------------

    def start(self, *services: str, code: str | None = None, **settings: str) -> None:
        """Start services, or start them again; returns when they are reachable, ready or not.

        ``code`` starts them in some other way.

        One that is running already goes on beside the new one, and is asked nothing any more.
        """
        for service in services or SERVICES:
            if service in self.processes:
                self.others.append(self.processes[service])
            options = ("--config", str(self.worker_file)) if service == "worker" else ()
            self.processes[service] = Process(service, *options, env={**self._env, **settings}, code=code)
        for service in services or SERVICES:
            self._urls[service] = url = self.processes[service].url
            self._env[f"MANYHANDS_{service.upper()}_URL"] = url

    def replace(self, service: str, **settings: str) -> None:
        """As a rolling upgrade does: another replica comes, and when it is ready the old one is stopped and drains."""
        old = self.processes[service]
        self.start(service, **settings)
        self.ready(service)
        assert old.terminate() == 0
        assert "Traceback" not in "".join(old.log)
        self.ready()

    def settings(self, **settings: str) -> None:
        """What processes are told that start from now on."""
        self._env.update(settings)

    def said(self, service: str, words: str) -> dict[str, Any]:
        """Wait until a service logs a line with these words; the line."""

        def look() -> str | None:
            return next((line for line in list(self.processes[service].log) if words in line), None)

        line = wait_until(look, PATIENCE, f"{service} to say {words!r}")
        found: dict[str, Any] = json.loads(line or "{}")
        return found

    def missing(self, service: str) -> dict[str, str]:
        """What a service is not ready for; empty when it is ready. It must be alive whatever it misses."""
        assert httpx.get(f"{self._urls[service]}/healthz", timeout=30).status_code == 200
        answer = httpx.get(f"{self._urls[service]}/readyz", timeout=30)
        found: dict[str, str] = answer.json()["missing"]
        assert answer.status_code == (503 if found else 200)
        return found

    def ready(self, *services: str) -> None:
        """Wait until services can work."""
        for service in services or SERVICES:
            wait_until(lambda s=service: not self.missing(s), PATIENCE, f"{service} to be ready")  # type: ignore[misc]

    def misses(self, what: str, *services: str) -> None:
        """Wait until services say that they are not ready for want of the broker or the store."""
        for service in services:
            wait_until(lambda s=service: what in self.missing(s), PATIENCE, f"{service} to miss the {what}")  # type: ignore[misc]

    def metric(self, service: str, name: str) -> float:
        """The value of a metric without labels."""
        lines = httpx.get(f"{self._urls[service]}/metrics", timeout=30).text.splitlines()
        return next((float(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0.0)

    def sum(self, service: str, name: str) -> float:
        """The sum over all labels of a metric."""
        lines = httpx.get(f"{self._urls[service]}/metrics", timeout=30).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{"))

    def url(self, service: str) -> str:
        """Where a service is reached."""
        return self._urls[service]

    # -- the job -------------------------------------------------------------------------------------------------------

    def command(self, *arguments: str) -> Any:
        """Run a command against these services; what it printed as JSON."""
        done = self.try_command(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def try_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command against these services, whatever becomes of it."""
        return command(*arguments, env=self._env, timeout=PATIENCE)

    def submit(self) -> str:
        """Submit the job; its id."""
        return str(self.command("submit", str(self.job_file))["job"])

    def get(self, path: str, service: str = "aggregator") -> Any:
        """What an API says, or None while it has no good answer."""
        try:
            answer = httpx.get(f"{self._urls[service]}{path}", timeout=30)
        except httpx.TransportError:
            return None
        return answer.json() if answer.status_code == 200 else None

    def reaches(self, job: str, answered: int) -> dict[str, Any]:
        """Wait until so many tasks are answered and the job is still open; its progress."""

        def look() -> dict[str, Any] | None:
            said: dict[str, Any] | None = self.get(f"/api/jobs/{job}")
            return said if said and said["answered"] >= answered else None

        said = wait_until(look, PATIENCE, f"{answered} answers", every=0.02) or {}
        assert said["state"] == "open"
        return said

    def calls(self) -> Counter[int]:
        """How often the handler was called for each task, so far."""
        file = self.folder / "calls"
        return Counter(map(int, file.read_text().split())) if file.exists() else Counter()

    def open_gate(self) -> None:
        """Let the job end."""
        (self.folder / "gate").touch()

    def close_gate(self) -> None:
        """Let the next job not end."""
        (self.folder / "gate").unlink(missing_ok=True)

    def hush(self) -> None:
        """Forget what was said so far."""
        for process in self.processes.values():
            process.log.clear()

    def completes(self, job: str, *, replayed: bool = False) -> None:
        """Wait for the end of the job: every task has its answer, from as many judgments as asked for, in order.

        Of a job with ``replayed`` tasks the failures that they had before are counted among what was said of them.
        """
        self.open_gate()

        def over() -> bool:
            said = self.get(f"/api/jobs/{job}")
            return bool(said) and said["state"] != "open"

        wait_until(over, PATIENCE, f"{job} to end")
        said = self.get(f"/api/jobs/{job}")
        assert (said["state"], said["tasks"], said["answered"], said["failed"]) == ("complete", TASKS, TASKS, 0), said
        assert said["judgments"] == TASKS * TIMES or (replayed and said["judgments"] > TASKS * TIMES)
        rows = csv.DictReader(io.StringIO(httpx.get(f"{self._urls['aggregator']}/api/jobs/{job}/answers.csv").text))
        assert [(row["id"], float(row["answer"]), row["judgments"]) for row in rows] == ANSWERS
        wait_until(lambda: self.get(f"/api/jobs/{job}", "producer")["state"] == "ended", PATIENCE, "the producer's end")
        account = self.command("audit", job)
        assert account["conserved"] is True
        assert account["difference"] == account["unannounced"] == account["open"] == 0
        assert (account["tasks"], account["answered"]) == (TASKS, TASKS)


ANSWERS = [(f"t{number}", 2.0 * number, str(TIMES)) for number in range(TASKS)]


def write_job(folder: Path, **keys: Any) -> Path:
    """A job file with its source and handlers beside it."""
    (folder / "handlers.py").write_text(HANDLERS)
    rows = "".join(f'{{"id": "t{number}", "n": {number}}}\n' for number in range(TASKS))
    (folder / "rows.jsonl").write_text(rows)
    said = {
        "name": "fault", "source": {"path": "rows.jsonl", "id": "id", "input": "n"}, "answer": {"type": "number"},
        "stages": [{"judges": [{JUDGE: TIMES}]}], "suite": SIZE, "in_flight": 16, "handlers": "handlers.py", **keys,
    }  # fmt: skip
    file = folder / "job.yaml"
    file.write_text(json.dumps(said))  # JSON is YAML
    return file


def children(pid: int) -> list[int]:
    """The children of a process that lives."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


@contextmanager
def stage(folder: Path, broker: str, store: str, namespace: str, **settings: str) -> Iterator[Stage]:
    """A stage whose processes, queues and exchanges end with the test; nothing is started yet."""
    made = Stage(folder, broker, store, namespace, settings)
    try:
        yield made
    except BaseException:
        for service, process in made.processes.items():
            sys.stderr.write(f"--- {service}\n{''.join(process.log[-40:])}")
        raise
    finally:
        for process in (*made.processes.values(), *made.others):
            process.kill()
        owner = connect(broker)
        owner.delete(topology(made.names, [JUDGE]))
        owner.close()


@contextmanager
def standing(folder: Path, broker: str, namespace: str, **settings: str) -> Iterator[Stage]:
    """A stage on SQLite on which the three services are started."""
    with stage(folder, broker, f"sqlite:///{folder / 'm.db'}", namespace, **settings) as made:
        made.start()
        yield made

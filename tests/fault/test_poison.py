"""Tasks that kill: their child process in every way, and the whole worker. Each costs itself and nobody else."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.processes import Process
from tests.fault.stage import JUDGE, PATIENCE, Stage, stage
from tests.services import RabbitMQ, wait_until

#: Tasks of the job, and of a suite.
TASKS, SIZE = 100, 20
#: One alone in its suite and two in another; each beside others that are to keep their judgments.
KILLERS = (7, 64, 71)
#: Child deaths for a killer: twice the cuts to find it among its suite, and a few that are shared or convict it.
COST = 2 * math.log2(SIZE) + 3
#: Seconds for a job over which workers die a dozen times and are started again.
LONG = 400.0

HANDLERS = """
import ctypes
import os
import pathlib
import signal
import time

from manyhands import judge


def die(how):
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(3)
    elif how == "memory":
        held = bytearray(b"m") * (300 << 20)
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when there is no more
    elif how == "worker":
        os.kill(os.getppid(), signal.SIGKILL)
    while True:
        time.sleep(60)


def double(number):
    if number in KILLERS:
        die(HOW)
    if HOW == "nothing":
        pathlib.Path(__file__).with_name("judged").write_text(str(number))
        time.sleep(0.05)
    return 2 * number


@judge("JUDGE", batch=BATCH)
def judged(payload):
    return [double(number) for number in payload] if BATCH else double(payload)
"""


def test_segfault(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """One of a batch crashes the interpreter."""
    with poisoned(rabbitmq, namespace, tmp_path, "segfault", batch=True) as running:
        only_killers_fail(running, "child-died", {"exit": "SIGSEGV"})


@pytest.mark.drill
def test_exit(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """One ends its process with a status of its own."""
    with poisoned(rabbitmq, namespace, tmp_path, "exit", batch=False) as running:
        only_killers_fail(running, "child-died", {"exit": "status 3"})


@pytest.mark.drill
def test_out_of_memory(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """The kernel ends a child that holds too much: the letter says how much it was."""
    with poisoned(rabbitmq, namespace, tmp_path, "memory", batch=True) as running:
        for letter in only_killers_fail(running, "child-died", {"exit": "SIGKILL"}):
            assert 300 <= letter["memory_mib"] < 1000


@pytest.mark.drill
def test_hang_past_the_hard_limit(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """A call that never returns is ended with its child; what it waited for in vain is found all the same."""
    with poisoned(rabbitmq, namespace, tmp_path, "hang", batch=True, MANYHANDS_HARD_LIMIT="1") as running:
        only_killers_fail(running, "time-limit-hard", {"exit": "SIGKILL"})


@pytest.mark.drill
def test_a_worker_that_stood_still(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """It is stopped for longer than the hard limit while its children go on: nobody has taken too long."""
    limit = 2.0  # a suite takes half of it
    settings = {"MANYHANDS_HARD_LIMIT": str(limit)}
    with poisoned(rabbitmq, namespace, tmp_path, "nothing", batch=True, killers=(), **settings) as running:
        running.start()
        running.ready()
        job = submitted(running)
        judged = tmp_path / "judged"
        wait_until(judged.exists, PATIENCE, "the first task to be judged")
        worker = running.processes["worker"]
        worker.send(signal.SIGSTOP)
        stopped, last = time.monotonic(), ""

        def long_enough() -> bool:
            """As long as twice the limit, and until nothing was left to its children."""
            nonlocal stopped, last
            now = judged.read_text()
            if now != last:
                stopped, last = time.monotonic(), now
            return time.monotonic() - stopped > 2 * limit

        wait_until(long_enough, PATIENCE, "the worker to have stood still")
        worker.send(signal.SIGCONT)
        wait_until(lambda: over(running, job), PATIENCE, "the end of the job")
        said = running.get(f"/api/jobs/{job}")
        assert (said["state"], said["answered"], said["failed"]) == ("complete", TASKS, 0), said
        assert running.sum("worker", "manyhands_child_deaths_total") == 0


@pytest.mark.drill
@pytest.mark.timeout(2 * LONG, func_only=True)
def test_worker_killer(rabbitmq: RabbitMQ, namespace: str, tmp_path: Path) -> None:
    """One kills the worker itself, as the machine's OOM killer may: whatever dies with it beside it is innocent.

    Two workers share the work; each is started again when it dies, as any supervisor does.
    """
    killers = KILLERS[:1]
    with poisoned(rabbitmq, namespace, tmp_path, "worker", batch=False, killers=killers) as running:
        watched = Supervised(running, 2)
        job = submitted(running)
        watched.until(lambda: over(running, job), LONG)
        (letter,) = settled(running, job, killers)
        hand_backs = not any(version in rabbitmq.version for version in ("4.3", "4.4", "5."))
        convicted = 6 if hand_backs else 3
        assert (letter["code"], letter["error"]) == (
            "worker-died", f"{convicted} workers ended while they judged it alone"
        )  # fmt: skip
        assert letter["attempts"] == convicted
        assert all(line.startswith("noticed at ") for line in letter["history"])
        assert f"{SIZE} tasks were judged" in "".join(letter["history"])
        assert sum("judged alone" in line for line in letter["history"]) == convicted
        # while it is suspected, while it is cut, while it is convicted
        assert watched.deaths <= 3 + math.ceil(math.log2(SIZE)) + convicted


@contextmanager
def poisoned(
    rabbitmq: RabbitMQ, namespace: str, folder: Path, how: str, *, batch: bool, killers: Sequence[int] = KILLERS,
    **settings: str,
) -> Iterator[Stage]:  # fmt: skip
    """A stage with a job whose killers die in one way."""
    told = f"KILLERS, HOW, BATCH = {list(killers)}, {how!r}, {batch}\n"
    (folder / "killers.py").write_text(told + HANDLERS.replace('"JUDGE"', repr(JUDGE)))
    rows = "".join(f'{{"id": "t{number}", "n": {number}}}\n' for number in range(TASKS))
    (folder / "numbers.jsonl").write_text(rows)
    said = {
        "name": "poison", "source": {"path": "numbers.jsonl", "id": "id", "input": "n"}, "answer": {"type": "number"},
        "stages": [{"judges": [JUDGE]}], "suite": SIZE, "handlers": "killers.py",
    }  # fmt: skip
    file = folder / "poison.yaml"
    file.write_text(json.dumps(said))
    store = f"sqlite:///{folder / 'm.db'}"
    with stage(folder, rabbitmq.url, store, namespace, MANYHANDS_PREFETCH="4", **settings) as running:
        running.worker_file = file
        yield running


class Supervised:
    """Workers that are started again when they are killed."""

    def __init__(self, running: Stage, workers: int) -> None:
        self._running = running
        self.deaths = 0
        running.start("producer", "aggregator")
        self.workers = [self._started() for _ in range(workers)]
        running.ready()

    def _started(self) -> Process:
        self._running.start("worker")
        return self._running.processes["worker"]

    def until(self, done: Callable[[], Any], timeout: float) -> None:
        """Start again whatever is killed, until something is so."""

        def look() -> Any:
            for index, worker in enumerate(self.workers):
                if worker.code is not None:
                    assert worker.code == -signal.SIGKILL, worker.log[-20:]
                    self.deaths += 1
                    self.workers[index] = self._started()
            return done()

        wait_until(look, timeout, "the end of the job", every=0.05)


def submitted(running: Stage) -> str:
    """Submit the job; its id."""
    return str(running.command("submit", str(running.worker_file))["job"])


def over(running: Stage, job: str) -> bool:
    """Whether it has ended."""
    said = running.get(f"/api/jobs/{job}")
    return bool(said) and said["state"] != "open"


def only_killers_fail(running: Stage, code: str, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Run the job: the killers alone are set aside, with what is known of them, and few children died for each."""
    running.start()
    running.ready()
    job = submitted(running)
    wait_until(lambda: over(running, job), PATIENCE, "the end of the job")
    letters = settled(running, job, KILLERS)
    for letter in letters:
        assert letter["code"] == code
        assert {key: letter[key] for key in wanted} == wanted
        assert letter["memory_mib"] > 5
        assert letter["attempts"] == len(letter["history"]) >= 2
        for line in letter["history"]:
            assert line.startswith("death at 2")
            assert f"by {letter['worker']} on {letter['host']}" in line
            assert "MiB" in line
    deaths = running.sum("worker", "manyhands_child_deaths_total")
    assert len(KILLERS) <= deaths <= len(KILLERS) * COST
    return letters


def settled(running: Stage, job: str, killers: Sequence[int]) -> list[dict[str, Any]]:
    """Every task but the killers has its answer from its one judgment, and each killer a letter; the letters."""
    said = running.get(f"/api/jobs/{job}")
    answered = TASKS - len(killers)
    assert (said["state"], said["tasks"], said["answered"], said["failed"]) == (
        "partial", TASKS, answered, len(killers)
    ), said  # fmt: skip
    assert said["judgments"] == TASKS  # that there is none is one as well
    rows = httpx.get(f"{running.url('aggregator')}/api/jobs/{job}/answers.csv").text.splitlines()[1:]
    found = {row.split(",")[0]: row.split(",")[1::2] for row in rows}
    for number in range(TASKS):
        answer, judgments = found.pop(f"t{number}")
        if number in killers:
            assert answer == ""
        else:
            assert (float(answer), judgments) == (2.0 * number, "1"), number
    assert not found
    letters: list[dict[str, Any]] = [
        running.get(f"/api/dead/{one['id']}") for one in running.get("/api/dead")["letters"]
    ]
    assert running.command("dead", "show", letters[0]["id"]) == letters[0]
    assert sorted(letter["message"]["positions"] for letter in letters) == [[killer] for killer in killers]
    for letter in letters:
        assert letter["job"] == job
        assert letter["host"]
        assert letter["worker"]
    account = running.command("audit", job)
    assert (account["conserved"], account["difference"], account["open"]) == (True, 0, 0)
    assert not account["queues"], account["queues"]
    return letters

"""``manyhands run`` on RabbitMQ, where worker and aggregator are processes of their own: any of them may be killed."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Process, command
from tests.fault.stage import PATIENCE
from tests.services import RabbitMQ, wait_until
from tests.unit.worker.test_command import assert_gone

TASKS, HALF = 200, 100

HANDLERS = f"""
import pathlib, time
from manyhands import judge

GATE = pathlib.Path(__file__).with_name("gate")

@judge("double")
def double(number):
    while number >= {HALF} and not GATE.exists():
        time.sleep(0.01)
    return 2 * number
"""

Start = Callable[[], Process]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a job that comes no further than its half before the test lets it."""
    (tmp_path / "handlers.py").write_text(HANDLERS)
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"input": {n}}}\n' for n in range(TASKS)))
    said = {
        "name": "killed", "source": {"path": "rows.jsonl"}, "answer": {"type": "number"}, "handlers": "handlers.py",
        "stages": [{"judges": ["double"]}], "suite": 10,
    }  # fmt: skip
    (tmp_path / "job.yaml").write_text(json.dumps(said))  # JSON is YAML
    return tmp_path


@pytest.fixture
def start(folder: Path, rabbitmq: RabbitMQ) -> Iterator[Start]:
    """Starts the run; what is left of it is killed with the test."""
    runs: list[Process] = []

    def begin() -> Process:
        runs.append(Process(*arguments(folder, rabbitmq), env={}))
        return runs[-1]

    yield begin
    for run in runs:
        run.kill()


def arguments(folder: Path, rabbitmq: RabbitMQ) -> tuple[str, ...]:
    """The command."""
    return (
        "run", str(folder / "job.yaml"), "--out", str(folder / "out"), "--broker", rabbitmq.url, "--children", "1"
    )  # fmt: skip


def until_half(folder: Path) -> None:
    """Wait until half of the tasks are answered."""

    def look() -> bool:
        audited = command("audit", str(folder / "out"), "--json")
        return audited.returncode == 0 and json.loads(audited.stdout)["answered"] == HALF

    wait_until(look, PATIENCE, "half of the answers", every=0.2)


def parts(run: Process) -> dict[str, int]:
    """The ids of the processes that the run started, by what they are; a judging child is not among them."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            said = (process / "cmdline").read_bytes()
            parent = int(re.findall(r"PPid:\s+(\d+)", (process / "status").read_text())[0])
            open_files = [file.readlink().name for file in (process / "fd").iterdir()]
        except OSError:
            continue
        if parent == run.pid and b"manyhands_cli.apart" in said:
            found["aggregator" if any(file.endswith("-aggregator.db") for file in open_files) else "worker"] = int(
                process.name
            )
    return found


def whole(folder: Path) -> None:
    """Every task has its answer, once, in source order."""
    rows = list(csv.DictReader((folder / "out" / "answers.csv").open()))
    assert [(row["answer"], row["judgments"]) for row in rows] == [(str(2 * n), "1") for n in range(TASKS)]
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert summary["conserved"] is True
    audited = command("audit", str(folder / "out"), "--json")
    assert audited.returncode == 0, audited.stdout


@pytest.mark.drill
@pytest.mark.parametrize("part", ["worker", "aggregator"])
def test_a_part_killed(start: Start, folder: Path, part: str) -> None:
    """It is started again and said so; the run goes on, and every task has its one answer."""
    run = start()
    until_half(folder)
    os.kill(parts(run)[part], signal.SIGKILL)
    run.says(f"waiting for the {part} process: was ended by SIGKILL; it is started again")
    (folder / "gate").touch()
    assert run.ends() == 0, run.log
    whole(folder)


def test_the_run_killed(start: Start, folder: Path) -> None:
    """Its parts end with it, and the same command goes on where it stopped."""
    run = start()
    until_half(folder)
    left = parts(run)
    assert set(left) == {"worker", "aggregator"}
    run.kill()
    for pid in left.values():
        assert_gone(pid)
    (folder / "gate").touch()
    again = start()
    assert again.ends() == 0, again.log
    assert any("going on with" in line for line in again.log)
    whole(folder)


def test_ctrl_c(start: Start, folder: Path) -> None:
    """It ends in order, with its parts, and the same command goes on where it stopped."""
    run = start()
    until_half(folder)
    left = parts(run)
    assert set(left) == {"worker", "aggregator"}
    run.send(signal.SIGINT)
    assert run.ends() == 130, run.log
    for pid in left.values():
        assert_gone(pid)
    assert "Traceback" not in "".join(run.log)
    (folder / "gate").touch()
    assert start().ends() == 0
    whole(folder)


def test_a_user_that_the_broker_refuses(folder: Path, rabbitmq: RabbitMQ) -> None:
    """Nobody waits for a password to become right: one sentence, and nothing is begun."""
    wrong = re.sub(r"//[^@]*@", "//nobody:secret@", rabbitmq.url)
    done = command("run", str(folder / "job.yaml"), "--out", str(folder / "out"), "--broker", wrong)
    assert done.returncode == 4
    assert "refused the user 'nobody'; check the user and password in the URL" in done.stderr
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (folder / "out" / "run.json").exists()

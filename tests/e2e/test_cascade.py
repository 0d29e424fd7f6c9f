"""A plan of three stages, the last of them people: from end to end, and with an aggregator that is killed between."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.processes import command, installation
from tests.services import RabbitMQ, wait_until

#: Every fifth task is misread by one judge of the first stage, and every tenth by the second stage as well; another
#: tenth by one of the people.
HANDLERS = """
from manyhands import Judgment, judge
from manyhands.handlers import asked

@judge("one")
def one(number):
    return str(number % 3)

@judge("two")
def two(number):
    return str((number + (number % 5 == 0)) % 3)

@judge("three")
def three(number):
    return str((number + 2 * (number % 10 == 0)) % 3)

@judge("people")
def people(number):
    wrong = number % 10 == 3 and asked().slot == 1
    return Judgment(str((number + wrong) % 3), worker=f"p{(number + asked().slot) % 6}")
"""
TASKS = 200
KEYS: dict[str, Any] = {
    "source": {"path": "rows.jsonl", "input": "number"},
    "answer": {"type": "choice", "options": ["0", "1", "2"]},
    "stages": [
        {"judges": ["one", "two"], "accept": {"agree": 2}},
        {"judges": ["three"], "accept": {"agree": 2}},
        {"judges": [{"people": 2}], "accept": {"margin": 2, "at_most": 4}},
    ],
    "suite": 20,
}
ROWS = "".join(json.dumps({"number": n}) + "\n" for n in range(TASKS))


def is_right(answers: Path) -> None:
    """Every answer is the truth, and came from the stage that it should."""
    rows = list(csv.DictReader(answers.open()))
    assert [row["answer"] for row in rows] == [str(n % 3) for n in range(TASKS)]
    assert Counter(row["stage"] for row in rows) == {"0": 160, "1": 20, "2": 20}
    assert Counter(row["judgments"] for row in rows) == {"2": 160, "3": 20, "5": 20}


def test_run_takes_each_task_as_far_as_it_must(job: Callable[..., Path], tmp_path: Path) -> None:
    """In one process: the second stage gets what the first differs on, people what all differ on."""
    file = job(HANDLERS, ROWS, **KEYS)
    done = command("run", str(file), "--out", str(tmp_path / "out"), "--json")
    assert done.returncode == 0, done.stderr
    is_right(tmp_path / "out" / "answers.csv")
    said = json.loads(done.stdout)
    assert [stage["judgments"] for stage in said["stages"]] == [400, 40, 40]
    assert [stage["answers"] for stage in said["stages"]] == [160, 20, 20]
    assert said["saved"] == "asked 480 of 1,000 judgments: saved 52%"
    assert said["state"] == "complete"


@pytest.mark.parametrize(("stages", "judgments", "answers"), [
    ([KEYS["stages"][0], {"judges": ["three"]}], [400, 40], [160, 40]), ([KEYS["stages"][2]], [440], [200]),
], ids=["automatic", "manual"])  # fmt: skip
def test_plans_of_one_kind(
    job: Callable[..., Path], tmp_path: Path, stages: list[Any], judgments: list[int], answers: list[int]
) -> None:
    """Machines alone, and people alone, are plans like those of both: one more is asked only where it must be."""
    done = command("run", str(job(HANDLERS, ROWS, **{**KEYS, "stages": stages})), "--out", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["judgments"], said["conserved"], said["state"]) == (sum(judgments), True, "complete")
    by_stage = [(stage["judgments"], stage["answers"]) for stage in said["stages"]]
    assert by_stage == list(zip(judgments, answers, strict=True))
    rows = list(csv.DictReader((tmp_path / "answers.csv").open()))
    assert all(row["answer"] == str(n % 3) for n, row in enumerate(rows) if n % 10)
    assert Counter(row["judgments"] for row in rows) == (
        {"2": 160, "3": 40} if len(stages) > 1 else {"2": 180, "4": 20}
    )


def test_the_aggregator_is_killed_between_stages(
    job: Callable[..., Path], rabbitmq: RabbitMQ, namespace: str, tmp_path: Path
) -> None:
    """What is asked of the next stage is in the store and in the queues: the next aggregator goes on from there."""
    file = job(HANDLERS, ROWS, **KEYS)
    first = ("--config", str(file), "--judges", "one,two")
    with installation(rabbitmq.url, f"sqlite:///{tmp_path / 'm.db'}", namespace, first, workers=1) as running:
        name = running.command("submit", str(file)).stdout.strip()

        def asked() -> bool:
            said = httpx.get(f"{running.aggregator.url}/api/jobs/{name}/unserved")
            return bool(said.status_code == 200 and said.json()["judges"] == ["three"])

        wait_until(asked, 60, "the second stage to be asked")
        running.aggregator.kill()
        running.add("worker", "--config", str(file), "--judges", "three,people", "--children", "1")
        running.aggregator = running.add("aggregator")
        running.env["MANYHANDS_AGGREGATOR_URL"] = running.aggregator.url
        watched = running.command("watch", name)
        assert watched.returncode == 0, watched.stderr
        assert running.command("results", name, "--out", str(tmp_path / "answers.csv")).returncode == 0
        is_right(tmp_path / "answers.csv")
        assert running.json("audit", name)["conserved"] is True

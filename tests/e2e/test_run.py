"""``manyhands run`` on this machine: begun, stopped, gone on with."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import DIGITS
from tests.e2e.jobs import ECHO, KEYS, rows
from tests.e2e.processes import EXAMPLES, command
from tests.services import wait_until

pytestmark = pytest.mark.timeout(240)

WriteJob = Callable[..., Path]


def test_plan_foretells_digits() -> None:
    """Tasks, suites, messages, judgments, seconds, cost and what each judge takes, before anything is run."""
    done = command("plan", str(DIGITS), "--pilot", "5", "--children", "2", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert set(said) == {
        "name", "tasks", "refused", "suites", "messages", "judgments", "children", "seconds", "cost", "judges",
        "accuracy", "confidence", "between", "rests_on", "assumed",
    }  # fmt: skip
    assert (said["tasks"], said["suites"], said["messages"], said["judgments"]) == (1797, 18, 54, 5391)
    assert said["seconds"] > 0
    assert [(j["judge"], j["pilot_tasks"], j["pilot_failed"]) for j in said["judges"]] == [
        ("svm", 5, 0), ("forest", 5, 0), ("neighbours", 5, 0),
    ]  # fmt: skip


def test_reviews_with_a_judge_in_awk(tmp_path: Path) -> None:
    """Reviews in two languages, judged by an awk script beside two judges in Python; accuracy against the truth."""
    out = tmp_path / "out"
    done = command("run", str(EXAMPLES / "reviews" / "job.yaml"), "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said == json.loads((out / "summary.json").read_text())
    answers = list(csv.DictReader((out / "answers.csv").open()))
    source = list(csv.DictReader((EXAMPLES / "reviews" / "reviews.csv").open()))
    assert len(answers) == said["tasks"] == said["answered"] == len(source) >= 300
    assert {row["lang"] for row in source} == {"en", "zh"}
    assert [row["id"] for row in answers] == [row["id"] for row in source]
    assert 0.4 < said["accuracy"] <= 1
    assert said["conserved"] is True
    assert {j["judge"]: j["judgments"] for j in said["judges"]} == dict.fromkeys(
        ("polarity", "lexicon", "ngrams"), len(source)
    )


def test_a_finished_run_begins_afresh(job: WriteJob, tmp_path: Path) -> None:
    """The same command again is another job with the same answers."""
    file, out = job(ECHO, rows(30), "rows.csv", **KEYS), tmp_path / "out"
    said = []
    for _ in range(2):
        done = command("run", str(file), "--out", str(out), "--json")
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        said.append((json.loads(done.stdout)["job"], (out / "answers.csv").read_bytes()))
    (first, answers), (second, again) = said
    assert first != second
    assert answers == again


HALF = """
import pathlib, time
from manyhands import judge

HERE = pathlib.Path(__file__).parent

@judge("echo")
def echo(payload):
    with (HERE / "judged").open("a") as file:
        file.write(payload + "\\n")
    while payload == "t100" and not (HERE / "open").exists():
        time.sleep(0.01)
    return payload
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT", "SIGINT twice"])
def test_a_stopped_run_goes_on(job: WriteJob, start_run: Callable[..., Any], tmp_path: Path, how: str) -> None:
    """Killed or interrupted half-way, the same command goes on with the same job and judges no answered task again.

    Meanwhile nobody else may use its folder. A first Ctrl-C ends it in order, a second at once.
    """
    file, out = job(HALF, rows(200), "rows.csv", suite=10, **KEYS), tmp_path / "out"
    arguments = ("run", str(file), "--out", str(out), "--children", "1")
    first = start_run(*arguments)

    def half() -> bool:
        audited = command("audit", str(out), "--json")
        return audited.returncode == 0 and json.loads(audited.stdout)["answered"] == 100

    wait_until(half, 60, "half of the answers", every=0.2)
    second = command(*arguments)
    assert (second.returncode, str(out) in second.stderr) == (3, True), second.stderr
    if how == "SIGKILL":
        first.kill()
    else:
        first.send(2)
        first.says("stopping")
        if how == "SIGINT twice":
            first.send(2)
        assert first.ends() == 130
        assert "Traceback" not in "".join(first.log)
        assert any("goes on where it stopped" in line for line in first.log) == (how == "SIGINT")
    stopped = json.loads((out / "run.json").read_text())
    assert not (out / "answers.csv").exists()
    assert half()
    (tmp_path / "open").touch()
    done = command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["job"] == stopped["job"]
    assert [row["answer"] for row in csv.DictReader((out / "answers.csv").open())] == [f"t{n}" for n in range(200)]
    judged = (tmp_path / "judged").read_text().split()
    assert set(judged) == {f"t{n}" for n in range(200)}
    twice = {text for text in judged if judged.count(text) > 1}
    assert twice <= {f"t{n}" for n in range(100, 110)}  # the one suite that was in hand


def test_a_store_with_another_unfinished_job(job: WriteJob, start_run: Callable[..., Any], tmp_path: Path) -> None:
    """A run takes no store on which another job is open; in the same folder it takes that job's place."""
    file, out, store = job(HALF, rows(200), "rows.csv", suite=10, **KEYS), tmp_path / "out", tmp_path / "shared.db"
    options = ("--children", "1", "--store", f"sqlite:///{store}")
    first = start_run("run", str(file), "--out", str(out), *options)
    judged = tmp_path / "judged"
    wait_until(lambda: judged.exists() and "t100" in judged.read_text(), 60, "half of the judgments")
    first.kill()
    left = json.loads((out / "run.json").read_text())["job"]
    (tmp_path / "open").touch()

    other = command("run", str(file), "--out", str(tmp_path / "other"), *options)
    assert other.returncode == 3
    assert f"the store has an unfinished job {left}; give this run a store of its own with --store" in other.stderr
    assert not (tmp_path / "other" / "run.json").exists()

    file.write_text(file.read_text().replace('"suite": 10', '"suite": 20'))
    done = command("run", str(file), "--out", str(out), *options, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["job"] != left
    audited = command("audit", left, *options[2:], "--json")
    assert audited.returncode == 0, audited.stdout
    assert json.loads(audited.stdout)["state"] == "cancelled"


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
sys.argv[0] = "manyhands"
from manyhands_cli.main import main
main()
"""


def test_a_full_disk_ends_a_run(job: WriteJob, start_run: Callable[..., Any], tmp_path: Path) -> None:
    """A store that cannot grow: one sentence, exit code 6; with room again, the same command goes on."""
    file, out = job(ECHO, rows(20_000, "a text of some length and number "), "rows.csv", **KEYS), tmp_path / "out"
    arguments = ("run", str(file), "--out", str(out), "--children", "1")
    small = start_run(*arguments, code=FULL)
    assert small.ends() == 6, small.log
    assert small.log[-1].startswith("manyhands: The store cannot be reached: ")
    assert "make room" in small.log[-1]
    assert "Traceback" not in "".join(small.log)
    stopped = json.loads((out / "run.json").read_text())
    done = command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["job"], said["answered"]) == (stopped["job"], 20_000)


def test_a_run_is_asked_by_its_folder(job: WriteJob, tmp_path: Path) -> None:
    """Commands that ask about a job take the output folder of a run, wherever it was moved, and no service runs."""
    judges = "from manyhands import Judgment, judge\n\n"
    judges += '@judge("people")\ndef people(item):\n    return Judgment(item["text"], worker="ann")\n'
    judges += '\n@judge("echo")\ndef echo(item):\n    return item["text"]\n'
    stages = [{"judges": ["echo", {"judge": "people", "price": 0.25}]}]
    keys: dict[str, Any] = {"stages": stages, "rewards": {"judgment": "0.5", "agreement": "0.125"}, "suite": 2}
    file = job(judges, rows(4), "rows.csv", answer={"type": "choice", "options": [f"t{n}" for n in range(4)]}, **keys)
    done = command("run", str(file), "--out", str(tmp_path / "out"), "--children", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cost"] == {"by_price": 1.0, "rewards": 2.5, "whole": 3.5}
    ran, moved = json.loads(done.stdout)["job"], str((tmp_path / "out").rename(tmp_path / "moved"))

    def asked(*arguments: str) -> Any:
        found = command(*arguments)
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    assert json.loads(asked("status", moved, "--json"))["job"] == ran
    assert [row["worker"] for row in json.loads(asked("workers", moved, "--json"))] == ["echo", "people/ann"]
    assert json.loads(asked("workers", moved, "--worker", "people/ann", "--json"))["judgments"] == 4
    assert json.loads(asked("agreement", moved, "--json"))["alpha"] == 1
    earned = json.loads(asked("rewards", moved, "--json"))
    assert (earned["job"], earned["earned"]) == (ran, "2.5")
    assert asked("results", moved) == (tmp_path / "moved" / "answers.csv").read_text()
    assert [json.loads(line)["answer"] for line in asked("results", moved, "-f", "jsonl").splitlines()] == [
        "t0", "t1", "t2", "t3",
    ]  # fmt: skip
    asked("results", moved, "--out", str(tmp_path / "answers.parquet"))
    assert (tmp_path / "answers.parquet").read_bytes()[:4] == b"PAR1"
    assert asked("results", moved, "--failed").splitlines() == ["position,id,code,message"]
